// SPDX-License-Identifier: Apache-2.0
// A log on the simulated disk, for the tests of the wal room.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "event/event.h"
#include "io/sim_storage.h"
#include "wal/wal_reader.h"
#include "wal/wal_writer.h"

namespace daruma::wal_test {

inline const StoreId kStore{0x1122334455667788ULL, 0x99aabbccddeeff00ULL};
inline const std::string kDirectory = "store";

/// The event that sequence `s` always has, `bytes` long or so.
inline std::string event_of(Sequence s, std::size_t bytes = 40) {
  EventBuilder b;
  Random random(s);
  std::string value;
  while (value.size() < bytes) value.push_back(static_cast<char>(random.next()));
  b.put(1, "key" + std::to_string(s), value);
  return std::string(b.bytes());
}

/// Small limits, so that short tests rotate, wrap and fill.
inline WalOptions small_options() {
  WalOptions o;
  o.segment_bytes = 64 << 10;
  o.ring_bytes = 256 << 10;
  o.window_bytes = 24 << 10;
  o.max_frame_bytes = 8 << 10;
  o.max_in_flight = 4;
  return o;
}

struct Log {
  std::map<Sequence, std::string> events;  ///< of the newest segment that holds them; superseded ones dropped
  std::vector<std::pair<std::string, SegmentScan>> scans;
  TailScan tail;
  Sequence durable_proof = 0;  ///< highest sequence that any segment proves durable
};

inline std::vector<std::string> log_paths(Storage& storage) {
  std::vector<std::string> out;
  const Result<std::vector<DirectoryEntry>> entries = storage.list(kDirectory + "/wal");
  if (!entries.ok()) return out;
  for (const DirectoryEntry& entry : *entries) {
    if (parse_segment_name(entry.name)) out.push_back(kDirectory + "/wal/" + entry.name);
  }
  return out;
}

/// Reads everything as recovery would: segments by number, a successor's start superseding what is at or above it.
inline Log read_log(Storage& storage) {
  Log log;
  for (const std::string& path : log_paths(storage)) {
    std::map<Sequence, std::string> here;
    SegmentScan scan = read_segment(storage, path, kStore, [&](const FrameView& f) {
      for_each_record(f.header, f.payload, [&](const WalRecord& r) { here[r.sequence] = std::string(r.event); });
    });
    if (scan.header) {
      log.events.erase(log.events.lower_bound(scan.header->start_sequence), log.events.end());
      log.durable_proof = std::max(log.durable_proof, scan.max_watermark);
    }
    log.events.merge(here);
    log.scans.emplace_back(path, std::move(scan));
  }
  if (!log.scans.empty() && log.scans.back().second.header) {
    log.tail = read_tail(storage, kDirectory, kStore, log.scans.back().second.header->tail_nonce);
  }
  return log;
}

struct Disk {
  explicit Disk(std::uint64_t seed = 1)
      : storage(std::make_shared<SimStorage>(SimStorageOptions{.seed = seed})), random(seed) {
    EXPECT_TRUE(storage->make_directory(kDirectory).ok());
    EXPECT_TRUE(storage->sync_directory("").ok());
  }
  Result<std::unique_ptr<WalWriter>> try_writer(const WalOptions& options = small_options(), std::uint64_t segment = 1,
                                                Sequence start = 1, std::span<const WalRecord> persist = {},
                                                const EarlierFootprints& earlier = EarlierFootprints()) {
    WalCreate create;
    create.directory = kDirectory;
    create.store = kStore;
    create.next_segment = segment;
    create.start_sequence = start;
    create.persist = persist;
    create.earlier = earlier;
    return WalWriter::create(storage, options, create, clock, random);
  }
  std::unique_ptr<WalWriter> writer(const WalOptions& options = small_options()) {
    Result<std::unique_ptr<WalWriter>> made = try_writer(options);
    EXPECT_TRUE(made.ok()) << made.status().to_string();
    return std::move(made).value();
  }
  std::shared_ptr<SimStorage> storage;
  ManualClock clock;
  Random random;
};

}  // namespace daruma::wal_test
