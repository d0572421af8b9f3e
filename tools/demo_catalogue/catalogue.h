// SPDX-License-Identifier: Apache-2.0
// The source: Debian's package catalogue as text, and which entries of the store each of its records stands for.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

enum Room : unsigned { kPackages, kByMaintainer, kBySection, kByProvided, kRooms };
inline constexpr std::array<const char*, kRooms> kRoomNames = {"packages", "by_maintainer", "by_section",
                                                               "by_provided"};
/// Beside them: how far the loader is, in the same batch as what it loaded.
inline constexpr const char* kProgressRoom = "progress";
inline constexpr const char* kProgressKey = "next";

struct Entry {
  Room room;
  std::string key;
  std::string value;
};

/// One package. Its text is the value; the other rooms point to it.
struct Record {
  std::string id;  ///< "name version architecture"
  std::string text;
  [[nodiscard]] std::vector<Entry> entries() const;
};

struct Catalogue {
  std::vector<Record> records;
  std::size_t bytes = 0;    ///< of their texts
  std::size_t doubles = 0;  ///< paragraphs left out since an earlier one has the same id
};

/// Paragraphs of "Field: value" lines, a blank line between them; at most `limit` records. Those without a name are
/// skipped.
Catalogue parse_catalogue(std::string_view text, std::size_t limit);

/// What the store must hold once the first `count` records are in.
using Contents = std::array<std::map<std::string, std::string, std::less<>>, kRooms>;
Contents expected_contents(const Catalogue& catalogue, std::size_t count);

}  // namespace demo
