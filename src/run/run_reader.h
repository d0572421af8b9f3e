// SPDX-License-Identifier: Apache-2.0
//
// Reads one run.
//
// What must stay true:
//   - never-wrong: a lookup or a cursor gives what the run holds, or an error that names file and offset. "Nothing" is
//   an answer
//     only when no damaged byte could have made it another.
//   - Blocks in the cache have verified; blocks that did not are read again the next time, since a device may come
//   back.
//   - What does not verify is read once more past the page cache and healed by parity before it is an error.
//   - Reading changes nothing; `hurt` says that the file is worth writing anew.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "base/mutex.h"
#include "event/entry.h"
#include "io/storage.h"
#include "run/loaded_block.h"
#include "run/run_contents.h"

namespace daruma {

class BlockFetch;

/// Any thread; cursors are one thread's each. `storage` outlives the reader, the reader its cursors.
class RunReader {
 public:
  /// Opens the file and reads nothing yet. `cache` may be null. `known`: what a manifest says of the run; with it a run
  /// that lost both footers still serves, and another run under this name is refused. Errors: kNotFound, kIoError.
  static Result<std::unique_ptr<RunReader>> open(Storage& storage, const std::string& path, const StoreId& store,
                                                 std::uint64_t number, std::shared_ptr<BlockCache> cache,
                                                 std::optional<RunInfo> known = std::nullopt);
  ~RunReader();

  struct Lookup {
    enum class Found : std::uint8_t { kNothing, kValue, kErased, kUnread };
    Found found = Found::kNothing;
    Sequence sequence = 0;     ///< of the version or range erase that decided
    std::string_view value{};  ///< valid as long as `block`
    BlockRef block{};
  };
  enum class Hold : std::uint8_t {
    kShare,   ///< the value is valid as long as the lookup's block
    kBorrow,  ///< as long as that and the caller's EpochGuard: then a cached block is looked at and not written to
  };
  /// What a reader at sequence `at` sees of `key` in this run, range erases considered; of a version and a range erase
  /// of one sequence the version wins. Errors: kCorruption, kIoError (the answer may lie in what cannot be read),
  /// kUnsupported.
  /// With `fetch`, a block that is in neither cache nor `fetch` is noted there and not read: the answer is kUnread
  /// then.
  Result<Lookup> get(std::string_view key, Sequence at, Hold hold = Hold::kShare, BlockFetch* fetch = nullptr) const;
  /// Highest sequence, at or below `at`, of a range erase that covers `key`; 0: none. Errors: as get.
  Result<Sequence> covering_erase(std::string_view key, Sequence at) const;
  /// All range erases, by begin. Errors: as get; also when only some of them are left.
  Result<std::vector<RangeErase>> range_erases() const;
  /// The run's properties. Errors: as get.
  Result<RunInfo> info() const;
  /// What was found damaged so far, by loading and by reading. A block that fails again is listed once.
  [[nodiscard]] std::vector<RunFinding> findings() const;
  /// Something of the file had to be healed, or be read past the page cache.
  [[nodiscard]] bool hurt() const { return hurt_.load(std::memory_order_relaxed); }
  /// Something of the file could not be had from parity either.
  [[nodiscard]] bool lost() const { return lost_.load(std::memory_order_relaxed); }
  /// Whoever verified the file found it so.
  void mark_hurt() const { hurt_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] const std::string& path() const { return file_->path(); }

  class Cursor;
  [[nodiscard]] Cursor cursor() const;

  struct VerifyOptions {
    bool direct = true;  ///< past the page cache: what the device holds, not what was written
  };
  struct Verified {
    std::vector<RunFinding> findings;  ///< empty: every byte is as it was written
    RunInfo info;
    std::uint64_t bytes = 0;    ///< read
    std::uint64_t entries = 0;  ///< that verified
    [[nodiscard]] bool ok() const { return findings.empty(); }
    /// Ok, or the first finding.
    [[nodiscard]] Status status() const { return ok() ? Status() : findings.front().status; }
  };
  /// Reads the whole file: every checksum, the order, the counts, the content hash, the filter's and the index's word
  /// for each key, both copies of what stands twice, the padding, and the parity. Uses neither cache nor what is
  /// loaded. Errors: only when nothing can be said at all (as get, when no footer is left and the run is not known).
  Result<Verified> verify(const VerifyOptions& options) const;
  Result<Verified> verify() const { return verify(VerifyOptions()); }

