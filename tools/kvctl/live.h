// SPDX-License-Identifier: Apache-2.0
//
// How a store is, whoever has it: from its own view of itself beside a writer, else by opening it read-only.
//
// What must stay true: a view is believed only while the lock is held by the process that wrote it, on this boot, and
// when it is younger than the lock; what a dead process left tells nothing. Looking changes zero bytes.
#pragma once

#include <optional>
#include <string>

#include "engine/live_view.h"
#include "kvctl/inspect.h"

namespace daruma::kvctl {

struct Live {
  Metrics metrics{};
  /// Of a view: how old it was when it was read; nothing: the store was opened, and this is of now.
  std::optional<std::int64_t> age_ns{};
  std::string writer{};  ///< "process 42"; empty: none
  std::uint64_t number = 0;
  /// A writer tells of itself every ten seconds at least; one that is older may hang.
  [[nodiscard]] bool stale() const { return age_ns && *age_ns > kStaleNs; }
  static constexpr std::int64_t kStaleNs = 30'000'000'000;
};

/// The view of the process that has `directory` open. kBusy: there is such a process, and no view of it (yet), with
/// why; kNotFound: nobody has it.
Result<Live> read_live(const std::string& directory);

/// As `read_live`; without a writer, what a read-only open tells.
Result<Live> look(Context& context);

/// "a view of process 42 from 0.4 s ago", for notes and headers.
std::string age_text(const Live& live);
/// Members "writer" and "age_ns".
void put_live(Json& json, const Live& live);
/// As Metrics::to_prometheus, with whether a process tells of itself, and how old that is.
std::string exposition(const Live& live);
/// The same without looking into a store that nobody has open: a reader keeps writers out, and whoever watches a store
/// must not be what keeps it from starting. Then it has the history alone.
std::string exposition_of(const std::string& directory);

}  // namespace daruma::kvctl
