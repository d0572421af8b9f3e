// SPDX-License-Identifier: Apache-2.0
//
// Reads one JSON document (RFC 8259), strictly: what the store wrote of itself (json_writer.h), after whatever has
// happened to it.
//
// What must stay true: any bytes at all give a value or an error with its offset; nesting is bounded, so no input is
// deeper than the stack; a number is kept as it stands, so that none loses digits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// A value type.
class JsonValue {
 public:
  enum class Kind : std::uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is_object() const { return kind_ == Kind::kObject; }
  [[nodiscard]] bool is_array() const { return kind_ == Kind::kArray; }
  [[nodiscard]] bool is_null() const { return kind_ == Kind::kNull; }
  /// Of an array the elements, of an object the values in their order; else none.
  [[nodiscard]] const std::vector<JsonValue>& items() const { return items_; }
  /// Of an object, one for each of `items`.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  /// The first member of that name; where there is none, or this is no object: null.
  [[nodiscard]] const JsonValue& at(std::string_view name) const;

  // What it says; `otherwise` where it is of another kind, or a number that the type does not hold.
  [[nodiscard]] bool boolean(bool otherwise = false) const {
    return kind_ == Kind::kBool ? text_ == "true" : otherwise;
  }
  [[nodiscard]] std::int64_t signed_number(std::int64_t otherwise = 0) const;
  [[nodiscard]] std::uint64_t number(std::uint64_t otherwise = 0) const;
  [[nodiscard]] double real(double otherwise = 0) const;
  /// Of a string; of a number its digits as they stood.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  friend class JsonParser;
  Kind kind_ = Kind::kNull;
  std::string text_;
  std::vector<std::string> names_;
  std::vector<JsonValue> items_;
};

/// kCorruption with the offset of the first byte that does not belong there.
Result<JsonValue> parse_json(std::string_view text);

inline constexpr unsigned kJsonDepthMax = 64;

}  // namespace daruma