 private:
  friend class BlockFetch;
  RunReader(std::unique_ptr<File> file, const RunPlace& place, std::shared_ptr<BlockCache> cache,
            std::optional<RunInfo> known);
  Result<const RunContents*> contents() const {
    if (const RunContents* loaded = loaded_.load(std::memory_order_acquire)) return loaded;
    return load();
  }
  Result<const RunContents*> load() const EXCLUDES(mutex_);
  Result<Lookup> find(const RunContents& c, std::string_view key, Sequence at, Hold hold, BlockFetch* fetch) const;
  /// What a block that was read becomes.
  enum class Form : std::uint8_t {
    kLoaded,    ///< a LoadedBlock, which enters the cache
    kContents,  ///< what the file has, unpacked: for one look
  };
  /// For a get that did not find it in the cache.
  static Form form_for_get(const RunContents& c, std::size_t i) {
    return c.cached && c.cached->wants(i) ? Form::kLoaded : Form::kContents;
  }
  /// Data block `i`, read and verified.
  Result<BlockRef> read_block(const RunContents& c, std::size_t i, Form form) const;
  /// The header of `frame`, when it is what the index says.
  Result<BlockHeader> check_frame(const IndexEntry& at, std::string_view frame) const;
  /// The contents of a frame that verified.
  Status unpack(const IndexEntry& at, const BlockHeader& header, std::string_view frame, BlockRef& out) const;
  /// `frame` as a LoadedBlock into `out`. `room`: for what is compressed.
  Status load_frame(const IndexEntry& at, std::string_view frame, BlockRef& room, BlockRef& out) const;
  /// `frame` as what `form` says.
  Result<BlockRef> take_frame(const RunContents& c, std::size_t i, std::string_view frame, Form form) const;
  Result<BlockRef> healed_block(const RunContents& c, std::size_t i, Form form, const Status& why) const
      EXCLUDES(mutex_);
  /// What a block that was read says of a key. False: it ends before (key, at), and the next one may have it.
  Result<bool> find_in_read(const RunContents& c, std::size_t i, const BlockRef& block, Form form, std::string_view key,
                            Sequence at, Hold hold, Lookup& out) const;
  Status lost_block(const RunContents& c, std::size_t i, Status status) const EXCLUDES(mutex_);
  void note(RunFinding finding) const EXCLUDES(mutex_);

  const std::unique_ptr<File> file_;
  const RunPlace place_;
  const std::shared_ptr<BlockCache> cache_;
  const std::optional<RunInfo> known_;
  mutable std::atomic<const RunContents*> loaded_{nullptr};
  mutable std::atomic<bool> hurt_{false};
  mutable std::atomic<bool> lost_{false};
  mutable Mutex mutex_;
  mutable std::unique_ptr<const RunContents> contents_ GUARDED_BY(mutex_);
  /// Read around sectors that the device refused, by how many those were: one is kept only if it lacks fewer than those
  /// before, which readers hold.
  mutable std::vector<std::pair<std::ptrdiff_t, std::unique_ptr<const RunContents>>> partial_ GUARDED_BY(mutex_);
  mutable Status refused_ GUARDED_BY(mutex_);  ///< not ok: the file is not served; reading it again would say the same
  mutable std::vector<RunFinding> findings_ GUARDED_BY(mutex_);
};

/// Blocks that gets lack, of any runs, read at once: get what is wanted with it, `read`, and get again what was unread.
/// One that cannot be had so is read once more by the get itself, which heals it or says what is wrong. One thread; the
/// readers and the keys outlive it.
class BlockFetch {
 public:
  explicit BlockFetch(Storage& storage) : storage_(storage) {}
  void read();

 private:
  friend class RunReader;
  struct Wanted {
    const RunReader* reader;
    const RunContents* contents;
    std::size_t block;
    RunReader::Form form;
  };
  /// A key that a block is wanted for, and what that said when it came; it is not kept itself.
  struct Asked {
    std::size_t wanted;
    std::string_view key;
    Sequence at;
    std::optional<bool> here{};  ///< as find_in_read; nothing: the block was not to be had, or came before it was asked
    RunReader::Lookup found{};
  };
  /// Null: the block is wanted, and not read yet.
  const Asked* ask(const RunReader& reader, const RunContents& contents, std::size_t block, std::string_view key,
                   Sequence at);

  Storage& storage_;
  std::vector<Wanted> wanted_;
  std::vector<Asked> asked_;
  std::size_t read_ = 0;  ///< of `wanted_`, from the first on
};

/// Walks the entries by (key ascending, sequence descending), both ways; range erases are not applied. Starts invalid.
/// A block that cannot be read stops it: `valid` is false, `status` says why, `damaged` which keys are missing, and
/// `step_over` goes on behind.
class RunReader::Cursor {
 public:
  explicit Cursor(const RunReader& reader) : reader_(&reader) {}

