// SPDX-License-Identifier: Apache-2.0
#include "wal/tail_ring.h"

#include <atomic>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "base/status_macros.h"

namespace daruma {

Result<std::unique_ptr<TailRing>> TailRing::create(Storage& storage, const std::string& path, const TailHeader& header,
                                                   Sequence durable) {
  DARUMA_ASSERT(header.capacity % kTailUnit == 0 && header.capacity >= kMinTailBytes);
  {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kCreate));
    DARUMA_TRY(file->allocate(kTailDataAt + header.capacity));
  }
  DARUMA_TRY_ASSIGN(std::unique_ptr<Mapping> mapping, storage.map(path));
  if (mapping->bytes().size() < kTailDataAt + header.capacity)
    return Status(Code::kIoError, "tail ring maps short", {path, {}, {}});
  std::unique_ptr<TailRing> ring(new TailRing(std::move(mapping), header));
  ring->write_slot(durable);
  ring->write_slot(durable);
  ring->write_head();
  const std::string sector = encode_tail_header(header);
  std::memcpy(ring->base_, sector.data(), sector.size());
  return ring;
}

void TailRing::write_slot(Sequence sequence) {
  ++counter_;
  const auto index = static_cast<unsigned>(counter_ % 2);
  encode_tail_slot(header_, {counter_, live_, sequence}, index, base_ + kSectorBytes + index * kTailSlotBytes);
  // A signal or kill may stop this thread anywhere: the slot must stand before later stores into the space it frees.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void TailRing::write_head() { store(base_ + kTailHeadAt, encode_tail_head(header_, head_)); }

std::uint64_t TailRing::cost(std::uint64_t payload) const {
  const std::uint64_t entry = tail_entry_bytes(payload);
  const std::uint64_t left = header_.capacity - head_ % header_.capacity;
  return entry <= left ? entry : left + entry;
}

std::string_view TailRing::push(const WalRecord& record) {
  DARUMA_ASSERT(fits(record.event.size()));
  const std::uint64_t entry = tail_entry_bytes(record.event.size());
  const std::uint64_t left = header_.capacity - head_ % header_.capacity;
  if (entry > left) {
    encode_tail_pad(header_, head_, static_cast<std::uint32_t>(left - kTailEntryHeaderBytes), at(head_));
    head_ += left;
  }
  char* out = at(head_);
  encode_tail_entry(header_, head_, record, out);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  head_ += entry;
  write_head();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return {out + kTailEntryHeaderBytes, record.event.size()};
}

void TailRing::release(std::uint64_t position, Sequence sequence) {
  DARUMA_ASSERT(position >= live_ && position <= head_);
  live_ = position;
  write_slot(sequence);
}

}  // namespace daruma
