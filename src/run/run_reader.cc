// SPDX-License-Identifier: Apache-2.0
#include "run/run_reader.h"

#include <algorithm>

#include "base/assert.h"
#include "base/status_macros.h"

namespace daruma {
namespace {

/// Damage listed per reader; beyond that a caller learns nothing new.
constexpr std::size_t kFindingsMax = 1000;

/// Of memory that a thread reads one block after the other into: the allocator's part in a cold get is a tenth
/// otherwise.
constexpr std::size_t kKeptBytes = 256 << 10;
void keep_if_small(BlockRef& room) {
  if (room && room.memory_bytes() > kKeptBytes) room = BlockRef();
}

/// A value of a block that does not stay: alone, unless it is most of the block anyway.
void keep_value(const BlockRef& block, RunReader::Lookup& out) {
  if (out.value.size() > block.view().size() / 2) {
    out.block = block;
    return;
  }
  out.block = BlockRef::make(out.value.size());
  out.value.copy(out.block.data(), out.value.size());
  out.value = out.block.view();
}

RunReader::Lookup found(EntryKind kind, Sequence sequence, std::string_view value) {
  using Found = RunReader::Lookup::Found;
  return {kind == EntryKind::kPut ? Found::kValue : Found::kErased, sequence, value};
}

/// What a block says of a key. False: it ends before (key, at), and the next one may have it.
bool find_in(const LoadedBlock& entries, std::string_view key, Sequence at, RunReader::Lookup& out) {
  const std::size_t entry = entries.find(key, at);
  if (entry == entries.size()) return false;
  if (entries.has_key(entry, key)) out = found(entries.kind(entry), entries.sequence(entry), entries.value(entry));
  return true;
}

bool same(const RunFinding& a, const RunFinding& b) {
  return a.fault == b.fault && a.status.where().offset == b.status.where().offset;
}

}  // namespace

Result<std::unique_ptr<RunReader>> RunReader::open(Storage& storage, const std::string& path, const StoreId& store,
                                                   std::uint64_t number, std::shared_ptr<BlockCache> cache,
                                                   std::optional<RunInfo> known) {
  DARUMA_ASSERT(!known || known->number == number);
  DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, open_to_read(storage, path));
  return std::unique_ptr<RunReader>(
      new RunReader(std::move(file), {store, number}, std::move(cache), std::move(known)));
}

RunReader::RunReader(std::unique_ptr<File> file, const RunPlace& place, std::shared_ptr<BlockCache> cache,
                     std::optional<RunInfo> known)
    : file_(std::move(file)), place_(place), cache_(std::move(cache)), known_(std::move(known)) {}

RunReader::~RunReader() = default;

Result<const RunContents*> RunReader::load() const {
  MutexLock lock(mutex_);
  if (contents_) return contents_.get();
  DARUMA_TRY(refused_);
  std::vector<RunFinding> findings;
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file_->size());
  RunBytes bytes(*file_, size, place_, RunBytes::From::kCache);
  Result<std::unique_ptr<RunContents>> loaded = load_run_contents(bytes, place_, known_, findings);
  if (!findings.empty() || !loaded.ok()) {
    RunBytes healed(*file_, size, place_, RunBytes::From::kParity);
    std::vector<RunFinding> left;
    Result<std::unique_ptr<RunContents>> again = load_run_contents(healed, place_, known_, left);
    if (again.ok() && left.size() < findings.size() + !loaded.ok()) {
      for (RunFinding& finding : findings) {
        finding.healed = std::none_of(left.begin(), left.end(), [&](const RunFinding& f) { return same(f, finding); });
        if (!finding.healed) std::erase_if(left, [&](const RunFinding& f) { return same(f, finding); });
      }
      findings.insert(findings.end(), left.begin(), left.end());
      loaded = std::move(again);
      hurt_.store(true, std::memory_order_relaxed);
    }
  }
  if (!loaded.ok() || std::any_of(findings.begin(), findings.end(), [](const RunFinding& f) { return !f.healed; }))
    lost_.store(true, std::memory_order_relaxed);
  if (loaded.ok() && cache_) (*loaded)->cached = std::make_unique<BlockSlots>(*cache_, (*loaded)->index.size());
  // What the device refuses to read is not lost: it is asked again the next time, and serves what it can until then.
  const auto refused_by_device = std::count_if(
      findings.begin(), findings.end(), [](const RunFinding& f) { return !f.healed && f.status.is(Code::kIoError); });
  if (loaded.ok() && refused_by_device > 0) {
    findings_ = std::move(findings);
    if (!partial_.empty() && partial_.back().first <= refused_by_device) return partial_.back().second.get();
    partial_.emplace_back(refused_by_device, std::move(*loaded));
    return partial_.back().second.get();
  }
  if (loaded.ok()) {
    findings_ = std::move(findings);
    contents_ = std::move(*loaded);
    file_->expect_reads_anywhere();  // whoever walks says so
    loaded_.store(contents_.get(), std::memory_order_release);
    return contents_.get();
  }
  if (loaded.status().is(Code::kCorruption) || loaded.status().is(Code::kUnsupported)) {
    refused_ = loaded.status();
    findings_ = std::move(findings);
  }
  return loaded.status();
}

