// SPDX-License-Identifier: Apache-2.0
//
// What a store holds, as a map would hold it, and the changes that make it. Values tell whose they are: each begins
// with a number that was given to one write of one key, and the rest follows from that number. So a value found on disk
// can be told from one that the key never had.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace daruma::simulation {

struct Value {
  std::uint64_t stamp = 0;
  std::uint32_t bytes = 0;
  bool operator==(const Value&) const = default;
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool is(std::string_view found) const;
};
inline constexpr std::uint32_t kValueBytesMin = sizeof(std::uint64_t);

struct KeyspaceContents {
  std::string name;  // empty: any, or not there: the loss was told of
  std::map<std::string, Value, std::less<>> values;
  std::set<std::string, std::less<>> unknown;  // keys that gave errors when the state could be one of several
  bool operator==(const KeyspaceContents&) const = default;
};

/// One change of an event. A whole event is applied in order, so that of several changes to one key the last wins.
struct Change {
  enum class Kind : std::uint8_t { kPut, kErase, kEraseRange, kCreate, kRename, kDrop } kind = Kind::kPut;
  std::uint32_t keyspace = 0;
  std::string key;  // or the name
  std::string end;  // of a range; empty: to the last key
  Value value;
};
using Changes = std::vector<Change>;

struct Contents {
  std::map<std::uint32_t, KeyspaceContents> keyspaces;  // by id
  std::uint32_t next_id = 1;                            // that the next create gives
  bool operator==(const Contents& other) const { return keyspaces == other.keyspaces; }
  void apply(const Changes& changes);
  [[nodiscard]] const Value* find(std::uint32_t keyspace, std::string_view key) const;
  [[nodiscard]] bool unknown(std::uint32_t keyspace, std::string_view key) const;
  /// The key was asked for: it has this value, or none (null).
  void learn(std::uint32_t keyspace, const std::string& key, const Value* value);
};

/// Remembers what was ever written where.
class Writings {
 public:
  Value make(std::uint32_t keyspace, std::string_view key, std::uint32_t bytes);
  /// The value that `found` is, if it was once written to this key.
  [[nodiscard]] const Value* genuine(std::uint32_t keyspace, std::string_view key, std::string_view found) const;

 private:
  struct Written {
    std::uint32_t keyspace = 0;
    std::string key;
    Value value;
  };
  std::vector<Written> all_;
};

std::string describe(const Changes& changes);
/// Of two that are not equal, in words.
std::string first_difference(const Contents& found, const Contents& expected);

}  // namespace daruma::simulation
