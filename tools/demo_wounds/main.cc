// SPDX-License-Identifier: Apache-2.0
//
// Hurts the files of a closed store on purpose, for the demonstration: demo_wounds power-cut|poison STORE SEED.
// Exit code 3: not in this state, try again a few writes later. Says in plain sentences what it did; `poison` also
// names the keys, "key KEYSPACE HEX" a line.
//
// What must stay true: `power-cut` does only what a loss of power can do to a store that acknowledges nothing before it
// is durable; `poison` destroys every copy of one acknowledged write and nothing else.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status_macros.h"
#include "engine/state.h"
#include "event/event.h"
#include "io/posix_storage.h"
#include "snapshot/catalogue.h"
#include "wal/earlier_footprints.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

struct Segment {
  std::string path;
  std::string name;
  SegmentScan scan;
  std::vector<FrameHeader> frames;  // good ones before any gap, in order
  std::vector<FrameHeader> writes;  // those of them that hold one write of a user's
  [[nodiscard]] std::uint64_t end() const {
    return frames.empty() ? kSegmentFramesAt : frames.back().offset + frames.back().frame_bytes;
  }
};

bool is_one_write(const FrameView& frame) {
  bool of_user = frame.header.has_events() && frame.header.count() == 1;
  for_each_record(frame.header, frame.payload, [&](const WalRecord& record) {
    (void)for_each_op(record.event, [&](const Op& op) { of_user = of_user && op.keyspace != kCatalogKeyspace; });
  });
  return of_user;
}

/// The newest segment and those before it that a start would replay.
Result<std::vector<Segment>> read_log(Storage& storage, const std::string& directory) {
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, storage.list(directory + "/wal"));
  std::vector<Segment> log;
  for (const DirectoryEntry& entry : names) {
    if (!parse_segment_name(entry.name)) continue;
    Segment segment;
    segment.name = entry.name;
    segment.path = directory + "/wal/" + entry.name;
    segment.scan = read_segment(storage, segment.path, std::nullopt, [&](const FrameView& frame) {
      if (frame.gaps_before != 0) return;
      segment.frames.push_back(frame.header);
      if (is_one_write(frame)) segment.writes.push_back(frame.header);
    });
    if (segment.scan.header) log.push_back(std::move(segment));
  }
  if (log.empty()) return Status(Code::kNotFound, "there is no log here", {directory, {}, {}});
  return log;
}

Result<std::string> read_bytes(File& file, std::uint64_t offset, std::uint64_t bytes) {
  std::string out(bytes, '\0');
  DARUMA_TRY_ASSIGN(const std::size_t got, file.read(offset, out));
  out.resize(got);
  return out;
}

/// The machine was another one when this segment was begun, so to speak: the boot in its header changes, and with it
/// the chain of checksums that begins there.
Result<std::uint64_t> pretend_older_boot(const Segment& segment, File& file) {
  SegmentHeader header = *segment.scan.header;
  header.boot = boot_hash("the boot before the power cut");
  const std::string first = encode_segment_header(header, 0);
  std::uint64_t previous = header.checksum;
  DARUMA_TRY(file.write(0, first));
  DARUMA_TRY(file.write(kSectorBytes, encode_segment_header(header, kSectorBytes)));
  EarlierFootprints earlier;
  for (FrameHeader frame : segment.frames) {
    DARUMA_TRY_ASSIGN(const std::string bytes, read_bytes(file, frame.offset, frame.frame_bytes));
    FrameBody body;
    body.flags = frame.flags;
    body.first_sequence = frame.first_sequence;
    body.last_sequence = frame.last_sequence;
    body.raw_bytes = frame.payload_raw_bytes;
    body.footprint = bytes.substr(kFrameHeaderBytes, frame.footprint_bytes);
    body.payload = bytes.substr(kFrameHeaderBytes + frame.footprint_bytes, frame.payload_bytes);
    frame.previous = previous;
    const AlignedBuffer again = encode_frame(header.store, frame, body, earlier);
    DARUMA_TRY(file.write(frame.offset, again.view()));
    if (frame.has_events()) earlier.keep(frame.first_sequence, frame.last_sequence, body.footprint);
    previous = frame.checksum;
  }
  return previous;
}

