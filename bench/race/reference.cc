// SPDX-License-Identifier: Apache-2.0
// What the machine itself does, beside which the stores stand: raw durable appends, bandwidth, maps in memory.
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <unordered_map>

#include "race/trials.h"
#include "race/work.h"

#ifdef RACE_URING
#include <liburing.h>
#endif

namespace race {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kChunk = 1 << 20;

struct Aligned {
  explicit Aligned(std::size_t bytes) : data(static_cast<char*>(std::aligned_alloc(kPage, bytes)), &std::free) {
    must(data != nullptr, "memory");
    std::memset(data.get(), 'x', bytes);
  }
  std::unique_ptr<char, void (*)(void*)> data;
};

class OpenFile {
 public:
  OpenFile(const Course& course, int flags) : path_(course.directory + "/file") {
    std::filesystem::create_directories(course.directory);
    fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | flags, 0644);
    if (fd < 0) fail("opening " + path_);
  }
  ~OpenFile() { ::close(fd); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  void fill(std::uint64_t bytes) const {
    const Aligned chunk(kChunk);
    for (std::uint64_t at = 0; at < bytes; at += kChunk) {
      must(::pwrite(fd, chunk.data.get(), kChunk, static_cast<off_t>(at)) == kChunk, "write");
    }
  }
  int fd = -1;

 private:
  std::string path_;
};

/// Calls `each` until `seconds` are over.
Done repeat(double seconds, const std::function<void(std::uint64_t)>& each) {
  const Meter meter;
  std::uint64_t n = 0;
  for (; meter.seconds() < seconds; ++n) each(n);
  return {n, meter.seconds()};
}

Figures measured(const Course& course, const std::function<void(std::uint64_t)>& each) {
  Figures figures;
  const Meter meter;
  add_rate(figures, meter, repeat(course.seconds, each));
  return figures;
}

/// 4 KiB, direct and durable, into a file that has been written before.
Figures raw_append(const Course& course) {
  const std::uint64_t bytes = course.scaled(64 << 20, 4 << 20) / kChunk * kChunk;
  OpenFile(course, 0).fill(bytes);
  const OpenFile file(course, O_DIRECT | O_DSYNC);
  const Aligned page(kPage);
  return measured(course, [&](std::uint64_t i) {
    must(::pwrite(file.fd, page.data.get(), kPage, static_cast<off_t>(i * kPage % bytes)) == kPage, "write");
  });
}

#ifdef RACE_URING
/// The same through io_uring, with so many under way.
Figures raw_append_queued(const Course& course, unsigned depth) {
  const std::uint64_t bytes = course.scaled(64 << 20, 4 << 20) / kChunk * kChunk;
  OpenFile(course, 0).fill(bytes);
  const OpenFile file(course, O_DIRECT | O_DSYNC);
  const Aligned page(kPage);
  io_uring ring;
  must(io_uring_queue_init(depth, &ring, 0) == 0, "io_uring");
  std::uint64_t sent = 0;
  const auto send = [&] {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring);
    io_uring_prep_write(entry, file.fd, page.data.get(), kPage, sent++ * kPage % bytes);
  };
  for (unsigned i = 0; i < depth; ++i) send();
  const Figures figures = measured(course, [&](std::uint64_t) {
    io_uring_cqe* done = nullptr;
    must(io_uring_submit_and_wait(&ring, 1) >= 0 && io_uring_peek_cqe(&ring, &done) == 0, "io_uring");
    must(done->res == kPage, "write");
    io_uring_cqe_seen(&ring, done);
    send();
  });
  io_uring_queue_exit(&ring);
  return figures;
}
#endif

/// 128 bytes and fdatasync, on a file that grows.
Figures append_and_sync(const Course& course) {
  const OpenFile file(course, O_APPEND);
  const char record[128] = {};
  return measured(course, [&](std::uint64_t) {
    must(::write(file.fd, record, sizeof record) == sizeof record && ::fdatasync(file.fd) == 0, "write");
  });
}

/// 128 bytes, not made durable.
Figures write_call(const Course& course) {
  const OpenFile file(course, O_APPEND);
  const char record[128] = {};
  return measured(course,
                  [&](std::uint64_t) { must(::write(file.fd, record, sizeof record) == sizeof record, "write"); });
}

Figures mib_per_second(double bytes, const Meter& meter) { return {{"rate", bytes / (1 << 20) / meter.seconds()}}; }

