// SPDX-License-Identifier: Apache-2.0
//
// Drills: one failure at a time is made to happen to a clone of the store, which then has to come back by a plain open
// and answer as the store does.
//
// What must stay true:
//   - The store is read, never written, and not opened for writing.
//   - A drill ends with a verdict against what is promised for this failure, or says why it could not be held.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/store.h"
#include "rehearsal/compare.h"

namespace daruma::rehearsal {

struct DrillMode {
  std::string_view name;     ///< "lost-run": of files and of the command line
  std::string_view what;     ///< in words
  std::string_view promise;  ///< what is promised, in words
  bool may_doubt = false;    ///< keys may answer that they are lost, as long as the store tells of it
};
const std::vector<DrillMode>& drill_modes();

struct DrillResult {
  std::string mode{};
  std::string outcome{};           ///< passed, failed, skipped
  std::string why{};               ///< of failed and skipped
  std::string fault{};             ///< what was done, and where
  std::int64_t first_read_ns = 0;  ///< from the call of open until the first answer
  std::int64_t ready_ns = 0;       ///< from there until the store takes writes
  Compared compared{};             ///< right behind the start
  std::uint64_t doubt_left = 0;    ///< keys still in doubt when the store had done what it does by itself
  std::uint64_t acknowledged = 0;  ///< writes of the drill's own, in all of its lives
  std::uint64_t lost = 0;          ///< of those
};

struct DrillOptions {
  std::string directory{};  ///< where clones are made; empty: beside the store
  bool keep = false;        ///< the clones stay
  bool live = false;        ///< a writer may have the store
  std::uint64_t seed = 0;   ///< draws where it hurts, and when
  Options store{};          ///< of every start
  std::function<void(std::string_view doing)> progress{};
};

/// A store to hold drills on. Thread: one; while a drill runs nothing else of this process may have failpoints set.
class Drills {
 public:
  /// Clones the store in `directory`, and lets a process write to the clone until it is killed. Errors: those of
  /// clone_store, kDataLoss (the store has losses of its own, so that nothing can be compared with it), kBusy.
  static Result<std::unique_ptr<Drills>> prepare(const std::string& directory, const DrillOptions& options);
  ~Drills();
  Drills(const Drills&) = delete;
  Drills& operator=(const Drills&) = delete;

  DrillResult run(const DrillMode& mode);
  [[nodiscard]] const std::string& work() const { return work_; }

 private:
  class Scenario;
  friend class Scenario;
  explicit Drills(DrillOptions options) : options_(std::move(options)) {}

  DrillOptions options_;
  std::string work_;                  // holds all clones
  std::string store_;                 // the store, or a clone of it as it was when it is written to
  std::string base_;                  // a clone that was written to and killed: what each drill begins with
  std::unique_ptr<Store> reference_;  // base_, looked at
  std::uint64_t acknowledged_ = 0;    // writes to base_
};

}  // namespace daruma::rehearsal