constexpr std::uint64_t kHalfWriteRoom = 8 * kSectorBytes;  // more than the frame made below

/// Half of the frame that would have come next, with one event in it.
Status half_a_write(const Segment& segment, File& file, std::uint64_t previous, Random& random) {
  EventBuilder event;
  std::string value(3 * kSectorBytes, '\0');  // not to be compressed: half of one sector would be no tear
  for (char& c : value) c = static_cast<char>(random.next());
  event.put(1, "never acknowledged", value);
  FrameHeader frame;
  frame.incarnation = segment.scan.header->incarnation;
  frame.offset = segment.end();
  frame.watermark = segment.frames.empty() ? segment.scan.header->prepared_sequence : segment.frames.back().watermark;
  frame.previous = previous;
  frame.wall_ns = segment.scan.header->wall_ns;
  const Sequence last =
      segment.frames.empty() ? segment.scan.header->start_sequence - 1 : segment.frames.back().last_sequence;
  const WalRecord record{last + 1, event.bytes()};
  const FrameBody body = make_body({&record, 1});
  const AlignedBuffer whole = encode_frame(segment.scan.header->store, frame, body, EarlierFootprints());
  const std::uint64_t landed = round_down(whole.view().size() / 2, kSectorBytes);
  DARUMA_TRY(file.write(frame.offset, whole.view().substr(0, landed)));
  std::printf("half of a write is put at the end of the log (%s, %llu of %llu bytes, at %llu)\n", segment.name.c_str(),
              static_cast<unsigned long long>(landed), static_cast<unsigned long long>(whole.view().size()),
              static_cast<unsigned long long>(frame.offset));
  return {};
}

Status wipe_ring(Storage& storage, const std::string& directory, std::uint64_t nonce) {
  DARUMA_TRY_ASSIGN(const std::unique_ptr<File> ring,
                    storage.open(directory + "/wal/" + tail_name(nonce), OpenMode::kReadWrite));
  DARUMA_TRY_ASSIGN(const std::uint64_t bytes, ring->size());
  DARUMA_TRY(ring->write(0, std::string(bytes, '\0')));
  return ring->sync();
}

Status power_cut(Storage& storage, const std::string& directory, Random& random) {
  DARUMA_TRY_ASSIGN(const std::vector<Segment> log, read_log(storage, directory));
  const Segment& newest = log.back();
  if (newest.end() + kHalfWriteRoom > newest.scan.header->capacity) {
    return Status(Code::kBusy, "the log file is nearly full", {newest.path, newest.end(), {}},
                  "write more, then try again");
  }
  DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage.open(newest.path, OpenMode::kReadWrite));
  DARUMA_TRY_ASSIGN(const std::uint64_t previous, pretend_older_boot(newest, *file));
  DARUMA_TRY(half_a_write(newest, *file, previous, random));
  DARUMA_TRY(file->sync());
  DARUMA_TRY(wipe_ring(storage, directory, newest.scan.header->tail_nonce));
  std::printf(
      "what was in memory only is wiped (the tail ring), and the log says that the machine has been restarted\n");
  return {};
}

Status invert(File& file, std::uint64_t at, std::uint64_t bytes) {
  DARUMA_TRY_ASSIGN(std::string hurt, read_bytes(file, at, bytes));
  for (char& c : hurt) c = static_cast<char>(c ^ 0x55);
  return file.write(at, hurt);
}

/// The ring keeps an event's bytes as they are until something newer stands there, in both its halves. True when it had
/// them.
Result<bool> invert_copy(Storage& storage, const std::string& directory, std::uint64_t nonce, std::string_view event) {
  const std::string path = directory + "/wal/" + tail_name(nonce);
  DARUMA_TRY_ASSIGN(const std::string ring, read_whole(storage, path, 2 * tail_half_bytes(kMaxTailBytes)));
  DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage.open(path, OpenMode::kReadWrite));
  bool found = false;
  for (std::size_t at = 0; (at = ring.find(event, at)) != std::string::npos; at += event.size()) {
    DARUMA_TRY(invert(*file, at, event.size()));
    found = true;
  }
  if (found) DARUMA_TRY(file->sync());
  return found;
}

