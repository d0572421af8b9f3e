// SPDX-License-Identifier: Apache-2.0
//
// Writes one JSON document (RFC 8259), always valid: members get their commas, nesting is asserted, and strings may
// hold any bytes. Valid UTF-8 stays; every other byte becomes \u00XX (as Latin-1), so that a damaged name cannot damage
// the report.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "base/utf8.h"
#include "daruma/status.h"

namespace daruma {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{', '}'); }
  JsonWriter& begin_array() { return open('[', ']'); }
  JsonWriter& end() {
    DARUMA_ASSERT(!closers_.empty() && !after_key_);
    out_.push_back(closers_.back());
    closers_.pop_back();
    first_ = false;
    return *this;
  }
  JsonWriter& key(std::string_view name) {
    DARUMA_ASSERT(!closers_.empty() && closers_.back() == '}' && !after_key_);
    separate();
    quote(name);
    out_.push_back(':');
    after_key_ = true;
    return *this;
  }
  JsonWriter& value(std::string_view v) {
    before_value();
    quote(v);
    return *this;
  }
  JsonWriter& value(const char* v) { return value(std::string_view(v)); }
  JsonWriter& value(std::same_as<bool> auto v) {
    before_value();
    out_ += v ? "true" : "false";
    return *this;
  }
  JsonWriter& value(std::integral auto v) requires(!std::same_as<decltype(v), bool>) {
    before_value();
    out_ += std::to_string(v);
    return *this;
  }
  /// Infinities and NaN have no JSON number; they become null.
  JsonWriter& value(double v) {
    before_value();
    if (!std::isfinite(v)) {
      out_ += "null";
      return *this;
    }
    char b[32];
    std::snprintf(b, sizeof b, "%.17g", v);
    for (char* p = b; *p; ++p)
      if (*p == ',') *p = '.';  // the C locale is the process's, not ours
    out_ += b;
    return *this;
  }
  /// A document that another writer has finished.
  JsonWriter& document(std::string_view json) {
    before_value();
    out_ += json;
    return *this;
  }
  JsonWriter& null() {
    before_value();
    out_ += "null";
    return *this;
  }
  template <typename T>
  JsonWriter& member(std::string_view name, const T& v) {
    return key(name).value(v);
  }

  /// The finished document.
  [[nodiscard]] std::string take() {
    DARUMA_ASSERT(closers_.empty() && !out_.empty());
    return std::move(out_);
  }

 private:
  JsonWriter& open(char opener, char closer) {
    before_value();
    out_.push_back(opener);
    closers_.push_back(closer);
    first_ = true;
    return *this;
  }
  void separate() {
    if (!first_) out_.push_back(',');
    first_ = false;
  }
  void before_value() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    DARUMA_ASSERT(closers_.empty() ? out_.empty() : closers_.back() == ']');
    separate();
  }
  void quote(std::string_view s) {
    out_.push_back('"');
    for (std::size_t i = 0; i < s.size();) {
      const char c = s[i];
      const std::size_t n = utf8_length(s, i);
      if (c == '"' || c == '\\') {
        out_.push_back('\\');
        out_.push_back(c);
        ++i;
      } else if (c == '\n') {
        out_ += "\\n";
        ++i;
      } else if (n == 0 || static_cast<std::uint8_t>(c) < 0x20 || c == 0x7f) {
        char b[8];
        std::snprintf(b, sizeof b, "\\u%04x", static_cast<unsigned>(static_cast<std::uint8_t>(c)));
        out_ += b;
        ++i;
      } else {
        out_.append(s.substr(i, n));
        i += n;
      }
    }
    out_.push_back('"');
  }

  std::string out_;
  std::string closers_;
  bool first_ = true;
  bool after_key_ = false;
};

/// A member that is null where all is well, and else an object that says what is not.
inline void write_error(JsonWriter& json, std::string_view name, const Status& status) {
  json.key(name);
  if (status.ok()) {
    json.null();
    return;
  }
  json.begin_object().member("code", code_name(status.code())).member("message", status.message());
  json.member("file", status.where().file).member("hint", status.hint()).end();
}

}  // namespace daruma
