// SPDX-License-Identifier: Apache-2.0
// Puts that survive a kill, puts that survive loss of power, and what they leave on the device.
#include <array>

#include "race/trials.h"

namespace race {
namespace {

/// Stores in these trials are abandoned, not closed: the child ends.
stores::Store& opened(const Course& course, const Settings& settings) {
  return *must_open(course, course.directory, settings).release();
}

Figures fill(const Course& course, unsigned threads, bool scattered) {
  return in_child([&] {
    stores::Store& store = opened(course, {});
    const Values values(kValueBytes);
    const Scattered order(course.records());
    Figures figures;
    const Meter meter;
    const Done done = drive(store, threads, course.records(), 10 * course.seconds, [&](auto& session, auto i) {
      must(session.put(Key::present(scattered ? order(i) : i), values.of(i)), "put");
    });
    add_rate(figures, meter, done);
    return figures;
  });
}

/// Of a settled store; then what that cost until it is settled again.
Figures overwrite(const Course& course) {
  return in_child([&] {
    stores::Store& store = opened(course, {});
    load(store, course.records(), kValueBytes, false);
    must(store.settle(), "settle");
    const Values values(kValueBytes);
    const Scattered order(course.records());
    Figures figures;
    const Meter meter;
    const Done done = drive(store, 1, course.records(), 10 * course.seconds, [&](auto& session, auto i) {
      must(session.put(Key::present(order(i)), values.of(i + 1)), "put");
    });
    add_rate(figures, meter, done);
    must(store.settle(), "settle");
    const auto bytes = static_cast<double>(kRecordBytes);
    figures["written"] = meter.written_bytes() / (static_cast<double>(done.operations) * bytes);
    figures["disk"] = disk_bytes(course.directory) / (static_cast<double>(course.records()) * bytes);
    return figures;
  });
}

Figures erase(const Course& course) {
  return in_child([&] {
    stores::Store& store = opened(course, {});
    load(store, course.records(), kValueBytes, false);
    must(store.settle(), "settle");
    const Scattered order(course.records());
    Figures figures;
    const Meter meter;
    const Done done = drive(store, 1, course.records(), 10 * course.seconds,
                            [&](auto& session, auto i) { must(session.erase(Key::present(order(i))), "erase"); });
    add_rate(figures, meter, done);
    return figures;
  });
}

Figures bulk_load(const Course& course) {
  return in_child([&] {
    const std::uint64_t records = 4 * course.records();
    stores::Store& store = opened(course, {});
    const Values values(kValueBytes);
    Figures figures;
    const Meter meter;
    must(store.bulk_load(records,
                         [&](std::uint64_t i) {
                           thread_local Key key(0);
                           key = Key::present(i);
                           return std::pair<std::string_view, std::string_view>(key, values.of(i));
                         }),
         "bulk load");
    add_rate(figures, meter, {records, meter.seconds()});
    return figures;
  });
}

Figures durable(const Course& course, unsigned threads) {
  return in_child([&] {
    stores::Store& store = opened(course, {.power = true});
    const Values values(kValueBytes);
    const Scattered order(course.many_records());
    Figures figures;
    const Meter meter;
    const Done done = drive(store, threads, course.many_records(), course.seconds, [&](auto& session, auto i) {
      must(session.put(Key::present(order(i)), values.of(i)), "put");
    });
    add_rate(figures, meter, done);
    return figures;
  });
}

/// Never more than a thousand that are not durable yet.
Figures pipelined(const Course& course) {
  return in_child([&] {
    static constexpr std::uint64_t kWindow = 1024;
    stores::Store& store = opened(course, {.power = true});
    const Values values(kValueBytes);
    const Scattered order(course.many_records());
    std::array<std::uint64_t, kWindow> tickets{};
    Figures figures;
    const Meter meter;
    const Done done = drive(store, 1, course.many_records(), course.seconds, [&](auto& session, auto i) {
      std::uint64_t& ticket = tickets[i % kWindow];
      must(ticket == 0 || session.sync(ticket), "sync");
      ticket = session.put_early(Key::present(order(i)), values.of(i));
      must(ticket != 0, "put");
    });
    add_rate(figures, meter, done);
    return figures;
  });
}

Figures durable_batch(const Course& course) {
  return in_child([&] {
    static constexpr std::uint64_t kBatch = 100;
    stores::Store& store = opened(course, {.power = true});
    const Values values(kValueBytes);
    const Scattered order(course.many_records());
    Figures figures;
    const Meter meter;
    Done done = drive(store, 1, course.many_records() / kBatch, course.seconds, [&](auto& session, auto i) {
      std::vector<Key> keys;
      std::vector<stores::Change> changes;
      keys.reserve(kBatch);
      for (std::uint64_t n = i * kBatch; n < (i + 1) * kBatch; ++n) {
        keys.push_back(Key::present(order(n)));
        changes.push_back({keys.back(), values.of(n)});
      }
      must(session.write(changes), "write");
    });
    done.operations *= kBatch;
    add_rate(figures, meter, done);
    return figures;
  });
}

/// Puts and gets of values of one size, MiB of them a second.
Figures values_of(const Course& course, std::uint64_t bytes) {
  return in_child([&] {
    const std::uint64_t records =
        std::min(course.records(), std::max<std::uint64_t>(16, course.scaled(256 << 20) / bytes));
    stores::Store& store = opened(course, {.cache_bytes = std::uint64_t{512} << 20});
    const Values values(bytes);
    const Scattered order(records);
    const auto mib = static_cast<double>(bytes) / (1 << 20);
    Figures figures;
    const Meter putting;
    const Done put = drive(store, 1, records, 10 * course.seconds, [&](auto& session, auto i) {
      must(session.put(Key::present(order(i)), values.of(i)), "put");
    });
    add_rate(figures, putting, put, "_put");
    must(store.settle(), "settle");
    // Those that time was left for.
    const auto get = [&](stores::Session& session, std::uint64_t i) {
      std::string_view value;
      must(session.get(Key::present(order(i % put.operations)), value) == stores::Answer::kValue, "get");
      std::uint64_t sum = 0;
      for (std::size_t at = 0; at < value.size(); at += 64) sum += static_cast<unsigned char>(value[at]);
      must(value.size() == bytes && sum > 0, "a value");
    };
    drive(store, 1, put.operations, course.seconds, get);  // warms
    const Meter getting;
    add_rate(figures, getting, drive(store, 1, UINT64_MAX, course.seconds, get), "_get");
    for (const char* what : {"rate_put", "rate_get"}) figures[what] *= mib;
    return figures;
  });
}

}  // namespace

std::vector<Trial> write_trials() {
  return {
      {"fill_sequential", "records put one by one, keys rising", [](auto& c) { return fill(c, 1, false); }},
      {"fill_random", "records put one by one, keys scattered", [](auto& c) { return fill(c, 1, true); }},
      {"fill_random_2", "2 threads", [](auto& c) { return fill(c, 2, true); }, true},
      {"fill_random_4", "the same by 4 threads", [](auto& c) { return fill(c, 4, true); }},
      {"fill_random_8", "8 threads", [](auto& c) { return fill(c, 8, true); }, true},
      {"overwrite", "every record of a settled store put again, scattered", overwrite},
      {"delete", "every record of a settled store deleted, scattered", erase},
      {"bulk_load", "four times as many records that come sorted, into an empty store", bulk_load},
      {"durable_1", "puts that survive loss of power, 1 thread", [](auto& c) { return durable(c, 1); }},
      {"durable_2", "2 threads", [](auto& c) { return durable(c, 2); }, true},
      {"durable_4", "4 threads", [](auto& c) { return durable(c, 4); }},
      {"durable_8", "8 threads", [](auto& c) { return durable(c, 8); }, true},
      {"durable_16", "16 threads", [](auto& c) { return durable(c, 16); }},
      {"durable_64", "64 threads", [](auto& c) { return durable(c, 64); }},
      {"pipelined", "the same by 1 thread, which waits only for the put 1024 before", pipelined},
      {"durable_batch", "batches of 100 that survive loss of power, 1 thread", durable_batch},
      {"values_100", "values of 100 bytes", [](auto& c) { return values_of(c, 100); }},
      {"values_1k", "values of 1 KiB", [](auto& c) { return values_of(c, 1 << 10); }},
      {"values_16k", "values of 16 KiB", [](auto& c) { return values_of(c, 16 << 10); }},
      {"values_1m", "values of 1 MiB", [](auto& c) { return values_of(c, 1 << 20); }},
  };
}

}  // namespace race
