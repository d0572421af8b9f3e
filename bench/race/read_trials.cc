// SPDX-License-Identifier: Apache-2.0
// Reads: of a store that fits the cache, and of one four times the memory there is.
#include <thread>

#include "race/trials.h"

namespace race {
namespace {

using stores::Answer;
using stores::Session;

/// Opens the store of a million records, runs `each` over all of them and then measures it until time is up.
Figures hot(const Course& course, unsigned threads, const Operation& each, double operations_each = 1) {
  const std::string directory = kept_store(course, "million", course.records(), true);
  return in_child([&] {
    stores::Store& store = *must_open(course, directory, {}).release();
    drive(store, 1, course.records(), course.seconds * 10,
          [](auto& session, auto i) { get(session, Key::present(i), Answer::kValue); });
    drive(store, threads, UINT64_MAX, course.seconds / 4, each);
    Figures figures;
    const Meter meter;
    Done done = drive(store, threads, UINT64_MAX, course.seconds, each);
    done.operations = static_cast<std::uint64_t>(static_cast<double>(done.operations) * operations_each);
    add_rate(figures, meter, done);
    return figures;
  });
}

constexpr std::uint64_t kKeysAtOnce = 32;
Operation multi_get_of(std::uint64_t records) {
  return [records](Session& session, std::uint64_t) {
    std::vector<Key> keys;
    std::vector<std::string_view> views;
    keys.reserve(kKeysAtOnce);
    for (std::uint64_t n = 0; n < kKeysAtOnce; ++n) {
      keys.push_back(Key::present(draw(records)));
      views.push_back(keys.back());
    }
    std::uint64_t found = 0;
    must(session.multi_get(views, [&](auto, auto) { ++found; }) && found == kKeysAtOnce, "multi-get");
  };
}

Figures scan(const Course& course, bool backward) {
  const std::uint64_t records = course.records();
  return hot(
      course, 1,
      [=](Session& session, std::uint64_t) {
        std::uint64_t seen = 0;
        must(session.scan({.backward = backward}, [&](auto, auto value) { seen += value.size() == kValueBytes; }) &&
                 seen == records,
             "scan");
      },
      static_cast<double>(records));
}

/// A reader and a writer, each as fast as it can.
Figures read_while_writing(const Course& course) {
  return in_child([&] {
    const std::uint64_t records = course.records();
    stores::Store& store = *must_open(course, course.directory, {}).release();
    load(store, records, kValueBytes, false);
    must(store.settle(), "settle");
    const Values values(kValueBytes);
    const Scattered order(records);
    Done written;
    std::thread writer([&] {
      written = drive(store, 1, UINT64_MAX, course.seconds, [&](auto& session, auto i) {
        must(session.put(Key::present(order(i % records)), values.of(i)), "put");
      });
    });
    const Done read = drive(store, 1, UINT64_MAX, course.seconds, get_of(records));
    writer.join();
    return Figures{{"rate_read", static_cast<double>(read.operations) / read.seconds},
                   {"rate_write", static_cast<double>(written.operations) / written.seconds}};
  });
}

constexpr double kWarmUp = 6;  // times what is measured: then memory is full

/// With a quarter of the data as memory, page cache included, and a quarter of that for the store's own cache.
Figures cold(const Course& course, const Operation& each, std::uint64_t operations_each) {
  const std::uint64_t records = course.many_records();
  const std::string directory = kept_store(course, "many", records, false);
  forget(directory);
  const std::uint64_t memory = std::max<std::uint64_t>(records * kRecordBytes / 4, 96 << 20);
  const MemoryLimit limit(memory);
  return in_child([&] {
    Figures figures;
    figures["limited"] = limit.join();
    figures["limit_mib"] = static_cast<double>(memory >> 20);
    figures["warm_up_s"] = course.seconds * kWarmUp;
    stores::Store& store = *must_open(course, directory, {.cache_bytes = memory / 4}).release();
    drive(store, 1, UINT64_MAX, course.seconds * kWarmUp, each);
    const Meter meter;
    Done done = drive(store, 1, UINT64_MAX, course.seconds, each);
    done.operations *= operations_each;
    add_rate(figures, meter, done);
    figures["read_kib"] = meter.read_bytes() / 1024 / static_cast<double>(done.operations);
    return figures;
  });
}

}  // namespace

std::vector<Trial> read_trials() {
  return {
      {"get_hot", "gets of any of a million records, all of them cached",
       [](auto& c) { return hot(c, 1, get_of(c.records())); }},
      {"get_hot_2", "the same by 2 threads", [](auto& c) { return hot(c, 2, get_of(c.records())); }},
      {"get_hot_4", "4 threads", [](auto& c) { return hot(c, 4, get_of(c.records())); }, true},
      {"get_hot_8", "8 threads", [](auto& c) { return hot(c, 8, get_of(c.records())); }, true},
      {"get_missing", "gets of keys between those",
       [](auto& c) {
         return hot(c, 1,
                    [n = c.records()](auto& session, auto) { get(session, Key::missing(draw(n)), Answer::kAbsent); });
       }},
      {"multi_get", "32 of them at once; each counts",
       [](auto& c) { return hot(c, 1, multi_get_of(c.records()), static_cast<double>(kKeysAtOnce)); }},
      {"scan", "every record, in order", [](auto& c) { return scan(c, false); }},
      {"scan_back", "every record, from the last to the first", [](auto& c) { return scan(c, true); }},
      {"seek", "50 records from any key on", [](auto& c) { return hot(c, 1, seek_of(c.records())); }},
      {"read_while_writing", "a thread that gets and one that puts again, a million records", read_while_writing},
      {"cold_get", "gets of any of ten million records, with memory for a quarter of them",
       [](auto& c) { return cold(c, get_of(c.many_records()), 1); }},
      {"cold_multi_get", "32 of them at once; each counts",
       [](auto& c) { return cold(c, multi_get_of(c.many_records()), kKeysAtOnce); }},
  };
}

}  // namespace race
