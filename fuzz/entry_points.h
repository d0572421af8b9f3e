// SPDX-License-Identifier: Apache-2.0
//
// One entry point for each room with bytes, shared by the libFuzzer programs and by the test that replays the corpus in
// the normal build. Each takes any bytes at all; what it checks is in its body, and a violation aborts.
#pragma once

#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "engine/engine.h"
#include "event/event.h"
#include "event/footprint.h"
#include "io/sim_storage.h"
#include "recovery/damage_map.h"
#include "recovery/quarantine.h"
#include "run/run_reader.h"
#include "snapshot/manifest.h"
#include "wal/wal_reader.h"

namespace daruma::fuzz {

/// The store of the golden files of the log.
inline constexpr StoreId kStore{0x1122334455667788ULL, 0x99aabbccddeeff00ULL};

inline void put_file(Storage& disk, const std::string& path, std::string_view bytes) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    DARUMA_ASSERT(disk.make_directory(path.substr(0, slash)).ok());
  Result<std::unique_ptr<File>> file = disk.open(path, OpenMode::kCreate);
  DARUMA_ASSERT(file.ok());
  DARUMA_ASSERT((*file)->write(0, bytes).ok());
}

/// Sequences rise, every record lies in its frame's range, and the scan ends inside the file.
inline void wal_segment(std::string_view input) {
  SimStorage disk;
  const std::string path = "s/wal/" + segment_name(1);
  put_file(disk, path, input);
  Sequence last = 0;
  const SegmentScan scan = read_segment(disk, path, std::nullopt, [&](const FrameView& f) {
    for_each_record(f.header, f.payload, [&](const WalRecord& r) {
      DARUMA_ASSERT(r.sequence > last && r.sequence <= f.header.last_sequence);
      last = r.sequence;
    });
  });
  DARUMA_ASSERT(scan.stop_offset <= std::max<std::uint64_t>(input.size(), kSegmentFramesAt));
}

/// Sequences rise and no entry reaches out of the ring. The file is padded to the ring's size.
inline void wal_tail(std::string_view input) {
  SimStorage disk;
  std::string file(input);
  file.resize(std::max<std::size_t>(file.size(), kTailDataAt + kMinTailBytes), '\0');
  constexpr std::uint64_t kNonce = 0xdeadbeef;
  put_file(disk, "s/wal/" + tail_name(kNonce), file);
  const TailScan scan = read_tail(disk, "s", std::nullopt, kNonce);
  Sequence last = 0;
  for (const WalRecord& r : scan.entries) {
    DARUMA_ASSERT(r.sequence > last);
    DARUMA_ASSERT(r.event.data() >= scan.data.get() &&
                  r.event.data() + r.event.size() <= scan.data.get() + scan.header.capacity);
    last = r.sequence;
  }
}

/// What decodes encodes to the same bytes; a footprint names every key of its event.
inline void event_and_footprint(std::string_view input) {
  EventBuilder again;
  Result<Footprint> made = footprint(input);
  const Status status = for_each_op(input, [&](const Op& op) {
    if (op.kind == OpKind::kPut) again.put(op.keyspace, op.key, op.value);
    if (op.kind == OpKind::kErase) again.erase(op.keyspace, op.key);
    if (op.kind == OpKind::kEraseRange) again.erase_range(op.keyspace, op.key, op.end);
    if (op.kind != OpKind::kEraseRange) DARUMA_ASSERT(made.ok() && made->touches(op.keyspace, op.key));
  });
  DARUMA_ASSERT(status.ok() == made.ok());
  if (status.ok()) DARUMA_ASSERT(again.bytes() == input);
  if (Result<Footprint> read = decode_footprint(input); read.ok()) {
    Result<Footprint> twice = decode_footprint(encode_footprint(*read));
    DARUMA_ASSERT(twice.ok() && *twice == *read);
  }
}

/// What decodes passes the checks and encodes to something that decodes to the same.
inline void manifest(std::string_view input) {
  if (Result<ManifestRead> read = decode_manifest(input, 1, std::nullopt); read.ok()) {
    DARUMA_ASSERT(check_manifest(read->manifest).ok());
    Result<ManifestRead> again = decode_manifest(encode_manifest(read->manifest), 1, std::nullopt);
    DARUMA_ASSERT(again.ok() && again->manifest == read->manifest && again->damaged.empty());
  }
}

