// SPDX-License-Identifier: Apache-2.0
#include "race/trials.h"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

namespace race {

Done drive(stores::Store& store, unsigned threads, std::uint64_t count, double seconds, const Operation& each) {
  std::atomic<std::uint64_t> operations{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable changed;
  unsigned ready = 0, ended = 0;
  bool go = false;
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      const std::unique_ptr<stores::Session> session = store.session();
      must(session != nullptr, "session");
      {
        std::unique_lock lock(mutex);
        ++ready;
        changed.notify_all();
        changed.wait(lock, [&] { return go; });
      }
      const std::uint64_t share = count / threads;
      std::uint64_t i = share * t;
      const std::uint64_t first = i, end = t + 1 == threads ? count : i + share;
      for (; i < end && !stop.load(std::memory_order_relaxed); ++i) each(*session, i);
      operations += i - first;
      const std::unique_lock lock(mutex);
      ++ended;
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return ready == threads; });
  go = true;
  const Meter meter;
  changed.notify_all();
  changed.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return ended == threads; });
  stop = true;
  changed.wait(lock, [&] { return ended == threads; });
  const double took = meter.seconds();
  lock.unlock();
  for (std::thread& one : all) one.join();
  return {operations, took};
}

std::uint64_t draw(std::uint64_t below) {
  static std::atomic<std::uint64_t> seed{1};
  thread_local daruma::Random random(seed++);
  return random.below(below);
}

void get(stores::Session& session, const Key& key, stores::Answer expected) {
  std::string_view value;
  must(session.get(key, value) == expected, "get");
}

Operation get_of(std::uint64_t records) {
  return [records](stores::Session& session, std::uint64_t) {
    get(session, Key::present(draw(records)), stores::Answer::kValue);
  };
}

Operation seek_of(std::uint64_t records) {
  static constexpr std::uint64_t kRecords = 50;
  return [starts = records - kRecords](stores::Session& session, std::uint64_t) {
    std::uint64_t seen = 0;
    const Key from = Key::present(draw(starts));
    must(session.scan({.from = from, .limit = kRecords}, [&](auto, auto) { ++seen; }) && seen == kRecords, "seek");
  };
}

void add_rate(Figures& figures, const Meter& meter, const Done& done, const std::string& suffix) {
  const auto operations = static_cast<double>(done.operations);
  figures["rate" + suffix] = operations / done.seconds;
  figures["cpu_us" + suffix] = 1e6 * meter.cpu_seconds() / operations;
}

std::unique_ptr<stores::Store> must_open(const Course& course, const std::string& directory, const Settings& settings) {
  std::unique_ptr<stores::Store> store = course.store.open(directory, settings);
  must(store != nullptr, "open");
  return store;
}

void load(stores::Store& store, std::uint64_t records, std::uint64_t value_bytes, bool scattered) {
  const std::uint64_t batch = std::max<std::uint64_t>(1, std::min<std::uint64_t>(1000, (1 << 20) / value_bytes));
  const Values values(value_bytes);
  const Scattered order(records);
  const std::unique_ptr<stores::Session> session = store.session();
  must(session != nullptr, "session");
  std::vector<Key> keys;
  std::vector<stores::Change> changes;
  keys.reserve(batch);
  for (std::uint64_t i = 0; i < records; ++i) {
    keys.push_back(Key::present(scattered ? order(i) : i));
    changes.push_back({keys.back(), values.of(i)});
    if (keys.size() < batch && i + 1 < records) continue;
    must(session->write(changes), "write");
    keys.clear();
    changes.clear();
  }
}

std::string kept_store(const Course& course, const std::string& name, std::uint64_t records, bool scattered) {
  const std::string directory = course.kept + "/" + name + "_" + course.store.name;
  const std::string mark = directory + ".loaded";  // written last
  if (std::filesystem::exists(mark)) return directory;
  std::filesystem::remove_all(directory);
  in_child([&]() -> Figures {
    stores::Store* const store = must_open(course, directory, {}).release();
    load(*store, records, kValueBytes, scattered);
    must(store->settle(), "settle");
    return {};
  });
  std::ofstream{mark};
  return directory;
}

}  // namespace race
