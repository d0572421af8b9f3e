// SPDX-License-Identifier: Apache-2.0
// Every entry of the store against the source.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "daruma/store.h"
#include "demo_catalogue/catalogue.h"

namespace demo {

struct Comparison {
  std::uint64_t equal = 0;
  std::uint64_t withheld = 0;  ///< the store says that it cannot answer (data_loss), for a key that was damaged
  std::uint64_t wrong = 0;     ///< another value
  std::uint64_t missing = 0;   ///< "not found", or an error, for a key that is in the source and not damaged
  std::uint64_t answered = 0;  ///< a damaged key that was answered all the same
  std::uint64_t extra = 0;     ///< in the store and not in the source
  std::string first_problem;
  [[nodiscard]] bool ok() const { return wrong + missing + answered + extra == 0; }
};

/// Keyspace and key.
using Keys = std::set<std::pair<Room, std::string>>;

/// Reads each key that must be there by itself; `damaged` must be refused as data_loss, all others must be equal.
Comparison compare_each(const daruma::Store& store, const Contents& expected, const Keys& damaged);

/// Walks every keyspace from end to end beside the source: nothing missing, nothing else, nothing more.
Comparison compare_whole(const daruma::Store& store, const Contents& expected);

}  // namespace demo