Figures sequential_write(const Course& course) {
  const std::uint64_t bytes = course.scaled(512 << 20, 8 << 20) / kChunk * kChunk;
  const OpenFile file(course, O_DIRECT);
  const Meter meter;
  file.fill(bytes);
  must(::fdatasync(file.fd) == 0, "sync");
  return mib_per_second(static_cast<double>(bytes), meter);
}

Figures sequential_read(const Course& course) {
  const std::uint64_t bytes = course.scaled(512 << 20, 8 << 20) / kChunk * kChunk;
  const OpenFile file(course, O_DIRECT);
  file.fill(bytes);
  const Aligned chunk(kChunk);
  const Meter meter;
  for (std::uint64_t at = 0; at < bytes; at += kChunk) {
    must(::pread(file.fd, chunk.data.get(), kChunk, static_cast<off_t>(at)) == kChunk, "read");
  }
  return mib_per_second(static_cast<double>(bytes), meter);
}

/// 4 KiB anywhere, direct.
Figures random_read(const Course& course) {
  const std::uint64_t pages = course.scaled(512 << 20, 8 << 20) / kChunk * (kChunk / kPage);
  const OpenFile file(course, O_DIRECT);
  file.fill(pages * kPage);
  const Aligned page(kPage);
  daruma::Random random(1);
  return measured(course, [&](std::uint64_t) {
    must(::pread(file.fd, page.data.get(), kPage, static_cast<off_t>(random.below(pages) * kPage)) == kPage, "read");
  });
}

Figures copying(const Course& course) {
  static constexpr std::size_t kBytes = 64 << 20;
  const Aligned from(kBytes), to(kBytes);
  const Meter meter;
  const Done done = repeat(course.seconds / 2, [&](std::uint64_t) {
    std::memcpy(to.data.get(), from.data.get(), kBytes);
    asm volatile("" : : "r"(to.data.get()) : "memory");
  });
  return mib_per_second(static_cast<double>(done.operations) * kBytes, meter);
}

/// The same records as the stores get: put scattered, then got at random, then read in order.
template <typename Map>
Figures map_of_records(const Course& course) {
  const std::uint64_t records = course.records();
  const Values values(kValueBytes);
  const Scattered order(records);
  Map map;
  Figures figures;
  const Meter putting;
  for (std::uint64_t i = 0; i < records; ++i) {
    map.insert_or_assign(std::string(Key::present(order(i))), std::string(values.of(i)));
  }
  add_rate(figures, putting, {records, putting.seconds()}, "_put");
  daruma::Random random(1);
  const Meter getting;
  const Done got = repeat(course.seconds / 2, [&](std::uint64_t) {
    must(map.find(std::string(Key::present(random.below(records)))) != map.end(), "find");
  });
  add_rate(figures, getting, got, "_get");
  std::uint64_t seen = 0;
  const Meter scanning;
  for (const auto& [key, value] : map) seen += key.size() + value.size();
  must(seen == records * kRecordBytes, "scan");
  add_rate(figures, scanning, {records, scanning.seconds()}, "_scan");
  return figures;
}

Trial in_process(std::string id, std::string what, Figures (*run)(const Course&)) {
  return {std::move(id), std::move(what), [run](const Course& c) { return in_child([&] { return run(c); }); }};
}

}  // namespace

std::vector<Trial> reference_trials() {
  return {
      in_process("raw_append", "4 KiB, direct and durable, one after the other", raw_append),
#ifdef RACE_URING
      in_process("raw_append_4", "4 of them under way, io_uring", [](auto& c) { return raw_append_queued(c, 4); }),
      in_process("raw_append_16", "16 of them under way", [](auto& c) { return raw_append_queued(c, 16); }),
#endif
      in_process("append_and_sync", "128 bytes and fdatasync, on a file that grows", append_and_sync),
      in_process("write_call", "128 bytes by write(), no sync", write_call),
      in_process("sequential_write", "1 MiB after the other, direct", sequential_write),
      in_process("sequential_read", "1 MiB after the other, direct", sequential_read),
      in_process("random_read", "4 KiB anywhere, direct, one after the other", random_read),
      in_process("memcpy", "64 MiB", copying),
      in_process("ordered_map", "std::map of strings", map_of_records<std::map<std::string, std::string>>),
      in_process("hash_map", "std::unordered_map of strings",
                 map_of_records<std::unordered_map<std::string, std::string>>),
  };
}

Contender contender() {
  utsname system{};
  uname(&system);
  return {"reference", system.release, "the machine without a store", {}};
}

}  // namespace race
