// SPDX-License-Identifier: Apache-2.0
//
// The tail ring: a shared mapping into which every event is copied before it is acknowledged, so that it survives the
// death of the process without a system call. Frames of the log are written from it.
//
// What must stay true: an entry is overwritten only after the live slot, in the mapping, says that everything before
// its successor is durable in the log; a reader therefore finds every event that is not yet durable. Both halves of the
// file, and of the one in wal-copy/, hold the same, the first stored first: nobody is told of an event before it stands
// in all of them. Positions are
// logical and grow for ever; an entry lies at position modulo capacity and never wraps. The head word is stored after
// the entry and before anyone is told of it, so an entry missing below the head is damage and one above it is nobody's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/storage.h"
#include "wal/tail_format.h"
#include "wal/wal_format.h"

namespace daruma {

/// Owner: WalWriter, which orders all calls. One thread at a time.
class TailRing {
 public:
  /// Makes an empty ring at `path`; `durable` is the last sequence that the log already holds.
  static Result<std::unique_ptr<TailRing>> create(Storage& storage, const std::string& path, const TailHeader& header,
                                                  Sequence durable);
  /// Keeps the same in a second file from now on. Before the first push.
  Status copy_to(Storage& storage, const std::string& path);

  /// The segment that names it is published: should that be lost, the ring says that there was one.
  void begun() { write_slot(durable_); }

  /// Beside other calls: brings it into memory.
  void prefault() {
    for (const std::unique_ptr<Mapping>& mapping : mappings_) mapping->prefault();
  }

  /// Bytes `payload` would take now, the pad at the end of the ring included.
  [[nodiscard]] std::uint64_t cost(std::uint64_t payload) const;
  [[nodiscard]] bool fits(std::uint64_t payload) const { return head_ + cost(payload) - live_ <= header_.capacity; }
  /// An event above this goes around the ring: it would leave no room for others.
  [[nodiscard]] static std::uint64_t max_payload(std::uint64_t capacity) { return capacity / 4; }
  /// Copies one event in; the result stays valid until released. Must fit.
  std::string_view push(const WalRecord& record);
  /// Position behind the last entry.
  [[nodiscard]] std::uint64_t head() const { return head_; }
  /// Everything before `position` is durable up to `sequence`.
  void release(std::uint64_t position, Sequence sequence);
  [[nodiscard]] std::uint64_t used() const { return head_ - live_; }
  [[nodiscard]] std::uint64_t capacity() const { return header_.capacity; }

 private:
  TailRing(std::unique_ptr<Mapping> mapping, const TailHeader& header) : header_(header) { add(std::move(mapping)); }
  static Result<std::unique_ptr<Mapping>> make_file(Storage& storage, const std::string& path,
                                                    const TailHeader& header);
  void add(std::unique_ptr<Mapping> mapping);
  void begin(Sequence durable);
  /// Data of a half.
  char* at(char* half, std::uint64_t position) const { return half + kTailDataAt + position % header_.capacity; }
  void write_slot(Sequence sequence);

  std::vector<std::unique_ptr<Mapping>> mappings_;
  TailHeader header_;
  std::vector<char*> halves_;  // two in each mapping
  std::uint64_t head_ = 0;
  std::uint64_t live_ = 0;
  std::uint64_t counter_ = 0;
  Sequence durable_ = 0;  // when it was made
};

}  // namespace daruma