Result<RunReader::Lookup> RunReader::get(std::string_view key, Sequence at, Hold hold, BlockFetch* fetch) const {
  DARUMA_TRY_ASSIGN(const RunContents* c, contents());
  return find(*c, key, std::min(at, kMaxSequence), hold, fetch);
}

Result<RunReader::Lookup> RunReader::find(const RunContents& c, std::string_view key, Sequence at, Hold hold,
                                          BlockFetch* fetch) const {
  Lookup out;
  if (at < c.info.min_sequence || key < c.info.smallest_key || key > c.info.largest_key) return out;
  const std::uint64_t hash = key_hash(c.info.keyspace, key);
  c.filter.prefetch(hash);
  std::size_t i = c.index.find(key, at);  // while the filter's line comes
  if (c.filter.may_contain(hash)) {
    EpochGuard guard;
    for (bool here = false; !here && i < c.index.size(); ++i) {
      if (const char* const cached = c.cached ? c.cached->peek(i) : nullptr) {
        here = find_in(LoadedBlock(cached), key, at, out);
        if (hold == Hold::kShare && out.found != Lookup::Found::kNothing) out.block = BlockSlots::share(cached);
        continue;
      }
      if (fetch && !c.index.at(i).gap) {
        const BlockFetch::Asked* const asked = fetch->ask(*this, c, i, key, at);
        if (!asked) {
          out.found = Lookup::Found::kUnread;
          return out;
        }
        if (asked->here) {
          here = *asked->here;
          out = asked->found;
          continue;
        }
      }
      const Form form = form_for_get(c, i);
      DARUMA_TRY_ASSIGN(const BlockRef block, read_block(c, i, form));
      DARUMA_TRY_ASSIGN(here, find_in_read(c, i, block, form, key, at, hold, out));
    }
  }
  // An erase that is lost could be as new as anything in the run.
  if (!c.erases_lost.ok() && out.sequence < std::min(at, c.info.max_sequence)) return c.erases_lost;
  if (const Sequence erased = c.erases.covering(key, at, out.sequence); erased > out.sequence) {
    out = Lookup();
    out.found = Lookup::Found::kErased;
    out.sequence = erased;
  }
  return out;
}

Result<bool> RunReader::find_in_read(const RunContents& c, std::size_t i, const BlockRef& block, Form form,
                                     std::string_view key, Sequence at, Hold hold, Lookup& out) const {
  if (form == Form::kLoaded) {
    const bool here = find_in(LoadedBlock(block.view().data()), key, at, out);
    if (out.found != Lookup::Found::kNothing) out.block = block;
    return here;
  }
  DataBlockCursor entries(block.view());
  entries.seek(key, at);
  if (entries.bad()) return lost_block(c, i, run_damage("data block makes no sense", path(), c.index.at(i).offset));
  if (!entries.valid()) return false;
  if (entries.key() == key) {
    out = found(entries.entry().kind(), entries.entry().sequence(), entries.entry().value);
    if (hold == Hold::kBorrow)
      out.block = block;
    else
      keep_value(block, out);
  }
  return true;
}