  void seek_first();
  void seek_last();
  /// To the first entry with a key >= `key`, of `key` itself the newest version at or below `at`.
  void seek(std::string_view key, Sequence at = kMaxSequence) {
    aim(key, at);
    arrive(key, at);
  }
  /// The same in two steps, so that several cursors wait for memory at once.
  void aim(std::string_view key, Sequence at = kMaxSequence);
  void arrive(std::string_view key, Sequence at = kMaxSequence);
  /// To the newest version of the last key.
  void seek_last_key() {
    seek_last();
    if (valid()) to_newest();
  }
  // On a valid cursor only.
  /// To the newest version of the next key, of the key before.
  void next_key() {
    DARUMA_ASSERT(valid());
    forward_ = true;
    std::size_t i = entry_ + 1;
    while (i < entries_.size() && entries_.same_key(i - 1, i)) ++i;
    if (i == entries_.size()) return leave_key();
    stand_at(i);
  }
  void prev_key() {
    DARUMA_ASSERT(valid());
    to_newest();
    if (valid()) prev();
    if (valid()) to_newest();
  }
  /// To the newest version of its key at or below `at`, from where it stands. False: there is none, and it stays at the
  /// key; or it has met damage.
  bool at_or_below(Sequence at) { return sequence() <= at || older(at); }
  void next() {
    DARUMA_ASSERT(valid());
    forward_ = true;
    stand_at(entry_ + 1);
    if (!valid()) forward_from_here();
  }
  void prev() {
    DARUMA_ASSERT(valid());
    forward_ = false;
    stand_at(entry_ - 1);  // of the first: beyond all
    if (!valid()) backward_from_here();
  }

  [[nodiscard]] bool valid() const { return entry_ < entries_.size(); }
  [[nodiscard]] std::string_view key() const { return {key_.data(), key_bytes_}; }
  [[nodiscard]] Sequence sequence() const { return entries_.sequence(entry_); }
  [[nodiscard]] EntryKind kind() const { return entries_.kind(entry_); }
  /// Valid until the next move.
  [[nodiscard]] std::string_view value() const { return entries_.value(entry_); }
  /// Why it is not valid; ok at either end.
  [[nodiscard]] const Status& status() const { return status_; }
  /// The keys of the block that stopped it; nothing when the run as a whole is not served, or the cursor is valid.
  [[nodiscard]] const std::optional<DamagedKeys>& damaged() const { return damaged_; }
  /// On a cursor that `damaged`: goes on behind the block, the way that it went.
  void step_over();

 private:
  /// Blocks read at once when a walk goes on and on; they do not enter the cache, which such a walk would only empty.
  static constexpr std::uint64_t kReadAheadBytes = 256 << 10;
  /// Of what is not cached: up to there a walk may be one of many short ones, and what it meets enters the cache.
  static constexpr std::uint64_t kShortWalkBytes = 64 << 10;
  /// Cached blocks that the processor fetches before the walk comes to them: a small one is done before the next is
  /// there.
  static constexpr std::size_t kFetchedAhead = 2;
  enum class Arrival : std::uint8_t { kBySeek, kByWalk };
  bool begin();
  void stop(Status status);
  void stop_at_damage(Status status);
  bool open_block(Arrival arrival);
  void stand_at(std::size_t entry) {
    entry_ = entry;
    if (valid()) key_bytes_ = prefix_bytes_ + entries_.copy_rest(entry, key_.data() + prefix_bytes_);
  }
  bool take_ahead();
  void read_ahead(const IndexEntry& at);
  void fetch_ahead(Arrival arrival) const;
  void forward_from_here();
  void backward_from_here();
  void leave_key();
  void to_newest();
  bool older(Sequence at);
  /// The next block begins, or may begin, with an older version of the key that this one ends with.
  [[nodiscard]] bool key_goes_on() const {
    return at_ + 1 < contents_->index.size() && contents_->index.continues(at_ + 1);
  }

  const RunReader* reader_;
  const RunContents* contents_ = nullptr;
  std::size_t at_ = 0;  ///< block
  bool forward_ = true;
  BlockRef block_;       ///< `at_`, while `entries_` has any
  LoadedBlock entries_;  ///< in it
  std::size_t entry_ = 0;
  std::string key_;  ///< where valid, at its beginning; the block's prefix stands in it already
  std::size_t prefix_bytes_ = 0;
  std::size_t key_bytes_ = 0;
  BlockRef room_;
  AlignedBuffer ahead_;
  std::uint64_t ahead_begin_ = 0, ahead_end_ = 0;  ///< in the file
  std::uint64_t ahead_bytes_ = 0;                  ///< to read the next time: more each time
  std::uint64_t walked_bytes_ = 0;                 ///< of blocks read ahead, since the last seek
  Status status_;
  std::optional<DamagedKeys> damaged_;
};

inline RunReader::Cursor RunReader::cursor() const { return Cursor(*this); }

/// What a run file says of itself, for looking at a store without manifests; reads only its end.
struct RunDescription {
  StoreId store;
  RunInfo info;
  std::vector<RunFinding> findings;  ///< a copy that does not verify
};
/// `store`: nullopt when not known yet. Errors: kNotFound, kIoError, kCorruption, kUnsupported.
Result<RunDescription> describe_run(Storage& storage, const std::string& path, const std::optional<StoreId>& store,
                                    std::uint64_t number);

}  // namespace daruma
