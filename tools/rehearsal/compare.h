// SPDX-License-Identifier: Apache-2.0
// Two stores that should give the same answers, walked side by side: every keyspace, every key, every value.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "daruma/store.h"

namespace daruma::rehearsal {

struct Compared {
  std::uint64_t keyspaces = 0;          ///< of the first store
  std::uint64_t keyspaces_touched = 0;  ///< of those: with an answer that is not right
  std::uint64_t keys = 0;               ///< of the first store
  std::uint64_t in_doubt = 0;           ///< the second answers with an error that names the damage
  std::uint64_t missing = 0;            ///< it says that there is no such key
  std::uint64_t wrong = 0;              ///< it gives another value
  std::uint64_t extra = 0;              ///< it has a key that the first does not have
  std::string first;                    ///< of those that are not right, in words
  [[nodiscard]] std::uint64_t silent() const { return missing + wrong + extra; }
};

struct CompareOptions {
  std::set<std::string> ignored{};  ///< keyspaces, by name
  std::function<void(std::uint64_t keys)> progress{};
};

/// Errors: what the first store answers when it is not whole itself.
Result<Compared> compare(const Store& right, const Store& asked, const CompareOptions& options = {});

}  // namespace daruma::rehearsal
