// SPDX-License-Identifier: Apache-2.0
#include "kvctl/encoding.h"

#include <array>

namespace daruma::kvctl {

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

Status malformed(std::string_view what, std::size_t at) {
  return {Code::kInvalidArgument, std::string(what) + " at byte " + std::to_string(at)};
}

Result<std::string> decode_hex(std::string_view text) {
  const std::size_t begin = text.starts_with("0x") || text.starts_with("0X") ? 2 : 0;
  if ((text.size() - begin) % 2 != 0) return Status(Code::kInvalidArgument, "hex text has an odd number of digits");
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = begin; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return malformed("not a hex digit", high < 0 ? i : i + 1);
    out.push_back(static_cast<char>(high * 16 + low));
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = (group << 8) | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out.push_back(i + j <= bytes.size() ? kBase64Digits[(group >> (18 - 6 * j)) & 63] : '=');
    }
  }
  return out;
}

Result<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return Status(Code::kInvalidArgument, "base64 text is not a multiple of 4 characters long");
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::size_t padding = 0;
    if (i + 4 == text.size()) padding = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const int value = j < 4 - padding ? base64_value(text[i + j]) : 0;
      if (value < 0) return malformed("not a base64 character", i + j);
      group = (group << 6) | static_cast<std::uint32_t>(value);
    }
    // Bits under the padding must be 0: else two texts would mean the same bytes.
    if ((padding == 1 && (group & 0xFF) != 0) || (padding == 2 && (group & 0xFFFF) != 0)) {
      return malformed("base64 text has bits under its padding", i);
    }
    for (std::size_t j = 0; j < 3 - padding; ++j) out.push_back(static_cast<char>(group >> (16 - 8 * j)));
  }
  return out;
}

std::string encode_escaped(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + 8);
  for (std::size_t i = 0; i < bytes.size();) {
    const char c = bytes[i];
    switch (c) {
      case '\\': out += "\\\\"; break;
      case '"': out += "\\\""; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\0': out += "\\0"; break;
      default: {
        std::size_t length = utf8_length(bytes, i);
        // Control characters, those of the C1 block too, could drive a terminal.
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte < 0x20 || byte == 0x7F) length = 0;
        if (length == 2 && byte == 0xC2 && static_cast<std::uint8_t>(bytes[i + 1]) < 0xA0) length = 0;
        if (length == 0) {
          out += {'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
          break;
        }
        out.append(bytes, i, length);
        i += length;
        continue;
      }
    }
    ++i;
  }
  return out;
}

Result<std::string> decode_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 1 == text.size()) return malformed("backslash with nothing after it", i);
    const char c = text[++i];
    switch (c) {
      case '\\':
      case '"': out.push_back(c); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 't': out.push_back('\t'); break;
      case '0': out.push_back('\0'); break;
      case 'x': {
        const int high = i + 1 < text.size() ? hex_value(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0) return malformed("\\x without two hex digits", i - 1);
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
        break;
      }
      default: return malformed("unknown escape (use \\\\ \\\" \\n \\r \\t \\0 \\xHH)", i - 1);
    }
  }
  return out;
}

}  // namespace

std::optional<Encoding> parse_encoding(std::string_view name) {
  for (const Encoding e : {Encoding::kUtf8, Encoding::kHex, Encoding::kBase64, Encoding::kEscaped}) {
    if (name == encoding_name(e)) return e;
  }
  return std::nullopt;
}

std::string_view encoding_name(Encoding encoding) {
  constexpr std::array<std::string_view, 4> kNames{"utf8", "hex", "base64", "escaped"};
  return kNames.at(static_cast<std::size_t>(encoding));
}

std::string encode(Encoding encoding, std::string_view bytes) {
  switch (encoding) {
    case Encoding::kHex: return to_hex(bytes);
    case Encoding::kBase64: return encode_base64(bytes);
    case Encoding::kEscaped: return encode_escaped(bytes);
    case Encoding::kUtf8: break;
  }
  return std::string(bytes);
}

Result<std::string> decode(Encoding encoding, std::string_view text) {
  switch (encoding) {
    case Encoding::kHex: return decode_hex(text);
    case Encoding::kBase64: return decode_base64(text);
    case Encoding::kEscaped: return decode_escaped(text);
    case Encoding::kUtf8: break;
  }
  return std::string(text);
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out.push_back(kHexDigits[static_cast<std::uint8_t>(c) >> 4]);
    out.push_back(kHexDigits[static_cast<std::uint8_t>(c) & 15]);
  }
  return out;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace daruma::kvctl