Result<BlockRef> RunReader::read_block(const RunContents& c, std::size_t i, Form form) const {
  const IndexEntry at = c.index.at(i);
  if (at.gap) return lost_block(c, i, c.gap(i, path()));
  thread_local BlockRef frame;
  frame.remake(at.frame_bytes);
  const Result<std::size_t> got = file_->read(at.offset, {frame.data(), at.frame_bytes});
  Result<BlockRef> ref =
      got.ok() ? take_frame(c, i, frame.view().substr(0, *got), form) : Result<BlockRef>(got.status());
  keep_if_small(frame);
  if (ref.ok()) return ref;
  return healed_block(c, i, form, ref.status());
}

/// The block once more, past the page cache and through parity. `why`: it does not verify, or cannot be read.
Result<BlockRef> RunReader::healed_block(const RunContents& c, std::size_t i, Form form, const Status& why) const {
  const IndexEntry at = c.index.at(i);
  const Result<std::uint64_t> size = file_->size();
  if (!size.ok()) return lost_block(c, i, why);
  RunBytes bytes(*file_, *size, place_, RunBytes::From::kParity);
  const Result<std::string_view> healed = bytes.view(at.offset, at.frame_bytes);
  if (!healed.ok()) return lost_block(c, i, why);
  Result<BlockRef> ref = take_frame(c, i, *healed, form);
  if (!ref.ok()) return lost_block(c, i, why);
  note({RunFault::kData, why, c.damaged_keys(i), true});
  hurt_.store(true, std::memory_order_relaxed);
  return ref;
}

Result<BlockHeader> RunReader::check_frame(const IndexEntry& at, std::string_view frame) const {
  if (frame.size() < at.frame_bytes) return run_damage("the file ends within a data block", path(), at.offset);
  const std::optional<BlockHeader> header = decode_block(frame, place_, at.offset);
  if (!header || header->kind != BlockKind::kData) return run_damage("data block does not verify", path(), at.offset);
  return *header;
}

Status RunReader::unpack(const IndexEntry& at, const BlockHeader& header, std::string_view frame, BlockRef& out) const {
  out.remake(header.raw_bytes);
  if (!unpack_block(header, frame, out.data()))
    return run_damage("data block verifies but does not decompress", path(), at.offset);
  return {};
}

Status RunReader::load_frame(const IndexEntry& at, std::string_view frame, BlockRef& room, BlockRef& out) const {
  DARUMA_TRY_ASSIGN(const BlockHeader header, check_frame(at, frame));
  std::string_view contents = frame.substr(kBlockHeaderBytes, header.stored_bytes);
  if (header.lz4) {
    DARUMA_TRY(unpack(at, header, frame, room));
    contents = room.view();
  }
  if (!LoadedBlock::make(contents, out)) return run_damage("data block makes no sense", path(), at.offset);
  return {};
}

Result<BlockRef> RunReader::take_frame(const RunContents& c, std::size_t i, std::string_view frame, Form form) const {
  thread_local BlockRef room;
  BlockRef ref;
  const IndexEntry at = c.index.at(i);
  Status taken;
  if (form == Form::kLoaded) {
    taken = load_frame(at, frame, room, ref);
  } else {
    const Result<BlockHeader> header = check_frame(at, frame);
    taken = header.ok() ? unpack(at, *header, frame, room) : header.status();
    ref = room;
  }
  keep_if_small(room);
  DARUMA_TRY(taken);
  if (form == Form::kLoaded && c.cached) c.cached->insert(i, ref);
  return ref;
}

Status RunReader::lost_block(const RunContents& c, std::size_t i, Status status) const {
  note({RunFault::kData, status, c.damaged_keys(i)});
  lost_.store(true, std::memory_order_relaxed);
  return status;
}

void RunReader::note(RunFinding finding) const {
  MutexLock lock(mutex_);
  const bool listed = std::any_of(findings_.begin(), findings_.end(), [&](const RunFinding& f) {
    return f.fault == finding.fault && f.keys && finding.keys && f.keys->offset == finding.keys->offset;
  });
  if (!listed && findings_.size() < kFindingsMax) findings_.push_back(std::move(finding));
}

