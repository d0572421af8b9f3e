// SPDX-License-Identifier: Apache-2.0
// The core workloads of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010), in the order its
// authors give: A, B, C, F, D, E on one store, 1000 bytes a record, zipfian but for D, two threads.
#include <atomic>

#include "race/trials.h"

namespace race {
namespace {

struct Mix {
  char name;
  unsigned read, update, insert, scan, modify;  // percent
};
constexpr Mix kMixes[] = {
    {'a', 50, 50, 0, 0, 0}, {'b', 95, 5, 0, 0, 0}, {'c', 100, 0, 0, 0, 0},
    {'f', 50, 0, 0, 0, 50}, {'d', 95, 0, 5, 0, 0}, {'e', 0, 0, 5, 95, 0},
};

Figures ycsb(const Course& course) {
  static constexpr std::uint64_t kBytes = 1000;
  static constexpr unsigned kThreads = 2;
  return in_child([&] {
    const std::uint64_t records = course.scaled(250e3);
    stores::Store& store = *must_open(course, course.directory, {.cache_bytes = std::uint64_t{512} << 20}).release();
    load(store, records, kBytes, true);
    must(store.settle(), "settle");
    const Values values(kBytes);
    const Zipf zipf(records);
    std::atomic<std::uint64_t> inserted{records};
    std::atomic<std::uint64_t> seed{1};
    const auto run = [&](const Mix& mix, double seconds) {
      return drive(store, kThreads, UINT64_MAX, seconds, [&](stores::Session& session, std::uint64_t i) {
        thread_local daruma::Random random(seed++);
        std::string_view value;
        // D reads what was inserted last. What another thread is about to put may not be there yet.
        const auto key = [&] {
          return Key::present(mix.name == 'd' ? inserted.load() - 1 - zipf.rank(random) : zipf.anywhere(random));
        };
        unsigned roll = static_cast<unsigned>(random.below(100));
        const auto falls = [&](unsigned percent) {
          if (roll < percent) return true;
          roll -= percent;
          return false;
        };
        if (falls(mix.read)) {
          must(session.get(key(), value) != stores::Answer::kError, "get");
        } else if (falls(mix.update)) {
          must(session.put(key(), values.of(i)), "put");
        } else if (falls(mix.insert)) {
          must(session.put(Key::present(inserted++), values.of(i)), "put");
        } else if (falls(mix.scan)) {
          const Key from = key();
          must(session.scan({.from = from, .limit = 1 + random.below(100)}, [](auto, auto) {}), "scan");
        } else {
          const Key changed = key();
          must(session.get(changed, value) == stores::Answer::kValue, "get");
          must(session.put(changed, values.of(i)), "put");
        }
      });
    };
    run(kMixes[2], course.seconds / 2);  // warms
    Figures figures;
    for (const Mix& mix : kMixes) {
      const Meter meter;
      add_rate(figures, meter, run(mix, course.seconds), std::string("_") + mix.name);
    }
    return figures;
  });
}

}  // namespace

std::vector<Trial> mixed_trials() { return {{"ycsb", "workloads A to F, 250 thousand records of 1000 bytes", ycsb}}; }

}  // namespace race
