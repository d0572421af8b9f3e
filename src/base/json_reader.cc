// SPDX-License-Identifier: Apache-2.0
#include "base/json_reader.h"

#include <charconv>

#include "base/status_macros.h"
#include "base/utf8.h"

namespace daruma {

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Result<JsonValue> document() {
    JsonValue value;
    space();
    DARUMA_TRY(read(value, 0));
    space();
    if (at_ != text_.size()) return wrong("the document has ended");
    return value;
  }

 private:
  [[nodiscard]] Status wrong(const char* why) const {
    return {Code::kCorruption, std::string("this is no JSON: ") + why, {.file = {}, .offset = at_}};
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool eat(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool eat(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  Status read(JsonValue& value, unsigned depth) {  // NOLINT(misc-no-recursion): as deep as kJsonDepthMax
    if (depth == kJsonDepthMax) return wrong("it is nested too deep");
    switch (peek()) {
      case '{': return read_members(value, depth);
      case '[': return read_elements(value, depth);
      case '"': value.kind_ = JsonValue::Kind::kString; return read_string(value.text_);
      default: break;
    }
    for (const std::string_view word : {"true", "false", "null"}) {
      if (!eat(word)) continue;
      value.kind_ = word == "null" ? JsonValue::Kind::kNull : JsonValue::Kind::kBool;
      if (word != "null") value.text_ = word;
      return {};
    }
    value.kind_ = JsonValue::Kind::kNumber;
    return read_number(value.text_);
  }

  Status read_members(JsonValue& value, unsigned depth) {  // NOLINT(misc-no-recursion)
    value.kind_ = JsonValue::Kind::kObject;
    ++at_;
    space();
    if (eat('}')) return {};
    do {
      space();
      if (peek() != '"') return wrong("a member has a name");
      DARUMA_TRY(read_string(value.names_.emplace_back()));
      space();
      if (!eat(':')) return wrong("a colon follows a name");
      space();
      DARUMA_TRY(read(value.items_.emplace_back(), depth + 1));
      space();
    } while (eat(','));
    return eat('}') ? Status() : wrong("an object ends with a brace");
  }

  Status read_elements(JsonValue& value, unsigned depth) {  // NOLINT(misc-no-recursion)
    value.kind_ = JsonValue::Kind::kArray;
    ++at_;
    space();
    if (eat(']')) return {};
    do {
      space();
      DARUMA_TRY(read(value.items_.emplace_back(), depth + 1));
      space();
    } while (eat(','));
    return eat(']') ? Status() : wrong("an array ends with a bracket");
  }

  bool digits() {
    const std::size_t from = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > from;
  }

  Status read_number(std::string& out) {
    const std::size_t from = at_;
    eat('-');
    if (!eat('0') && !digits()) return wrong("there is no value");
    if (eat('.') && !digits()) return wrong("digits follow a point");
    if (eat('e') || eat('E')) {
      if (!eat('+')) eat('-');
      if (!digits()) return wrong("an exponent has digits");
    }
    out = text_.substr(from, at_ - from);
    return {};
  }

  static void append_utf8(std::string& out, std::uint32_t c) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xc0 | c >> 6));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | c >> 12));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else {
      out.push_back(static_cast<char>(0xf0 | c >> 18));
      out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    }
  }

  Status read_hex(std::uint32_t& out) {
    const std::string_view four = text_.substr(at_, 4);
    const auto [end, error] = std::from_chars(four.data(), four.data() + four.size(), out, 16);
    if (error != std::errc() || end != four.data() + 4) return wrong("four hexadecimal digits follow \\u");
    at_ += 4;
    return {};
  }

  Status read_escape(std::string& out) {
    constexpr std::string_view kShort = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    if (const std::size_t known = kShort.find(peek()); at_ < text_.size() && known != std::string_view::npos) {
      out.push_back(kMeant[known]);
      ++at_;
      return {};
    }
    if (!eat('u')) return wrong("there is no such escape");
    std::uint32_t c = 0;
    DARUMA_TRY(read_hex(c));
    if (c >= 0xdc00 && c < 0xe000) return wrong("half a character");
    if (c >= 0xd800 && c < 0xdc00) {
      std::uint32_t low = 0;
      if (!eat("\\u")) return wrong("half a character");
      DARUMA_TRY(read_hex(low));
      if (low < 0xdc00 || low >= 0xe000) return wrong("half a character");
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, c);
    return {};
  }

  Status read_string(std::string& out) {
    ++at_;
    for (;;) {
      if (at_ == text_.size()) return wrong("a string ends with a quote");
      const auto c = static_cast<std::uint8_t>(text_[at_]);
      if (c == '"') break;
      if (c < 0x20) return wrong("control characters are escaped");
      if (c == '\\') {
        ++at_;
        DARUMA_TRY(read_escape(out));
        continue;
      }
      const std::size_t n = utf8_length(text_, at_);
      if (n == 0) return wrong("it is not UTF-8");
      out += text_.substr(at_, n);
      at_ += n;
    }
    ++at_;
    return {};
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

const JsonValue& JsonValue::at(std::string_view name) const {
  static const JsonValue kNone;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == name) return items_[i];
  }
  return kNone;
}

namespace {

template <typename Number>
Number parsed(const JsonValue& value, Number otherwise) {
  if (value.kind() != JsonValue::Kind::kNumber) return otherwise;
  const std::string& text = value.text();
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : otherwise;
}

}  // namespace

std::int64_t JsonValue::signed_number(std::int64_t otherwise) const { return parsed(*this, otherwise); }
std::uint64_t JsonValue::number(std::uint64_t otherwise) const { return parsed(*this, otherwise); }
double JsonValue::real(double otherwise) const { return parsed(*this, otherwise); }

Result<JsonValue> parse_json(std::string_view text) { return JsonParser(text).document(); }

}  // namespace daruma