const BlockFetch::Asked* BlockFetch::ask(const RunReader& reader, const RunContents& contents, std::size_t block,
                                         std::string_view key, Sequence at) {
  const std::uint64_t offset = contents.index.at(block).offset;
  const auto wanted = std::find_if(wanted_.begin(), wanted_.end(), [&](const Wanted& w) {
    return w.reader == &reader && w.contents->index.at(w.block).offset == offset;
  });
  const auto n = static_cast<std::size_t>(wanted - wanted_.begin());
  if (wanted == wanted_.end()) wanted_.push_back({&reader, &contents, block, RunReader::form_for_get(contents, block)});
  const auto asked = std::find_if(asked_.begin(), asked_.end(),
                                  [&](const Asked& a) { return a.wanted == n && a.at == at && a.key == key; });
  if (asked != asked_.end()) return n < read_ ? &*asked : nullptr;
  asked_.push_back({n, key, at});
  return n < read_ ? &asked_.back() : nullptr;
}

void BlockFetch::read() {
  std::vector<ReadRequest> requests;
  std::size_t bytes = 0;
  for (std::size_t i = read_; i < wanted_.size(); ++i) {
    const IndexEntry at = wanted_[i].contents->index.at(wanted_[i].block);
    requests.push_back({.file = wanted_[i].reader->file_.get(),
                        .offset = at.offset,
                        .out = {static_cast<char*>(nullptr), at.frame_bytes},
                        .bytes_read = 0,
                        .status = {}});
    bytes += at.frame_bytes;
  }
  BlockRef room = BlockRef::make(bytes);  // one for all: the allocator is slow at blocks of this size
  char* frame = room.data();
  for (ReadRequest& request : requests) {
    request.out = {frame, request.out.size()};
    frame += request.out.size();
  }
  storage_.read_batch(requests, [&](const ReadRequest& request) {
    const std::size_t n = read_ + static_cast<std::size_t>(&request - requests.data());
    const auto& [reader, contents, block, form] = wanted_[n];
    if (!request.status.ok()) return;
    const Result<BlockRef> read = reader->take_frame(*contents, block, {request.out.data(), request.bytes_read}, form);
    if (!read.ok()) return;
    for (Asked& asked : asked_) {  // now, while others are on their way, and the block is in the processor's cache
      if (asked.wanted != n) continue;
      const Result<bool> here = reader->find_in_read(*contents, block, *read, form, asked.key, asked.at,
                                                     RunReader::Hold::kShare, asked.found);
      if (here.ok()) asked.here = *here;
    }
  });
  read_ = wanted_.size();
}

Result<Sequence> RunReader::covering_erase(std::string_view key, Sequence at) const {
  DARUMA_TRY_ASSIGN(const RunContents* c, contents());
  DARUMA_TRY(c->erases_lost);
  return c->erases.covering(key, at, 0);
}

Result<std::vector<RangeErase>> RunReader::range_erases() const {
  DARUMA_TRY_ASSIGN(const RunContents* c, contents());
  DARUMA_TRY(c->erases_lost);
  return c->erases.all();
}

Result<RunInfo> RunReader::info() const {
  DARUMA_TRY_ASSIGN(const RunContents* c, contents());
  return c->info;
}

std::vector<RunFinding> RunReader::findings() const {
  MutexLock lock(mutex_);
  return findings_;
}

Result<RunDescription> describe_run(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                    std::uint64_t number) {
  DARUMA_TRY_ASSIGN(std::unique_ptr<File> file, open_to_read(storage, path));
  DARUMA_TRY_ASSIGN(const std::uint64_t size, file->size());
  RunDescription described;
  const RunPlace place{store.value_or(StoreId()), number};
  RunBytes bytes(*file, size, place, RunBytes::From::kCache);
  Result<RunTail> tail = load_run_tail(bytes, store, number, described.findings);
  if (store && !tail.ok()) {  // parity is seeded with the store
    RunBytes healed(*file, size, place, RunBytes::From::kParity);
    std::vector<RunFinding> left;
    if (Result<RunTail> again = load_run_tail(healed, store, number, left); again.ok()) tail = std::move(again);
  }
  DARUMA_TRY(tail.status());
  described.store = tail->footer.header.place.store;
  described.info = std::move(tail->info);
  return described;
}

}  // namespace daruma
