// SPDX-License-Identifier: Apache-2.0
// What the race knows of a store: how its experts would set it up, and what it cannot do.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "stores/store.h"

namespace race {

struct Settings {
  bool power = false;  ///< an acknowledged write survives loss of power, not only the death of the process
  std::uint64_t cache_bytes = 256 << 20;  ///< where the store has a cache of its own
  bool tail = false;                      ///< nothing leaves the log by itself
};

inline constexpr std::uint64_t kMemtableBytes = 64 << 20;

struct Contender {
  std::string name;
  std::string version;
  std::string settings;  ///< in words, for the output
  /// Nothing: it does not open.
  std::function<std::unique_ptr<stores::Store>(const std::string& directory, const Settings& settings)> open;
  std::map<std::string, std::string> cannot{};  ///< trials, or trial.figure, with the reason
};

/// Each racer is a program of its own with one of these.
Contender contender();

}  // namespace race
