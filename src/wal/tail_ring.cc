// SPDX-License-Identifier: Apache-2.0
#include "wal/tail_ring.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "base/status_macros.h"

namespace daruma {

Result<std::unique_ptr<TailRing>> TailRing::create(Storage& storage, const std::string& path, const TailHeader& header,
                                                   Sequence durable) {
  DARUMA_ASSERT(header.capacity % kTailUnit == 0 && header.capacity >= kMinTailBytes);
  DARUMA_TRY_ASSIGN(std::unique_ptr<Mapping> mapping, make_file(storage, path, header));
  std::unique_ptr<TailRing> ring(new TailRing(std::move(mapping), header));
  ring->begin(durable);
  return ring;
}

Result<std::unique_ptr<Mapping>> TailRing::make_file(Storage& storage, const std::string& path,
                                                     const TailHeader& header) {
  {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, storage.open(path, OpenMode::kCreate));
    DARUMA_TRY(file->allocate(2 * tail_half_bytes(header.capacity)));
  }
  DARUMA_TRY_ASSIGN(std::unique_ptr<Mapping> mapping, storage.map(path));
  if (mapping->bytes().size() < 2 * tail_half_bytes(header.capacity))
    return Status(Code::kIoError, "tail ring maps short", {path, {}, {}});
  return mapping;
}

void TailRing::add(std::unique_ptr<Mapping> mapping) {
  halves_.push_back(mapping->bytes().data());
  halves_.push_back(mapping->bytes().data() + tail_half_bytes(header_.capacity));
  mappings_.push_back(std::move(mapping));
}

Status TailRing::copy_to(Storage& storage, const std::string& path) {
  DARUMA_ASSERT(head_ == 0);
  DARUMA_TRY_ASSIGN(std::unique_ptr<Mapping> mapping, make_file(storage, path, header_));
  add(std::move(mapping));
  begin(durable_);
  return {};
}

void TailRing::begin(Sequence durable) {
  durable_ = durable;
  for (counter_ = 0; counter_ < kTailSlotsUnpublished;) write_slot(durable);
  const std::string sector = encode_tail_header(header_);
  for (char* half : halves_) {
    store(half + kTailHeadAt, encode_tail_head(header_, head_));
    std::copy(sector.begin(), sector.end(), half);
  }
}

void TailRing::write_slot(Sequence sequence) {
  ++counter_;
  const auto index = static_cast<unsigned>(counter_ % 2);
  char slot[kTailSlotBytes];
  encode_tail_slot(header_, {counter_, live_, sequence}, index, slot);
  for (char* half : halves_) {
    std::memcpy(half + kSectorBytes + index * kTailSlotBytes, slot, sizeof slot);
    // A signal or kill may stop this thread anywhere: the slot must stand before later stores into the space it frees.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

std::uint64_t TailRing::cost(std::uint64_t payload) const {
  const std::uint64_t entry = tail_entry_bytes(payload);
  const std::uint64_t left = header_.capacity - head_ % header_.capacity;
  return entry <= left ? entry : left + entry;
}

std::string_view TailRing::push(const WalRecord& record) {
  DARUMA_ASSERT(fits(record.event.size()));
  const std::uint64_t entry = tail_entry_bytes(record.event.size());
  const std::uint64_t left = header_.capacity - head_ % header_.capacity;
  const std::uint64_t pad = entry > left ? left : 0;
  const std::uint64_t head = head_ + pad + entry;
  const std::uint64_t head_word = encode_tail_head(header_, head);
  for (char* half : halves_) {
    if (pad > 0) {
      encode_tail_pad(header_, head_, static_cast<std::uint32_t>(pad - kTailEntryHeaderBytes), at(half, head_));
    }
    if (half == halves_[0]) {
      encode_tail_entry(header_, head_ + pad, record, at(half, head_ + pad));
    } else {
      copy_tail_entry(at(half, head_ + pad), at(halves_[0], head_ + pad), kTailEntryHeaderBytes + record.event.size());
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    store(half + kTailHeadAt, head_word);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  const char* kept = at(halves_[0], head_ + pad) + kTailEntryHeaderBytes;
  head_ = head;
  return {kept, record.event.size()};
}

void TailRing::release(std::uint64_t position, Sequence sequence) {
  DARUMA_ASSERT(position >= live_ && position <= head_);
  live_ = position;
  write_slot(sequence);
}

}  // namespace daruma
