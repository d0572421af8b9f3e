// SPDX-License-Identifier: Apache-2.0
// What a racer can be asked to do.
#pragma once

#include <string>
#include <vector>

#include "race/contender.h"
#include "race/process.h"
#include "race/work.h"

namespace race {

/// One run of a trial.
struct Course {
  const Contender& store;
  std::string directory;  ///< empty; for this run alone
  std::string kept;       ///< where stores stand that several trials read
  double scale = 1;       ///< 1: a million records
  double seconds = 2;     ///< that whatever is measured by time takes; what is counted takes at most ten times that

  [[nodiscard]] std::uint64_t scaled(double at_one, double least = 1000) const {
    return static_cast<std::uint64_t>(at_one * scale < least ? least : at_one * scale);
  }
  [[nodiscard]] std::uint64_t records() const { return scaled(1e6); }
  [[nodiscard]] std::uint64_t many_records() const { return scaled(1e7); }
};

struct Trial {
  std::string id;
  std::string what;
  std::function<Figures(const Course&)> run;
  bool growth = false;  ///< only curves are made of it (rows.h)
};

std::vector<Trial> write_trials();
std::vector<Trial> read_trials();
std::vector<Trial> mixed_trials();
std::vector<Trial> recovery_trials();
std::vector<Trial> growth_trials();
/// Of the machine, not of a store.
std::vector<Trial> reference_trials();

/// What trials share.
using Operation = std::function<void(stores::Session& session, std::uint64_t i)>;
struct Done {
  std::uint64_t operations = 0;
  double seconds = 0;
};
/// Calls `each` for 0 … count - 1, shared out among threads with a session each, until `seconds` are over.
Done drive(stores::Store& store, unsigned threads, std::uint64_t count, double seconds, const Operation& each);
/// A random number, of each thread's own.
std::uint64_t draw(std::uint64_t below);
void get(stores::Session& session, const Key& key, stores::Answer expected);
/// A get of any of so many keys.
Operation get_of(std::uint64_t records);
/// The next 50 records from any of so many keys on.
Operation seek_of(std::uint64_t records);
/// Adds rate, cpu_us (of processor an operation), their names ending with `suffix`.
void add_rate(Figures& figures, const Meter& meter, const Done& done, const std::string& suffix = "");

/// Fails when it does not open. For a child only.
std::unique_ptr<stores::Store> must_open(const Course& course, const std::string& directory, const Settings& settings);
inline void must(bool good, const char* what) {
  if (!good) fail(what);
}
/// Puts `records` of `value_bytes` in batches of a thousand, scattered or rising.
void load(stores::Store& store, std::uint64_t records, std::uint64_t value_bytes, bool scattered);
/// A loaded and settled store in `kept`, made where it is not there yet; returns its directory.
std::string kept_store(const Course& course, const std::string& name, std::uint64_t records, bool scattered);

inline constexpr std::uint64_t kValueBytes = 100;
inline constexpr std::uint64_t kRecordBytes = 16 + kValueBytes;

}  // namespace race