struct Victim {
  const Segment* segment = nullptr;
  FrameHeader frame;
};

/// A frame of one write that no snapshot holds yet and that newer ones follow, drawn by `random`.
Result<Victim> choose(const std::vector<Segment>& log, Sequence snapshot, Random& random) {
  std::vector<Victim> all;
  for (const Segment& segment : log) {
    for (const FrameHeader& frame : segment.writes) {
      if (frame.first_sequence > snapshot) all.push_back({&segment, frame});
    }
  }
  if (all.size() < 3) return Status(Code::kNotFound, "the log holds no single write that could be poisoned");
  return all[all.size() / 4 + random.below(all.size() / 2)];
}

Status poison(Storage& storage, const std::string& directory, Random& random) {
  DARUMA_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(storage, directory, std::nullopt));
  DARUMA_TRY_ASSIGN(const std::vector<Segment> log, read_log(storage, directory));
  const Sequence snapshot = catalogue.newest() ? catalogue.newest()->sequence : 0;
  DARUMA_TRY_ASSIGN(const Victim victim, choose(log, snapshot, random));
  DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage.open(victim.segment->path, OpenMode::kReadWrite));
  DARUMA_TRY_ASSIGN(const std::string frame, read_bytes(*file, victim.frame.offset, victim.frame.frame_bytes));
  std::string room;
  DARUMA_TRY_ASSIGN(const std::string_view raw, open_payload(victim.frame, frame, room));
  std::vector<std::pair<std::uint32_t, std::string>> keys;
  std::string event;
  for_each_record(victim.frame, raw, [&](const WalRecord& record) {
    event.assign(record.event);
    (void)for_each_op(record.event, [&](const Op& op) { keys.emplace_back(op.keyspace, op.key); });
  });
  // The parity of that sector goes too, or the damage would heal.
  const FrameLayout layout = victim.frame.layout();
  const std::uint64_t middle = kFrameHeaderBytes + victim.frame.footprint_bytes + victim.frame.payload_bytes / 2;
  const std::uint64_t sector = middle / kSectorBytes;
  const std::uint64_t at = victim.frame.offset + middle;
  const std::uint64_t bytes =
      std::min({std::uint64_t{16}, std::uint64_t{victim.frame.payload_bytes - victim.frame.payload_bytes / 2},
                (sector + 1) * kSectorBytes - middle});
  DARUMA_TRY(invert(*file, at, bytes));
  DARUMA_TRY(invert(*file, at + (layout.parity_of(sector) - sector) * kSectorBytes, bytes));
  DARUMA_TRY(file->sync());
  std::printf(
      "%llu bytes in the middle of write %llu and of its parity are inverted (%s, at %llu); it was acknowledged\n",
      static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(victim.frame.first_sequence),
      victim.segment->name.c_str(), static_cast<unsigned long long>(at));
  DARUMA_TRY_ASSIGN(const bool had_copy, invert_copy(storage, directory, log.back().scan.header->tail_nonce, event));
  std::printf(had_copy ? "so are those of its copy in memory that outlives the process (the tail ring)\n"
                       : "its copy in memory (the tail ring) has been written over long ago\n");
  for (const auto& [keyspace, key] : keys) {
    std::printf("key %u ", keyspace);
    for (const char c : key) std::printf("%02x", static_cast<unsigned char>(c));
    std::printf("\n");
  }
  return {};
}

}  // namespace
}  // namespace daruma

int main(int count, char** words) {
  const std::string_view what = count == 4 ? words[1] : "";
  if (what != "power-cut" && what != "poison") {
    std::fprintf(stderr, "demo_wounds power-cut|poison STORE SEED\n");
    return 2;
  }
  const std::shared_ptr<daruma::Storage> storage = daruma::make_posix_storage();
  daruma::Random random(std::strtoull(words[3], nullptr, 10));
  const daruma::Status done =
      what == "poison" ? daruma::poison(*storage, words[2], random) : daruma::power_cut(*storage, words[2], random);
  if (!done.ok()) std::fprintf(stderr, "demo_wounds: %s\n", done.to_string().c_str());
  return done.ok() ? 0 : done.is(daruma::Code::kBusy) ? 3 : 1;
}
