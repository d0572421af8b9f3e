// SPDX-License-Identifier: Apache-2.0
//
// What bench/race.cc asks of each store, and nothing more: the same work for all, by the fastest call that each has.
//
// What must stay true: an error ends the program (`must`), so that no figure counts work that was not done; whoever
// opens an existing store gets what a killed process left.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace race {

struct Settings {
  std::uint64_t memtable_bytes = 64 << 20;
  std::uint64_t cache_bytes = 64 << 20;
  bool power = false;  ///< puts survive loss of power, not only the death of the process
};

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;
  virtual void put(std::string_view key, std::string_view value) = 0;  ///< acknowledged as Settings::power says
  using Records = std::span<const std::pair<std::string, std::string_view>>;
  virtual void put_batch(Records records) = 0;  ///< atomic
  /// Bytes of the value, without a copy where the store allows it; nothing found: -1.
  virtual std::int64_t get(std::string_view key) = 0;
  struct Scanned {
    std::uint64_t records = 0, bytes = 0;
  };
  virtual Scanned scan() = 0;  ///< every key and value, in order
  virtual void settle() = 0;   ///< all in its resting place: flushed, merged, nothing left to do in the background
};

struct Contender {
  std::string name;
  std::string version;
  std::string settings;  ///< in words, for the output
  std::function<std::unique_ptr<Store>(const std::string& directory, const Settings& settings)> open;
};

Contender daruma();
Contender leveldb();
Contender rocksdb();
Contender lmdb();

/// For the result of any call that has ok() and a text.
template <typename Status>
void must(const Status& status, const char* what) {
  if (status.ok()) return;
  if constexpr (requires { status.to_string(); }) {
    std::fprintf(stderr, "race: %s: %s\n", what, status.to_string().c_str());
  } else {
    std::fprintf(stderr, "race: %s: %s\n", what, status.ToString().c_str());
  }
  std::_Exit(1);
}

}  // namespace race
