// SPDX-License-Identifier: Apache-2.0
//
// Scrubbing: reads every byte that nobody has asked for in a while, and has what is damaged healed while its redundancy
// is still whole. Runs, manifests, the ledger of quarantine with what it keeps, the log as far as it is durable, the
// ring.
//
// What must stay true: what is verified is what the device holds, not a cache (but for the ring, which outlives only
// the process); healing goes the ways that reads take.
#include <algorithm>

#include "base/bytes.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "recovery/quarantine.h"
#include "run/run_reader.h"
#include "snapshot/catalogue.h"
#include "snapshot/retention.h"
#include "snapshot/scrub.h"
#include "wal/segment_check.h"
#include "wal/segments.h"

namespace daruma {
namespace {

/// Why a file was not healed: what it takes is missing, and will be there again.
bool says_nothing_of_the_file(const Status& why) { return is_of_the_process(why) || why.is(Code::kNoSpace); }

}  // namespace

/// All that a pass looks at, in its order.
std::vector<ScrubItem> Engine::scrub_items() {
  std::vector<ScrubItem> items;
  MutexLock lock(checkpoint_mutex_);
  std::set<std::uint64_t> manifests;
  std::set<std::uint64_t> runs;
  for (const Manifest* generation : kept_generations()) {
    manifests.insert(generation->number);
    for (const PlacedRun& placed : generation->runs) runs.insert(placed.info.number);
  }
  items.reserve(manifests.size() + on_disk_.size());
  for (const std::uint64_t number : manifests) items.push_back({ScrubRoom::kManifests, number, 2 * kSectorBytes});
  for (const auto& [number, info] : on_disk_) {
    if (runs.contains(number)) items.push_back({ScrubRoom::kRuns, number, info.file_bytes});
  }
  if (wal_) {
    for (const LiveSegment& segment : wal_->live_segments()) {
      items.push_back({ScrubRoom::kSegments, segment.number, segment.disk_bytes()});
    }
  }
  items.push_back({ScrubRoom::kQuarantine, 0, 2 * kSectorBytes});
  return items;
}

std::int64_t Engine::oldest_file_ns() {
  std::int64_t oldest = clock_.wall_ns();
  MutexLock lock(checkpoint_mutex_);
  for (const auto& [number, info] : on_disk_) {
    if (info.created_wall_ns > 0) oldest = std::min(oldest, info.created_wall_ns);
  }
  return oldest;
}

/// One file, when its time has come. True when there was one. What cannot be done with it, or noted, keeps no other
/// from being looked at.
Result<bool> Engine::scrub_one() {
  constexpr std::int64_t kLookNs = 1'000'000'000;
  if (options_.scrub_days == 0 || looks_only() || clock_.monotonic_ns() < scrub_look_ns_) return false;
  scrub_look_ns_ = clock_.monotonic_ns() + kLookNs;
  const std::string directory = directory_ + "/recoveries";
  if (!scrub_) scrub_ = read_scrub_position(*storage_, directory, store_id_);
  if (!scrub_) scrub_ = ScrubPosition{.began_wall_ns = oldest_file_ns()};
  const std::int64_t now = clock_.wall_ns();
  scrub_->began_wall_ns = std::min(scrub_->began_wall_ns, now);  // the clock was set back
  const std::vector<ScrubItem> items = scrub_items();
  const ScrubItem* item = next_scrub_item(items, *scrub_);
  if (item && now < scrub_due_ns(items, *item, *scrub_, options_.scrub_days)) return false;
  ScrubPosition next = *scrub_;
  Status scrubbed;
  if (item) {
    ScrubResult found;
    scrubbed = scrub_item(*item, found);
    if (scrubbed.is(Code::kAborted) || scrubbed.is(Code::kOutOfMemory)) return scrubbed;
    add_scrubbed(found);
    next.bytes_done += item->bytes;
    next.room = item->room;
    next.number = item->number + 1;
    scrub_look_ns_ = clock_.monotonic_ns() +
                     static_cast<std::int64_t>(static_cast<double>(found.bytes) * 1e9 / kScrubBytesPerSecond);
  } else {
    next = {.passes = next.passes + 1, .began_wall_ns = now};
    scrub_passes_.fetch_add(1, std::memory_order_relaxed);
    ScrubResult sum;
    {
      MutexLock lock(background_mutex_);
      sum = scrubbed_;
    }
    if (options_.listener && !stopping()) options_.listener->on_scrub(sum);
  }
  scrub_ = next;
  const Status noted = publish(*storage_, directory, std::string(kScrubNote), encode_scrub_position(next, store_id_));
  DARUMA_TRY(scrubbed);
  DARUMA_TRY(noted);
  return item != nullptr;
}

Result<ScrubResult> Engine::scrub(const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  DARUMA_TRY(may_write());
  const std::int64_t began = clock_.monotonic_ns();
  ScrubResult all;
  const std::vector<ScrubItem> items = scrub_items();
  std::uint64_t total = 0;
  for (const ScrubItem& item : items) total += item.bytes;
  std::uint64_t done = 0;
  for (const ScrubItem& item : items) {
    if (progress) progress(done, total);
    MutexLock lock(compaction_mutex_);
    DARUMA_TRY(scrub_item(item, all));
    done += item.bytes;
  }
  if (progress) progress(total, total);
  all.duration_ns = clock_.monotonic_ns() - began;
  {
    MutexLock lock(compaction_mutex_);
    const std::uint64_t passes = scrub_ ? scrub_->passes : 0;
    const ScrubPosition next{.passes = passes + 1, .began_wall_ns = clock_.wall_ns()};
    DARUMA_TRY(publish(*storage_, directory_ + "/recoveries", std::string(kScrubNote),
                       encode_scrub_position(next, store_id_)));
    scrub_ = next;
  }
  scrub_passes_.fetch_add(1, std::memory_order_relaxed);
  add_scrubbed(all);
  if (options_.listener && !stopping()) options_.listener->on_scrub(all);
  return all;
}

void Engine::add_scrubbed(const ScrubResult& found) {
  MutexLock lock(background_mutex_);
  scrubbed_.files += found.files;
  scrubbed_.bytes += found.bytes;
  scrubbed_.sectors += found.sectors;
  scrubbed_.damaged += found.damaged;
  scrubbed_.healed += found.healed;
  scrubbed_.lost += found.lost;
}

Status Engine::scrub_item(const ScrubItem& item, ScrubResult& out) {
  const std::uint64_t before = out.bytes;
  ++out.files;
  switch (item.room) {
    case ScrubRoom::kManifests: DARUMA_TRY(scrub_manifest(item.number, out)); break;
    case ScrubRoom::kRuns: DARUMA_TRY(scrub_run(item.number, out)); break;
    case ScrubRoom::kSegments: DARUMA_TRY(scrub_segment(item.number, out)); break;
    case ScrubRoom::kQuarantine: DARUMA_TRY(scrub_quarantine(out)); break;
  }
  out.sectors += (out.bytes - before + kSectorBytes - 1) / kSectorBytes;
  return {};
}

/// A kept generation of which a copy is hurt is written anew, with the same bytes under the same number.
Status Engine::scrub_manifest(std::uint64_t number, ScrubResult& out) {
  MutexLock lock(checkpoint_mutex_);
  const std::vector<const Manifest*> all = kept_generations();
  const auto kept =
      std::find_if(all.begin(), all.end(), [&](const Manifest* generation) { return generation->number == number; });
  if (kept == all.end()) return {};
  if (kept == all.begin()) {
    const Result<ManifestRead> copy = read_manifest_copy(*storage_, directory_, store_id_, ReadFrom::kDevice);
    if (is_of_the_process(copy.status())) return copy.status();
    if (!copy.ok() || !copy->damaged.empty() || copy->manifest != **kept) {
      const bool hurt = !copy.status().is(Code::kNotFound);
      out.damaged += hurt;
      DARUMA_TRY(copy_manifest(*storage_, directory_, **kept));
      out.healed += hurt;
    }
  }
  DARUMA_TRY_ASSIGN(const Generation found,
                    read_generation(*storage_, directory_, number, store_id_, ReadFrom::kDevice));
  out.bytes += found.file_bytes;
  if (found.manifest && found.damaged.empty()) return {};
  ++out.damaged;
  DARUMA_TRY(publish_manifest(*storage_, directory_, **kept));
  ++out.healed;
  return {};
}

Status Engine::scrub_run(std::uint64_t number, ScrubResult& out) {
  std::optional<RunInfo> info;
  bool newest = false;
  {
    MutexLock lock(checkpoint_mutex_);
    const auto kept = on_disk_.find(number);
    if (kept == on_disk_.end()) return {};  // replaced meanwhile
    info = kept->second;
    const auto& runs = generations_.front().runs;
    newest = std::any_of(runs.begin(), runs.end(), [&](const PlacedRun& run) { return run.info.number == number; });
  }
  Status broken;
  Result<std::unique_ptr<RunReader>> reader =
      RunReader::open(*storage_, directory_ + "/" + std::string(kRunDirectory) + "/" + run_name(number), store_id_,
                      number, nullptr, info);
  if (reader.ok()) {
    const Result<RunReader::Verified> verified = (*reader)->verify();
    out.bytes += verified.ok() ? verified->bytes : 0;
    broken = verified.ok() ? verified->status() : verified.status();
  } else {
    broken = reader.status();
  }
  if (broken.ok() || is_of_the_process(broken)) return broken;
  ++out.damaged;
  HealInfo healed;
  const std::int64_t began = clock_.monotonic_ns();
  healed.file = std::string(kRunDirectory) + "/" + run_name(number);
  healed.bytes = info->file_bytes;
  healed.status = heal(*info);
  healed.duration_ns = clock_.monotonic_ns() - began;
  if (says_nothing_of_the_file(healed.status)) {  // the background tries again, whoever comes next
    MutexLock lock(checkpoint_mutex_);
    if (const auto live = live_.find(number); live != live_.end()) live->second->reader->mark_hurt();
    return healed.status;
  }
  if (healed.status.ok()) {
    healed_.fetch_add(1, std::memory_order_relaxed);
    ++out.healed;
  }
  if (options_.listener && !stopping()) options_.listener->on_heal(healed);
  if (healed.status.ok() || !newest) return {};  // an older generation's file goes with it
  const std::uint64_t salvaged = salvaged_.load(std::memory_order_relaxed);
  {
    MutexLock lock(checkpoint_mutex_);
    lost_runs_.insert(number);
  }
  const auto waits = [&] {
    MutexLock lock(checkpoint_mutex_);
    rebuilt_last_ = number - 1;  // its turn
    return lost_runs_.contains(number);
  };
  for (Result<bool> more = true; more.ok() && *more && waits();) {
    more = rebuild_one();
    if (says_nothing_of_the_file(more.status())) return more.status();
  }
  MutexLock lock(checkpoint_mutex_);
  const bool whole = !lost_runs_.contains(number) && !unhealable_runs_.contains(number) &&
                     salvaged_.load(std::memory_order_relaxed) == salvaged;
  ++(whole ? out.healed : out.lost);
  return {};
}

/// Segments are not patched: once both kept snapshots hold what they hold, nothing needs them. The newest, which is
/// being written, becomes one of them first; the ring goes with it.
Status Engine::scrub_segment(std::uint64_t number, ScrubResult& out) {
  bool sound = true;
  bool newest = false;
  {
    MutexLock lock(checkpoint_mutex_);                  // it is not retired meanwhile
    const Sequence durable = wal_->durable_sequence();  // before it is asked which is the newest
    const std::vector<LiveSegment> segments = wal_->live_segments();
    const auto at = std::find_if(segments.begin(), segments.end(),
                                 [&](const LiveSegment& segment) { return segment.number == number; });
    if (at == segments.end()) return {};
    newest = std::next(at) == segments.end();
    const Sequence through = newest ? durable : std::next(at)->start_sequence - 1;
    for (const std::string& file : segment_files(number, at->sides)) {
      DARUMA_TRY_ASSIGN(const SegmentCheck check,
                        check_segment(*storage_, directory_ + "/" + file, store_id_, through));
      out.bytes += check.bytes;
      sound = sound && check.sound;
    }
  }
  if (!sound) {
    ++out.damaged;
    log_hurt_.store(true, std::memory_order_relaxed);  // until there is a checkpoint
  }
  Status renewed;
  if (newest) {
    DARUMA_TRY_ASSIGN(const bool ring_whole, wal_->ring_is_whole());
    out.damaged += !ring_whole;
    if (!ring_whole || !sound) renewed = renew_log();
    out.healed += !ring_whole && renewed.ok();
  }
  if (sound) return renewed;
  DARUMA_TRY(checkpoint());  // also of a log that must go on there: memory alone may hold what it lost
  DARUMA_TRY(renewed);
  const auto stands = [&] {
    const std::vector<LiveSegment> left = wal_->live_segments();
    return std::any_of(left.begin(), left.end(), [&](const LiveSegment& segment) { return segment.number == number; });
  };
  if (stands()) DARUMA_TRY(replace_older());
  out.healed += !stands();  // whoever reconstructs the past heals what he reads
  return {};
}

/// The older of the kept snapshots needs log that the newest does not: the newest, repeated, takes its place. Not while
/// a run is hurt, which may have to be rebuilt from both; and where there is history it would pass into that, and still
/// need it.
Status Engine::replace_older() {
  if (past_limits_.time.count() != 0) return {};
  MutexLock lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  const bool older =
      generations_.size() < kGenerationsKept || generations_.back().sequence < generations_.front().sequence;
  const bool needed =
      !lost_runs_.empty() || !unhealable_runs_.empty() || std::any_of(live_.begin(), live_.end(), [](const auto& run) {
        return run.second->reader->hurt() || run.second->reader->lost();
      });
  if (!older || needed) return {};
  DARUMA_TRY(repeat_generation());
  return release();
}

/// For a moment the new ring and segment stand beside the old ones: where they may not fit, a log that works is kept.
Status Engine::renew_log() {
  const std::uint64_t bytes = options_.wal_copies * (2 * options_.ring_bytes + options_.segment_bytes);
  const Result<std::uint64_t> free = storage_->free_bytes(directory_);
  if (free.ok() && *free < 2 * bytes)
    return {Code::kNoSpace, "the log is hurt, and there is no room to begin another", {.file = directory_ + "/wal"}};
  return wal_->reboot();
}

Status Engine::scrub_quarantine(ScrubResult& out) {
  MutexLock lock(checkpoint_mutex_);
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_, ReadFrom::kDevice);
  for (const QuarantineEntry& entry : quarantine.list()) {
    if (entry.kept != QuarantineEntry::Kept::kBytes) continue;
    out.bytes += entry.bytes;
    if (const Result<std::string> bytes = quarantine.read(entry.id); !bytes.ok()) {
      if (is_of_the_process(bytes.status())) return bytes.status();
      ++out.damaged;
      ++out.lost;
    }
  }
  out.bytes += quarantine.ledger_bytes();
  if (quarantine.damaged_sectors() == 0) return {};
  ++out.damaged;
  DARUMA_TRY(quarantine.rewrite());
  ++out.healed;
  return {};
}

}  // namespace daruma