inline void damage_map(std::string_view input) {
  if (Result<DamageMap> map = DamageMap::decode(input); map.ok()) {
    std::string once, twice;
    map->encode(once);
    Result<DamageMap> again = DamageMap::decode(once);
    DARUMA_ASSERT(again.ok());
    again->encode(twice);
    DARUMA_ASSERT(once == twice);
  }
}

/// Whatever stands in the ledger, an entry put behind it is found again, and opening writes nothing.
inline void quarantine_ledger(std::string_view input) {
  SimStorage disk;
  put_file(disk, "s/quarantine/ledger", input);
  const std::uint64_t before = disk.fingerprint();
  const std::size_t known = Quarantine(disk, "s/quarantine", kStore).list().size();
  DARUMA_ASSERT(disk.fingerprint() == before);
  QuarantineEntry what;
  what.file = "wal/x";
  const QuarantineEntry entry = Quarantine(disk, "s/quarantine", kStore).put(what, "bytes");
  const Quarantine again(disk, "s/quarantine", kStore);
  DARUMA_ASSERT(again.find(entry.id) != nullptr && again.list().size() >= known);
}

/// Opening and verifying a run of any bytes ends, with an answer or a Status.
inline void run(std::string_view input) {
  SimStorage disk;
  put_file(disk, "runs/7.run", input);
  constexpr StoreId kRunStore{0x1111222233334444, 0x5555666677778888};
  Result<std::unique_ptr<RunReader>> reader = RunReader::open(disk, "runs/7.run", kRunStore, 7, nullptr, std::nullopt);
  if (reader.ok()) static_cast<void>((*reader)->verify().ok());
}

/// input: u8 which file, u32 offset, bytes. The file is overwritten there; the store must open, never answer wrongly,
/// and answer the same when it is opened once more.
inline void recover(std::string_view input) {
  if (input.size() < 6) return;
  auto disk = std::make_shared<SimStorage>();
  ManualClock clock;
  std::uint64_t seed = 1;
  const auto open = [&] {
    Options options;
    options.memtable_bytes = 1 << 20;
    options.segment_bytes = options.ring_bytes = 256 << 10;
    options.cache_bytes = 1 << 20;
    Environment environment;
    environment.storage = disk;
    environment.clock = &clock;
    environment.seed = seed++;
    environment.threads = false;
    return Engine::open_store("s", options, environment);
  };
  constexpr int kKeys = 20;
  {
    Result<Store::Opened> opened = open();
    DARUMA_ASSERT(opened.ok());
    const Keyspace keyspace = *opened->store.create_keyspace("k");
    for (int i = 0; i < kKeys; ++i) {
      if (i == kKeys / 2) DARUMA_ASSERT(opened->store.checkpoint().ok());
      DARUMA_ASSERT(opened->store.put(keyspace, std::to_string(i), "v" + std::to_string(i)).ok());
    }
  }
  disk->kill();
  std::vector<std::string> files;
  for (const char* folder : {"s/wal", "s/runs", "s/snapshots"}) {
    const std::vector<DirectoryEntry> entries = *disk->list(folder);
    for (const DirectoryEntry& entry : entries) files.push_back(std::string(folder) + "/" + entry.name);
  }
  const std::string& path = files[static_cast<std::uint8_t>(input[0]) % files.size()];
  const std::uint64_t bytes = *(*disk->open(path, OpenMode::kRead))->size();
  const std::string_view noise = input.substr(5, std::min<std::uint64_t>(input.size() - 5, bytes));
  const std::uint64_t at = load<std::uint32_t>(input.data() + 1) % (bytes - noise.size() + 1);
  DARUMA_ASSERT(disk->overwrite(path, at, noise).ok());
  std::vector<std::string> before;
  for (int round = 0; round < 2; ++round) {
    Result<Store::Opened> opened = open();
    DARUMA_ASSERT(opened.ok() || opened.status().is(Code::kUnsupported));
    if (!opened.ok()) return;
    std::vector<std::string> answers;
    Result<Keyspace> keyspace = opened->store.keyspace("k");
    for (int i = 0; keyspace.ok() && i < kKeys; ++i) {
      Result<std::string> value = opened->store.get(*keyspace, std::to_string(i));
      DARUMA_ASSERT(value.ok() ? *value == "v" + std::to_string(i) : value.status().is(Code::kDataLoss));
      answers.push_back(value.ok() ? *value : "lost");
    }
    if (round == 1) DARUMA_ASSERT(answers == before);
    before = answers;
    opened = Status(Code::kAborted, "the process died");
    disk->kill();
  }
}

}  // namespace daruma::fuzz
