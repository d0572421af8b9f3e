// SPDX-License-Identifier: Apache-2.0
// Starts after SIGKILL, until the first value is read and until a put that survives loss of power is taken.
#include <filesystem>

#include "race/trials.h"

namespace race {
namespace {

/// Puts `bytes` of records one by one, scattered over `records` keys, and dies. Returns the number of the last key.
std::uint64_t die_with_tail(const Course& course, const std::string& directory, std::uint64_t records,
                            std::uint64_t bytes) {
  const Scattered order(records);
  const std::uint64_t puts = std::min(records, std::max<std::uint64_t>(1, bytes / kRecordBytes));
  in_killed_child([&] {
    stores::Store* const store = must_open(course, directory, {.tail = true}).release();
    const Values values(kValueBytes);
    const Done done = drive(*store, 1, puts, 600, [&](auto& session, auto i) {
      must(session.put(Key::present(order(i)), values.of(i)), "put");
    });
    must(done.operations == puts, "a tail in ten minutes");
  });
  return order(puts - 1);
}

Figures start(const Course& course, const std::string& directory, std::uint64_t last, const std::string& prefix) {
  return in_child([&] {
    const Values values(kValueBytes);
    Figures figures;
    const Meter meter;
    stores::Store* const store = must_open(course, directory, {.power = true, .tail = true}).release();
    stores::Session* const session = store->session().release();
    std::string_view value;
    must(session != nullptr && session->get(Key::present(last), value) == stores::Answer::kValue, "the first get");
    figures[prefix + "first_ms"] = meter.ms();
    must(session->put(Key::present(last), values.of(0)), "the first put");
    figures[prefix + "ready_ms"] = meter.ms();
    return figures;
  });
}

/// A store of nothing but a tail.
Figures replay(const Course& course, std::uint64_t mib) {
  const auto bytes = static_cast<double>(course.scaled(static_cast<double>(mib << 20)));
  const auto tail = static_cast<std::uint64_t>(bytes);
  const std::uint64_t last =
      die_with_tail(course, course.directory, std::max<std::uint64_t>(1, tail / kRecordBytes), tail);
  forget(course.directory);
  Figures figures = start(course, course.directory, last, "");
  figures["rate"] = bytes / (1 << 20) / (figures["ready_ms"] / 1e3);
  return figures;
}

Figures open(const Course& course) {
  const std::string directory = kept_store(course, "many", course.many_records(), false);
  const auto once = [&](bool cold) {
    const std::uint64_t last = die_with_tail(course, directory, course.many_records(), 1000 * kRecordBytes);
    if (cold)
      forget(directory);
    else
      warm(directory);
    return start(course, directory, last, cold ? "cold_" : "warm_");
  };
  Figures figures = once(true);
  figures.merge(once(false));
  return figures;
}

/// The same, with as much to replay as in replay_256. It is settled afterwards, for whoever comes next.
Figures open_tail(const Course& course) {
  const std::string directory = kept_store(course, "many", course.many_records(), false);
  const std::uint64_t last = die_with_tail(course, directory, course.many_records(), course.scaled(256 << 20));
  forget(directory);
  Figures figures = start(course, directory, last, "cold_");
  in_child([&]() -> Figures {
    must(must_open(course, directory, {}).release()->settle(), "settle");
    return {};
  });
  return figures;
}

}  // namespace

std::vector<Trial> recovery_trials() {
  return {
      {"replay_16", "start with 16 MiB of puts in the log, cold", [](auto& c) { return replay(c, 16); }},
      {"replay_64", "start with 64 MiB, cold", [](auto& c) { return replay(c, 64); }},
      {"replay_256", "start with 256 MiB, cold", [](auto& c) { return replay(c, 256); }},
      {"open", "start of a store of ten million records, killed a thousand puts after it was settled", open},
      {"open_tail", "the same with 256 MiB to replay, cold", open_tail},
  };
}

}  // namespace race
