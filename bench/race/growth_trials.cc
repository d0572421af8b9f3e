// SPDX-License-Identifier: Apache-2.0
// The same operations on ever larger stores.
#include "race/trials.h"

namespace race {
namespace {

/// A store of so many records, settled and killed: its start with none of its pages cached, then operations on any key
/// with all of them cached.
Figures grown(const Course& course, double records_at_one) {
  const std::uint64_t records = course.scaled(records_at_one);
  in_killed_child([&] {
    stores::Store& store = *must_open(course, course.directory, {}).release();
    load(store, records, kValueBytes, false);
    must(store.settle(), "settle");
  });
  forget(course.directory);
  return in_child([&] {
    Figures figures;
    const Meter starting;
    stores::Store& store = *must_open(course, course.directory, {}).release();
    get(*store.session(), Key::present(records / 2), stores::Answer::kValue);
    figures["first_ms"] = starting.ms();
    warm(course.directory);
    const auto measure = [&](const Operation& each, const char* suffix) {
      drive(store, 1, UINT64_MAX, course.seconds, each);  // what the store itself caches
      const Meter meter;
      add_rate(figures, meter, drive(store, 1, UINT64_MAX, course.seconds, each), suffix);
    };
    const Values values(kValueBytes);
    measure(get_of(records), "_get");
    measure(seek_of(records), "_seek");
    measure([&](auto& session, auto i) { must(session.put(Key::present(draw(records)), values.of(i)), "put"); },
            "_put");
    return figures;
  });
}

}  // namespace

std::vector<Trial> growth_trials() {
  return {
      {"grown_1m", "a store of a million records: start, gets, seeks, puts", [](auto& c) { return grown(c, 1e6); },
       true},
      {"grown_10m", "ten million", [](auto& c) { return grown(c, 1e7); }, true},
      {"grown_100m", "a hundred million", [](auto& c) { return grown(c, 1e8); }, true},
  };
}

}  // namespace race
