// SPDX-License-Identifier: Apache-2.0
//
// Keys and values as text and back. What must stay true: decode(encode(x)) == x for every x and every encoding, and a
// malformed text is an error that names the place, never a guess.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "daruma/status.h"

namespace daruma::kvctl {

enum class Encoding : std::uint8_t {
  kUtf8,     ///< the bytes as they stand
  kHex,      ///< two digits a byte, either case; "0x" in front is allowed
  kBase64,   ///< RFC 4648 with padding
  kEscaped,  ///< printable ASCII and whole UTF-8 characters as they stand; \\ \n \r \t \0 \" and \xHH for the rest
};

std::optional<Encoding> parse_encoding(std::string_view name);
std::string_view encoding_name(Encoding encoding);  ///< "utf8", "hex", "base64", "escaped"

std::string encode(Encoding encoding, std::string_view bytes);
Result<std::string> decode(Encoding encoding, std::string_view text);

std::string to_hex(std::string_view bytes);
bool is_utf8(std::string_view text);

}  // namespace daruma::kvctl
