# SPDX-License-Identifier: Apache-2.0
#
# Mistakes that a test must notice: mutant(name source test [[text]] [[instead]]), see cmake/DarumaMutants.cmake.

# --- the log's writer
mutant(acknowledge_before_durable wal/wal_writer.cc wal_writer_test
  [[durable_seen_.load(std::memory_order_acquire) < sequence;]]
  [[appended_seen_.load(std::memory_order_acquire) < sequence;]])
mutant(segment_published_unsynced wal/wal_writer_files.cc engine_crash_test
  [[  DARUMA_TRY(each_side(segment.sides, failed, [&](std::size_t side) { return segment.files[side]->sync(); }));
]] [[]])
mutant(unproven_events_not_persisted engine/open_log.cc engine_crash_test
  [[  create.persist = persist;
]] [[]])
mutant(fail_over_forgets_the_unacknowledged wal/wal_writer_files.cc wal_writer_test
  [[records = records_after(durable_, kMaxTailBytes + kMaxEventBytes);]]
  [[records.clear();]])
mutant(failed_rotation_goes_on_in_the_old_segment wal/wal_writer_files.cc log_copies_test:LogCopies.Nothing*
  [[    segment_.acknowledged = predecessor_;
    return status;]] [[    segment_ = std::move(full);
    return status;]])
mutant(failed_frame_is_not_noticed wal/wal_writer_frames.cc wal_writer_test
  [[if (flight.failed != 0) return]] [[if (false) return]])
mutant(watermark_tells_what_is_in_flight wal/wal_writer_frames.cc wal_writer_test
  [[flight.watermark = durable_seen_.load(std::memory_order_acquire);]]
  [[flight.watermark = framed_;]])
mutant(window_ignored wal/wal_writer_frames.cc wal_writer_test
  [[while (!in_flight_.empty() && in_flight_bytes_ + bytes > options_.window_bytes)]]
  [[while (false)]])
mutant(idle_log_tells_nothing wal/wal_writer.cc wal_writer_test
  [[if (told_ >= framed_) return {};]] [[return {};]])
mutant(writers_do_not_wake_an_idle_log engine/background.cc engine_concurrent_test:*AQuietLog*
  [[if (led || durable != pace.durable)]] [[if (led)]])
mutant(rings_removed_before_the_segment_is_there wal/wal_writer.cc engine_crash_test
  [[  DARUMA_TRY(writer->open_segment(start.start_sequence, start.persist, 0));
]]
  [[  DARUMA_TRY(writer->segments_.remove_rings_but(0, tail_name(writer->tail_nonce_)));
  DARUMA_TRY(writer->open_segment(start.start_sequence, start.persist, 0));
]])
mutant(reader_ahead_waits_for_nobody wal/read_ahead.cc read_ahead_test
  [[while (!abandoned_ && !frames_.empty()]] [[while (!frames_.empty()]])
mutant(reader_ahead_takes_all_memory wal/read_ahead.cc read_ahead_test
  [[bytes_ + bytes > kBytesAhead]] [[bytes_ + bytes > (std::size_t{1} << 40)]])
mutant(reader_ahead_hides_its_failure wal/read_ahead.cc read_ahead_test
  [[  if (failure) std::rethrow_exception(failure);
]] [[]])
mutant(segment_retired_too_early wal/segments.cc wal_writer_test
  [[live[i + 1].start_sequence <= sequence]] [[live[i].start_sequence <= sequence]])
mutant(spare_that_is_a_segment_is_reused wal/segments.cc wal_reader_test
  [[if (!lives && spares_]] [[if (spares_]])
mutant(frame_goes_where_zeros_are_under_way wal/wal_writer_frames.cc wal_writer_test:WalWriter.*Zeros*
  [[while (!in_flight_.empty() && in_flight_.back().is_zeros())]] [[while (false)]])
mutant(zeros_go_ahead_of_one_frame wal/wal_writer_frames.cc wal_writer_test:WalWriter.*Zeros*
  [[std::clamp<std::uint64_t>(segment_.offset, kLeastAheadBytes, sizeof zeros_ahead);]] [[bytes;]])

mutant(ring_is_changed_with_events_in_it wal/wal_writer.cc wal_writer_test:WalWriter.*Space*
  [[  if (!pending_.empty()) return {};
  renewing_]] [[  renewing_]])
mutant(small_ring_stays_small wal/wal_writer.cc wal_writer_test:WalWriter.*Space*
  [[return small ? grow() : round(true);]] [[return round(true);]])
mutant(ring_that_nothing_names_stays wal/wal_writer_files.cc wal_writer_test:WalWriter.ARingThat*
  [[    discard_ring();
]] [[]])
mutant(each_append_waits_anew_for_a_stalled_device wal/wal_writer_frames.cc wal_writer_test:WalWriter.*StalledDevice
  [[(patient_ ? slices : silent_.load())]] [[slices]])
mutant(waits_for_a_leader_that_hangs_are_not_shared wal/wal_writer.cc stall_test:StalledLog.HasWritersWaitOnce
  [[  if (silent_ >= kStallSlices || unanswered_ >= 2 * kStallSlices) return stalled();
]] [[  if (unanswered_ >= 2 * kStallSlices) {
    unanswered_ = 0;
    return stalled();
  }
]])

# --- bulk load
mutant(load_acknowledged_with_one_generation engine/jobs.cc engine_bulk_load_test
  [[if (std::any_of(generations_.begin(), generations_.end(), lacks))]]
  [[if (lacks(generations_.front()))]])
mutant(generation_without_a_load_is_kept engine/open_snapshot.cc engine_bulk_load_test
  [[lacks_load(*generation.manifest, generations_.front()))]]
  [[lacks_load(generations_.front(), *generation.manifest))]])
mutant(load_cut_off_is_not_told engine/open_from_runs.cc engine_bulk_load_test
  [[ || is_loaded(*info)]] [[]])
mutant(load_settled_by_a_flush snapshot/catalogue.cc engine_bulk_load_test
  [[job.flush = run->level == 0 && !is_loaded(*run);]] [[job.flush = run->level == 0;]])
mutant(load_rebuilt_from_the_log snapshot/run_rebuild.cc retention_test
  [[if (is_loaded(lost)) return std::nullopt;]] [[]])
mutant(load_covers_an_event engine/bulk_load.cc engine_bulk_load_test
  [[identity.checkpoint_sequence = identity.prev_sequence = job.sequence;]]
  [[identity.checkpoint_sequence = job.sequence;]])
mutant(load_goes_below_what_it_overlaps engine/bulk_load.cc engine_bulk_load_test
  [[alone ? kBottomLevel : 0]] [[alone ? kBottomLevel : kBottomLevel]])
mutant(levels_in_doubt_are_guessed snapshot/catalogue.cc retention_test
  [[    if (older && newer) return false;
]] [[]])

# --- the log in two directories
mutant(copy_that_failed_counts_as_written wal/wal_writer_frames.cc log_copies_test
  [[    at->failed |= side_bit(side);
]] [[    at->failed |= side == 0 ? side_bit(side) : LogSides{0};
]])
mutant(copy_not_looked_at recovery/log_files.cc log_copies_test
  [[if (side == 0 || out_.copy_refused.ok()) DARUMA_TRY]] [[if (side == 0) DARUMA_TRY]])
mutant(copy_named_unsynced wal/segments.cc log_copies_test
  [[  DARUMA_TRY(publish_prepared(storage_, directories_[side], segment_name(segment.number)));
]] [[  const std::string named = directories_[side] + "/" + segment_name(segment.number);
  DARUMA_TRY(side == 0 ? publish_prepared(storage_, directories_[side], segment_name(segment.number))
                       : storage_.rename(named + std::string(kTemporarySuffix), named));
]])
mutant(copy_not_synced wal/wal_writer_files.cc log_copies_test
  [[[&](std::size_t side) { return segment.files[side]->sync(); }]]
  [[[&](std::size_t side) { return side == 0 ? segment.files[side]->sync() : Status(); }]])
mutant(log_that_stood_once_stays engine/checkpoint.cc log_copies_test
  [[wal_->once_through() > snapshot_sequence_.load(std::memory_order_relaxed) ||]] [[]])
mutant(left_out_directory_is_not_tried_again wal/wal_writer.cc log_copies_test
  [[  if (missing == 0) return {};
]] [[  return {};
]])
mutant(full_directory_costs_the_other_its_space wal/wal_writer_files.cc log_copies_test:LogCopies.AFullDevice*
  [[    if (sides != 0) {
      const bool share]] [[    if (full && !std::exchange(asked, true) && yield_space_ && yield_space_()) continue;
    if (sides != 0) {
      const bool share]])
mutant(full_directory_costs_the_other_its_size wal/wal_writer_files.cc wal_writer_test:WalWriter.AFullDirectory*
  [[full && is_short(sides, bytes);]] [[full;]])
mutant(copy_goes_before_the_ballast wal/wal_writer_files.cc wal_writer_test:WalWriter.ACopyIsNotLeftOut*
  [[share = yield_space_();]] [[share = false;]])
mutant(hurt_newest_segment_waits_for_room engine/scrub.cc engine_scrub_test:EngineScrub.WhatAHurtNewest*
  [[  DARUMA_TRY(checkpoint());  // also of]] [[  DARUMA_TRY(renewed);
  DARUMA_TRY(checkpoint());  // also of]])
mutant(generation_given_up_that_a_hurt_run_needs engine/scrub.cc engine_scrub_test:EngineScrub.TheOlderSnapshot*
  [[return run.second->reader->hurt() || run.second->reader->lost();]] [[return run.first == 0;]])
mutant(quiet_log_leaves_a_full_directory wal/wal_writer.cc wal_writer_test:WalWriter.AQuietLog*
  [[if (!stands_in(segment_.sides, side)) continue;]] [[if (side != 0) continue;]])
mutant(missing_ring_is_told_for_ever wal/wal_writer_files.cc wal_writer_test:WalWriter.*ToldUntilTheNext
  [[untidy_before = std::exchange(untidy_, {});]] [[untidy_before = untidy_;]])
mutant(one_device_for_both_costs_the_copy wal/wal_writer_files.cc wal_writer_test:WalWriter.WhereADevice*
  [[full && is_short(sides, bytes);]] [[false;]])
mutant(copied_segment_does_not_say_so wal/wal_writer_files.cc log_copies_test
  [[segment.sides == kBothSides ? kSegmentCopied : 0]] [[0]])
mutant(two_hurt_copies_not_put_together wal/wal_reader.cc log_copies_test
  [[both.state = merge_frames(h_.store, f, both.frame, copy.frame);]] [[both.state = FrameState::kHurt;]])
mutant(log_of_another_store_taken recovery/log_files.cc log_copies_test
  [[decode_segment_header(sector, at, std::nullopt).ok()) refused = true;]]
  [[decode_segment_header(sector, at, std::nullopt).ok()) refused = false;]])
mutant(ring_of_long_ago_believed recovery/log_files.cc log_copies_test
  [[if (newest < told || (newest == told && headed)) continue;]] [[if (newest < 0 * told && headed) continue;]])

# --- frames
mutant(no_parity wal/frame_format.cc wal_reader_test
  [[i < layout.data_sectors; ++i]] [[i < 0; ++i]])
mutant(no_second_header wal/frame_format.cc wal_reader_test
  [[  std::memcpy(frame.data() + layout.trailer_at(), h.data(), h.size());
]] [[]])
mutant(payload_not_verified wal/frame_format.cc wal_reader_test
  [[return checksum_holds(header.payload_checksum,]] [[return true || checksum_holds(header.payload_checksum,]])
mutant(footprint_not_verified wal/frame_format.cc wal_reader_test
  [[return checksum_holds(header.footprint_checksum,]] [[return true || checksum_holds(header.footprint_checksum,]])
mutant(healed_frame_believed_unverified wal/frame_heal.cc wal_reader_test
  [[        if (verifies()) {]] [[        if (true) {]])
mutant(burst_heals_off_by_one_sector wal/frame_heal.cc wal_reader_test
  [[for (std::uint64_t begin = first; begin]] [[for (std::uint64_t begin = first + 1; begin]])
mutant(burst_begins_behind_the_widest_gap wal/frame_heal.cc wal_reader_test:*ABurstHeals*
  [[for (const std::uint64_t first : firsts) {]] [[for (const std::uint64_t first : {firsts.front()}) {]])

# --- the log's reader
mutant(stale_frame_taken wal/wal_reader.cc wal_reader_test
  [[if (found && found->incarnation != h_.incarnation) return Stop::kStaleFrame;]] [[]])
mutant(chain_not_checked wal/wal_reader.cc wal_reader_test
  [[} else if (frame->previous != previous_) {]] [[} else if (false) {]])
mutant(search_skips_every_other_sector wal/wal_reader.cc wal_reader_test
  [[for (std::uint64_t at = bad; at + kSectorBytes <= limit_; at += kSectorBytes)]]
  [[for (std::uint64_t at = bad; at + kSectorBytes <= limit_; at += 2 * kSectorBytes)]])
mutant(second_segment_header_not_read wal/wal_reader.cc wal_reader_test
  [[at < kSegmentFramesAt && at + kSectorBytes <= sectors->limit()]]
  [[at < kSectorBytes && at + kSectorBytes <= sectors->limit()]])
mutant(segment_under_another_name_taken wal/wal_reader.cc wal_reader_test
  [[if (found.ok() && number && found->number != *number) {]] [[if (false) {]])
mutant(torn_frame_called_unreadable wal/wal_reader.cc wal_reader_test
  [[out.unreadable = !parity_replaces(f, missing);]] [[out.unreadable = !missing.empty();]])
mutant(old_ring_ends_the_log wal/wal_reader.cc engine_losses_test:Losses.AnOlderCopy*
  [[if (enough && (enough_.superseded || !whole_frame_next())) {]] [[if (enough) {]])
mutant(unreadable_sector_is_zeros wal/sector_reader.cc wal_reader_test
  [[    unreadable_.insert(begin + done);
]] [[]])

# --- the ring
mutant(ring_does_not_say_that_its_log_began wal/wal_writer.cc engine_losses_test
  [[  ring->begun();
  // Older]] [[  // Older]])
mutant(second_half_not_written wal/tail_ring.cc wal_writer_test
  [[      copy_tail_entry(at(half, head_ + pad), at(halves_[0], head_ + pad), kTailEntryHeaderBytes + record.event.size());
]] [[]])
mutant(second_half_not_read wal/tail_reader.cc wal_reader_test
  [[halves_ = size / half_bytes() >= 2 ? 2 : 1;]] [[halves_ = 1;]])
mutant(ring_forgets_before_its_mark_says_so wal/tail_ring.cc wal_writer_test
  [[  live_ = position;
  write_slot(sequence);]] [[  live_ = position;
  (void)sequence;]])
mutant(head_ignored wal/tail_reader.cc wal_reader_test
  [[if (position < *scan_.head) scan_.whole = false;]] [[]])

# --- recovery
mutant(proof_by_successor_off_by_one recovery/verdict.cc recovery_verdict_test
  [[f.successor_start ? f.successor_start - 1 : 0]] [[f.successor_start]])
mutant(covered_not_asked_first recovery/verdict.cc recovery_verdict_test
  [[if (f.snapshot_sequence >= f.first) {]] [[if (f.snapshot_sequence > f.first) {]])
mutant(healed_from_ring_not_written_anew recovery/log_replay.cc log_replay_test
  [[if (persist_from_ == 0) persist_from_ = record.sequence;]] [[]])
mutant(given_up_numbers_used_again recovery/log_replay.cc log_replay_test
  [[for (const auto& [first, last] : given_up_) out_.last = std::max(out_.last, last);]] [[]])
mutant(missing_newest_segment_not_missed recovery/log_replay.cc log_replay_test
  [[(newest_lost_ || lacks_newest())]] [[newest_lost_]])
mutant(lost_newest_segment_only_missed_where_nothing_ends recovery/log_replay.cc engine_losses_test:Losses.TheNewestSegment*
  [[  if (segment.successor_start == 0) {
    newest_lost_]] [[  if (segment.successor_start == 0 && !ended_) {
    newest_lost_]])
mutant(empty_range_is_lost_as_a_range recovery/log_stretch.cc engine_losses_test:Losses.ALostErase*
  [[if (!range.end.empty() && range.end <= range.begin) {]] [[if (false) {]])
mutant(known_loss_is_lost_again recovery/log_stretch.cc log_replay_test
  [[facts.known_through = known_through(facts.first, relative(segment.number));]] [[facts.known_through = 0;]])
mutant(loss_without_an_end_is_as_new_as_what_follows recovery/log_stretch.cc log_replay_test
  [[  if (judged.lost_end_unknown) ++entry.sequence_hi;
]] [[]])
mutant(lost_newest_segment_is_as_new_as_what_follows recovery/log_stretch.cc log_replay_test
  [[entry.sequence_hi = end_known ? last : last + 1;]] [[(void)end_known, entry.sequence_hi = last;]])
mutant(footprint_ignored recovery/log_stretch.cc log_replay_test
  [[lose_keys(std::move(entry), met.footprint);]] [[lose_keys(std::move(entry), {});]])
mutant(healed_log_not_told recovery/log_replay.cc log_replay_test
  [[    finding.last_sequence = frame.header.last_sequence;
    out_.log_hurt = true;]] [[    finding.last_sequence = frame.header.last_sequence;]])
mutant(killer_never_blamed recovery/log_replay.cc engine_policy_test
  [[if (out_.attempts->deaths(sequence) >= Attempts::kDeathsMax) {]] [[if (false) {]])
mutant(loss_not_in_the_damage_map engine/open_log.cc engine_damage_test
  [[const std::uint64_t id = start.damage.add(entry);]] [[const std::uint64_t id = 0;]])
mutant(older_version_served_for_a_lost_one recovery/damage_map.cc damage_map_test
  [[if (e.sequence_hi > newest_found && concerns(e, keyspace, key)) return &e;]]
  [[if (e.sequence_lo > newest_found && concerns(e, keyspace, key)) return &e;]])
mutant(accepted_damage_forgotten_too_soon recovery/damage_map.cc damage_map_test
  [[return e.accepted && e.sequence_hi <= sequence;]] [[return e.accepted;]])
mutant(ledger_stands_once recovery/quarantine.cc quarantine_test
  [[  both += encode_copy(body, store_, at + both.size());
]] [[]])
mutant(ledger_not_synced recovery/quarantine.cc quarantine_test
  [[  DARUMA_TRY(file.write(at, both));
  DARUMA_TRY(file.sync());
]] [[  DARUMA_TRY(file.write(at, both));
]])

mutant(open_end_settled_by_a_hurt_ring recovery/log_stretch.cc log_replay_test
  [[facts.last == 0 && facts.ring_used && !facts.ring_whole;]] [[false;]])
mutant(short_file_is_an_end recovery/log_replay.cc log_replay_test
  [[    case Stop::kShortFile:
    case Stop::kReadError: return Header::kUnreadable;]]
  [[    case Stop::kShortFile: return Header::kAbsent;
    case Stop::kReadError: return Header::kUnreadable;]])

# --- snapshots
mutant(published_unsynced io/storage.cc engine_crash_test
  [[    DARUMA_TRY(file->write(0, contents));
    DARUMA_TRY(file->sync());
]] [[    DARUMA_TRY(file->write(0, contents));
]])
mutant(published_name_not_synced io/storage.cc engine_crash_test
  [[  DARUMA_TRY(storage.rename(path + std::string(kTemporarySuffix), path));
  return storage.sync_directory(directory);]]
  [[  return storage.rename(path + std::string(kTemporarySuffix), path);]])
mutant(second_manifest_copy_not_read snapshot/manifest.cc snapshot_manifest_test
  [[if (second.ok()) return ManifestRead{std::move(other), first.message()};]] [[]])
mutant(manifest_in_recoveries_not_read snapshot/catalogue.cc engine_losses_test:Losses.TheLossOfAll*
  [[DARUMA_TRY(take_copy(storage, directory, catalogue));]] [[(void)take_copy;]])
mutant(past_before_a_load_is_the_newest snapshot/catalogue.cc engine_losses_test:Losses.ThePast*
  [[newest && newest->number > read->manifest.number && ]] [[newest && ]])
mutant(load_that_may_be_lost_is_not_told engine/open_log.cc engine_losses_test:Losses.ALoadThat*
  [[    if (start.may_lack_load) note_loads(start, events);
]] [[]])
mutant(run_that_was_refused_stays_lost engine/open_snapshot.cc engine_losses_test:Losses.ARunThat*
  [[start.found_again = start.damage.remove(entry.id);]] [[continue;]])
mutant(full_disk_is_a_loss engine/scrub.cc engine_scrub_test:EngineScrub.WhereTheDisk*
  [[return is_of_the_process(why) || why.is(Code::kNoSpace);]] [[return is_of_the_process(why);]])
mutant(scrub_leaves_out_the_newest_segment engine/scrub.cc engine_scrub_test:EngineScrub.AHurtFrame*
  [[newest = std::next(at) == segments.end();]] [[if (std::next(at) == segments.end()) return {};]])
mutant(hurt_segment_is_written_on engine/scrub.cc engine_scrub_test:EngineScrub.AHurtFrame*
  [[if (!ring_whole || !sound)]] [[if (!ring_whole)]])
mutant(hurt_log_is_given_up_without_room_for_another engine/scrub.cc engine_scrub_test:EngineScrub.AHurtFrame*
  [[if (free.ok() && *free]] [[if (false && *free]])
mutant(idle_store_keeps_its_hurt_log engine/scrub.cc engine_scrub_test:EngineScrub.AHurtSegmentOf*
  [[  if (stands()) DARUMA_TRY(replace_older());
]] [[]])
mutant(scrub_stands_still_on_one_item engine/scrub.cc engine_scrub_test:EngineScrub.AnItem*
  [[    if (scrubbed.is(Code::kAborted) || scrubbed.is(Code::kOutOfMemory)) return scrubbed;
]] [[    DARUMA_TRY(scrubbed);
]])
mutant(scrub_waits_for_its_note engine/scrub.cc engine_scrub_test:EngineScrub.ANote*
  [[  DARUMA_TRY(noted);
]] [[  if (!noted.ok()) scrub_.reset();
  DARUMA_TRY(noted);
]])
mutant(scrub_forgets_a_run_that_it_could_not_heal engine/scrub.cc engine_scrub_test:EngineScrub.ARunThatAFullDisk*
  [[live->second->reader->mark_hurt();]] [[(void)live;]])
mutant(scrub_does_not_look_at_the_ring wal/wal_writer.cc engine_scrub_test:EngineScrub.AHurtHalf*
  [[whole = whole && ring.status.ok() && ring.whole && !ring.hurt;]] [[(void)ring;]])
mutant(second_half_of_the_ring_is_not_read wal/tail_reader.cc engine_scrub_test:EngineScrub.AHurtHalf*
  [[other = i + 1; every_half]] [[other = halves_; every_half]])
mutant(cache_is_taken_for_the_device io/readable_bytes.cc engine_scrub_test:EngineScrub.FindsOnTheDevice*
  [[if (from == ReadFrom::kCache)]] [[if (from <= ReadFrom::kDevice)]])
mutant(segments_are_scrubbed_in_the_cache wal/segment_check.cc engine_scrub_test:EngineScrub.FindsOnTheDevice*
  [[.direct = true]] [[.direct = false]])
mutant(runs_named_before_their_names_are_synced engine/checkpoint.cc engine_crash_test
  [[  return storage_->sync_directory(directory_ + "/" + std::string(kRunDirectory));]] [[  return {};]])
mutant(run_of_an_unfinished_job_taken snapshot/catalogue.cc retention_test
  [[if (job.whole() || settled(id, job, sound)) return false;]] [[if (id != 0) return false;]])
mutant(superseded_run_resurrected snapshot/catalogue.cc retention_test
  [[if (old < run->number) superseded_by[old] = run->number;]] [[(void)old;]])
mutant(gap_between_checkpoints_not_seen snapshot/catalogue.cc retention_test
  [[if (before > covered) state.gaps.emplace_back(covered, before);]] [[(void)before;]])
mutant(superseder_removed_before_the_superseded snapshot/retention.cc retention_test
  [[(holds_back ? plan.wait_runs : plan.remove_runs).push_back(run.number);]]
  [[(void)holds_back, plan.remove_runs.push_back(run.number);]])
mutant(tombstone_dropped_above_the_bottom snapshot/merge.cc engine_model_test
  [[source.kind() == EntryKind::kErase && settings_.bottom && !settings_.keep_tombstones]]
  [[source.kind() == EntryKind::kErase]])

# --- runs
mutant(the_last_keys_are_not_looked_up_in_the_filter run/run_verify.cc run_damage_test:*AFilterThatVerifies*
  [[    look_at_the_rest();
  }]] [[  }]])
mutant(reads_anywhere_are_not_told_to_the_storage run/run_reader.cc run_test:*TellsTheStorage*
  [[    file_->expect_reads_anywhere();  // whoever walks says so
]] [[]])
mutant(a_walk_back_tells_of_what_it_has_read run/run_cursor.cc run_test:*TellsTheStorage*
  [[reader_->file_->expect_read(begin - std::min(begin, ahead_bytes_), ahead_bytes_);]]
  [[reader_->file_->expect_read(end, ahead_bytes_);]])
mutant(lost_erase_block_ignored run/run_reader.cc run_damage_test
  [[if (!c.erases_lost.ok() && out.sequence < std::min(at, c.info.max_sequence)) return c.erases_lost;]] [[]])
mutant(block_in_use_is_made_anew run/block_cache.cc block_cache_test
  [[!block_->alone() ||]] [[]])
mutant(full_cache_takes_what_is_asked_for_once run/block_cache.cc run_test:*AValueStays*
  [[return eras <= 1;]] [[return eras <= 250;]])
mutant(restart_that_leads_nowhere_is_passed_over run/run_reader.cc run_damage_test:*RestartsMakeNoSense
  [[if (entries.bad()) return lost_block]] [[if (false) return lost_block]])
mutant(search_of_contents_begins_behind_its_restart run/data_block.cc loaded_block_test
  [[behind == 0 ? 0 : behind - 1]] [[behind == restarts ? behind - 1 : behind]])
mutant(evicted_block_does_not_wait_for_readers run/block_cache.cc block_cache_test
  [[BlockRef::Block* given_up = std::exchange(out.block_, nullptr);]] [[BlockRef::Block* given_up = nullptr;]])
mutant(retired_beside_a_reader_that_entered_then base/epoch.cc epoch_concurrent_test
  [[return e.epoch >= oldest;]] [[return e.epoch > oldest;]])
mutant(range_erase_not_asked run/run_reader.cc run_test
  [[const Sequence erased = c.erases.covering(key, at, out.sequence); erased > out.sequence]]
  [[const Sequence erased = 0; erased > out.sequence]])
mutant(uneven_blocks_are_hardly_padded run/run_builder.cc run_test:*BlocksEndWhereSectorsDo
  [[kPaddingMax = kSectorBytes / 8;]] [[kPaddingMax = kSectorBytes / 24;]])
mutant(padding_is_taken_for_contents run/run_reader.cc run_test:Run.AnswersAsAMapDoes
  [[frame.substr(kBlockHeaderBytes, header.stored_bytes)]] [[frame.substr(kBlockHeaderBytes)]])
mutant(block_out_of_order_is_taken run/loaded_block.cc loaded_block_test
  [[entries.back().tag >> 8, cursor.entry().sequence()))]] [[1, 0))]])
mutant(version_in_the_next_block_not_seen run/run_cursor.cc run_test
  [[if (i < entries_.size() || !key_goes_on()) return false;]] [[return false;]])
mutant(long_walk_fills_the_cache run/run_cursor.cc run_test:Run.AShortWalk*
  [[if (walked_bytes_ > kShortWalkBytes)]] [[if (walked_bytes_ == 0)]])
mutant(source_at_the_same_key_not_asked engine/cursor.cc engine_model_test
  [[if (c == 0) order_[at + 1].ties = true;]] [[]])
mutant(rest_of_a_key_that_its_number_does_not_tell_is_left_out run/loaded_block.cc loaded_block_test
  [[longest - prefix <= 8]] [[longest - prefix <= 9]])
mutant(rests_are_taken_to_be_of_one_length run/loaded_block.cc loaded_block_test
  [[even = shortest == longest;]] [[even = true;]])
mutant(filter_forgets_all_but_its_first_keys run/run_filter.cc run_test
  [[hash = hashes_[i / kPart][i % kPart];]] [[hash = hashes_[0][i % kPart];]])
mutant(key_known_by_its_number_alone run/loaded_block.cc loaded_block_test
  [[return bytes < wanted.size() ? -1 : bytes > wanted.size();]] [[return 0;]])
mutant(healed_sector_believed_unverified parity/parity_reader.cc parity_test
  [[return rebuild(sector, out) && verifies(sector, {out.data(), out.size()}) ? SectorState::kHealed : SectorState::kLost;]]
  [[return rebuild(sector, out) ? SectorState::kHealed : SectorState::kLost;]])
mutant(stripe_takes_the_lost_sector_in parity/parity_reader.cc parity_test
  [[    if (other == sector) continue;
]] [[]])
mutant(stripes_are_fewer_than_3_percent_touch parity/parity_format.cc parity_test:ParityLayout.*
  [[part + 3]] [[part]])
mutant(tiny_runs_are_mirrored parity/parity_format.cc engine_heal_test:EngineHealTiny.*
  [[std::max(kBurstSectors, std::min(]] [[std::max(kBurstSectors - 9, std::min(]])
mutant(layout_told_by_what_is_of_both_tables run/run_bytes.cc run_heal_test:RunHeal.WhatWasWritten*
  [[has_table(0)]] [[has_table(burst->table_sectors - 1)]])
mutant(runs_of_fewer_stripes_do_not_heal run/run_bytes.cc run_heal_test:RunHeal.WhatWasWritten*
  [[mirrored->table_sectors - 1) ? mirrored : burst]] [[mirrored->table_sectors - 1) ? burst : burst]])
mutant(damage_map_not_asked_by_reads engine/read.cc engine_damage_test
  [[if (state.damage && !state.damage->empty()) {]] [[if (false) {]])
mutant(range_erases_of_other_keyspaces engine/write.cc engine_batch_test
  [[later.kind == OpKind::kEraseRange && later.keyspace == op.keyspace]] [[later.kind == OpKind::kEraseRange]])

# --- healing
mutant(bad_block_is_not_healed run/run_reader.cc engine_heal_test:EngineHeal.ABadBlock*
  [[  return healed_block(c, i, form, ref.status());]] [[  return lost_block(c, i, ref.status());]])
mutant(healed_block_leaves_its_file_hurt run/run_reader.cc engine_heal_test:EngineHeal.ABadBlock*
  [[  note({RunFault::kData, why, c.damaged_keys(i), true});
  hurt_.store(true, std::memory_order_relaxed);]] [[  note({RunFault::kData, why, c.damaged_keys(i), true});]])
mutant(heals_from_the_page_cache run/run_bytes.cc run_heal_test:RunHeal.HealsPastThePageCache
  [[file_.read_direct(sector * kSectorBytes, into)]] [[file_.read(sector * kSectorBytes, into)]])
mutant(healed_log_makes_no_checkpoint_due engine/checkpoint.cc engine_start_test:EngineStart.ALog*
  [[memtables_full() || log_hurt_.load(std::memory_order_relaxed) ||]] [[memtables_full() ||]])
mutant(healed_log_is_not_passed_on engine/open_log.cc engine_start_test:EngineStart.ALog*
  [[  log_hurt_.store(log.log_hurt, std::memory_order_relaxed);
]] [[]])

# --- generations
mutant(older_generation_is_not_tried snapshot/catalogue.cc engine_start_test:EngineStart.ANewest*
  [[    if (generation.manifest) return &*generation.manifest;
]] [[    return generation.manifest ? &*generation.manifest : nullptr;
]])
mutant(log_of_the_older_generation_is_released snapshot/retention.cc engine_start_test:EngineStart.ANewest*
  [[plan.keep_log_from = std::min(plan.keep_log_from, manifest->sequence + 1);]]
  [[plan.keep_log_from = input.kept.front()->sequence + 1;]])
mutant(runs_of_the_older_generation_are_removed snapshot/retention.cc engine_start_test:EngineStart.ANewest*
  [[    for (const PlacedRun& run : manifest->runs) needed.insert(run.info.number);]]
  [[    for (const PlacedRun& run : input.kept.front()->runs) needed.insert(run.info.number);]])

# --- losses
mutant(lost_ids_are_given_again engine/open_log.cc engine_losses_test:Losses.TheIdOf*
  [[alone.blocks(kCatalogKeyspace, key, known) && next]] [[false && next]])
mutant(ids_are_given_again_once_their_loss_is_accepted engine/open_log.cc engine_losses_test:Losses.TheIdOf*
  [[    entry.accepted = false;
    alone.add]] [[    alone.add]])
mutant(all_losses_skip_the_same_ids engine/open_log.cc engine_losses_test:Losses.TheIdOf*
  [[next += kIdsOfOneLoss;]] [[next = next_keyspace_ + kIdsOfOneLoss;]])
mutant(nameless_keyspace_is_passed_over engine/open_snapshot.cc engine_losses_test:Losses.AKeyspaceWhose*
  [[if (start.catalogue.newest() || !hurt.empty() ||]] [[if (!hurt.empty() ||]])
mutant(loss_stands_in_one_generation engine/open_log.cc engine_losses_test:Losses.TheLossOfTheNewest*
  [[if (start.damage != before && !generations_.empty()) {]] [[if (false) {]])
mutant(given_up_before_it_is_healed engine/damage.cc engine_losses_test:Losses.WhatCanBe*
  [[if (file.starts_with(kRunDirectory)) {]] [[if (false) {]])
mutant(what_is_left_after_healing_is_not_given_up engine/damage.cc engine_losses_test:Losses.OnlyWhatIsLeft*
  [[if (entry.file == file && !entry.accepted) given_up.push_back(entry);]] [[(void)entry;]])
mutant(keyspace_that_lost_all_is_no_more engine/open_snapshot.cc engine_losses_test:Losses.AKeyspaceThatLostItsName*
  [[start.catalogue.newest() || !is_marker(placed.info)]] [[!is_marker(placed.info)]])
mutant(loss_of_the_log_is_not_found_again recovery/log_replay.cc engine_losses_test:*RefusedOfTheLogOnce*
  [[out_.found_again.push_back(entry.id);]] [[(void)0;]])
mutant(loss_of_the_log_is_found_again_in_part recovery/log_replay.cc engine_losses_test:*RefusedOfTheLogOnce*
  [[entry.sequence_hi <= stretch.last]] [[entry.sequence_lo <= stretch.last]])
mutant(numbers_that_were_filled_count_as_found recovery/log_replay.cc engine_losses_test:*ANewestSegmentThatComesBack*
  [[if (record.event == EventBuilder().bytes()) return;]] [[]])
mutant(names_only_from_the_catalogues_runs engine/open_snapshot.cc engine_losses_test:Losses.ACatalogueThatIsLost*
  [[newest ? newest->catalog : std::nullopt]] [[std::nullopt]])
mutant(manifest_keeps_the_names_of_the_start engine/checkpoint.cc engine_losses_test:Losses.ACatalogueThatIsLost*
  [[next.catalog = catalog_at(*frozen.state->find(kCatalogKeyspace), next.runs);]] [[]])
mutant(lost_catalogue_is_written_anew_without_names engine/rebuild.cc engine_losses_test:Losses.ACatalogueThatIsLost*
  [[for (const auto& [key, version] : *snapshot_catalog_)]] [[for (const auto& [key, version] : Catalog())]])
mutant(waiting_threads_split_their_group wal/wal_writer_frames.cc wal_writer_test:*SeveralFramesAreUnderWay*
  [[(batch.size() > asleep &&]] [[(batch.size() + 1 > asleep &&]])
mutant(frame_that_a_snapshot_has_in_part_is_not_unpacked wal/wal_reader.cc wal_reader_test:*WhatIsKnown*
  [[f.last_sequence <= enough_.known]] [[f.first_sequence <= enough_.known]])
mutant(what_a_snapshot_has_is_unpacked wal/wal_reader.cc wal_reader_test:*WhatIsKnown*
  [[f.has_events() && f.last_sequence <=]] [[false && f.last_sequence <=]])
mutant(what_nobody_waits_for_goes_in_a_frame_of_its_own wal/wal_writer_frames.cc wal_writer_test:*NobodyWaitsForShares*
  [[(asleep != 0 || !gathers_)]] [[true]])
mutant(frame_that_nobody_waits_for_is_written_twice wal/wal_writer_frames.cc wal_writer_test:*NobodyWaitsForIsWrittenOnce
  [[gathers_ ? kSmallFrameBytes / 4 : kSmallFrameBytes]] [[kSmallFrameBytes]])
mutant(log_takes_each_put_at_once engine/background.cc engine_concurrent_test:*NobodyWaitsForShareFrames
  [[      std::this_thread::sleep_for(kGather);
    } else]] [[
    } else]])
mutant(arena_keeps_what_it_was_given memtable/arena.cc memtable_test:Arena.WhatIsNotKept*
  [[  unmap_huge_page(block);
}

void ArenaBlocks::clear]] [[}

void ArenaBlocks::clear]])
mutant(catalogue_run_takes_its_neighbours_names engine/rebuild.cc engine_losses_test:Losses.OfACatalogue*
  [[ || !is_lost(key)) continue;]] [[) continue;]])
mutant(catalogue_of_the_newest_snapshot_goes_with_an_older_one engine/open_log.cc engine_losses_test
  [[with_damage(older->sequence, older->runs, older->catalog)]]
  [[with_damage(older->sequence, older->runs, snapshot_catalog_)]])
mutant(doubtful_catalogue_is_taken_for_whole engine/open_snapshot.cc engine_losses_test
  [[told || (hurt.empty() && !start.damage.touches(kCatalogKeyspace, "", std::nullopt))]] [[true]])
mutant(keyspace_that_came_back_is_dropped_with_its_writes engine/catalog.cc engine_losses_test:Losses.AKeyspaceThatCameBack*
  [[if (!newest.value && holds)]] [[if (false)]])
mutant(event_0_skips_lost_ids engine/open_log.cc engine_losses_test:*NothingDescribesIsAllThatIsLeft*
  [[std::max<Sequence>(last_, 1)]] [[last_]])
mutant(range_erase_answers_for_a_lost_put engine/rebuild.cc engine_losses_test:Losses.ARangeEraseDoesNotDeny*
  [[entry.sequence_hi = hi_of_run(info.max_sequence);]] [[entry.sequence_hi = info.max_sequence;]])
mutant(unreadable_behind_hurt_frames_is_a_tail wal/wal_reader.cc wal_reader_test:*CannotBeReadBehindHurtFrames*
  [[ && scan_.stop != Stop::kReadError]] [[]])
mutant(log_that_cannot_be_begun_is_not_tried_again engine/open.cc limits_test:Limits.*
  [[start.report_told && !is_of_the_process(written)]] [[false]])
mutant(names_of_the_log_unsynced engine/open.cc engine_start_test:*ComesAfterTheyAreDurable
  [[Status synced = sync_log(0);]] [[Status synced;]])
mutant(start_that_cannot_write_takes_writes engine/write.cc engine_start_test:LateStart.*
  [[  if (no_writes_.ok()) return {};
  return {Code::kReadOnly, "this start]] [[  return {};
  return {Code::kReadOnly, "this start]])
mutant(what_writes_does_not_finish_the_start engine/write.cc engine_start_test:LateStart.*
  [[Status Engine::sync(Sequence through) {
  DARUMA_TRY(started());
]] [[Status Engine::sync(Sequence through) {
]])
mutant(report_where_no_log_was_made engine/open.cc engine_start_test:EngineStart.AStoreThatNever*
  [[if (wal_ || start.had_log || !start.log.segments.empty()) write_report(start);]] [[write_report(start);]])
mutant(cut_run_that_cannot_be_read_is_not_refused engine/open_snapshot.cc engine_policy_test:EnginePolicy.ARunThatEnds*
  [[cut.verdict != "healed" &&]] [[cut.verdict == "corrupt" &&]])
mutant(run_that_is_cut_is_not_told engine/open_snapshot.cc engine_policy_test:EnginePolicy.ARunThatEnds*
  [[there->second < placed.info.file_bytes]] [[false]])
mutant(runs_of_dropped_keyspaces_are_named engine/open_snapshot.cc engine_start_test:EngineStart.ADropped*
  [[  std::erase_if(start.runs, [&](const PlacedRun& run) { return !known.find(run.info.keyspace); });  // dropped
]] [[  (void)known;
]])

# --- rebuilding
mutant(one_lost_run_keeps_others_waiting engine/rebuild.cc engine_generations_test:EngineRebuild.OneThatFails*
  [[lost_runs_.upper_bound(rebuilt_last_)]] [[lost_runs_.begin()]])
mutant(rebuilt_from_a_log_that_lacks_an_event engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[      if (!whole) continue;
]] [[]])
mutant(rebuilt_outside_its_seat engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[  identity.job_id = info.job_id;]] [[  identity.job_id = identity.number;]])
mutant(rebuilt_run_supersedes_nothing engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[  job.supersedes = supersedes_for({info}, on_disk);
]] [[]])
mutant(outputs_are_not_read_back engine/jobs.cc engine_generations_test:EngineRebuild.*
  [[  DARUMA_TRY(verified.status());
]] [[]])
mutant(given_up_without_evidence engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[  if (!job.given_up.empty()) DARUMA_TRY(keep_evidence(job));
]] [[]])
mutant(given_up_keys_are_not_in_the_manifest engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[  damage.encode(next.damage);
]] [[]])
mutant(given_up_keys_are_not_in_the_run engine/rebuild.cc engine_generations_test:EngineRebuild.*
  [[  builder->set_lost(std::move(lost));
]] [[]])
mutant(gaps_end_with_a_compaction engine/compact.cc engine_generations_test:EngineRebuild.*
  [[    builder->set_lost(take_gaps_below(job.lost, last ? nullptr : &end));
]] [[]])

# --- compaction
mutant(tombstones_are_kept_for_ever engine/compact.cc engine_test:Engine.ACompaction*
  [[job.keep_tombstones = keeps_tombstones(damage.get());]] [[job.keep_tombstones = true;]])
mutant(tombstones_are_dropped_beside_damage engine/compact.cc engine_generations_test:EngineRebuild.*
  [[job.keep_tombstones = keeps_tombstones(damage.get());]] [[job.keep_tombstones = false;]])

# --- what a cut-off job left
mutant(unnamed_runs_stay_after_a_loss engine/open_tidy.cc engine_start_test:EngineStart.WhatACutOff*
  [[  if (!start.report.clean() && start.no_generation) return {};]] [[  if (!start.report.clean()) return {};]])
mutant(unnamed_runs_go_without_a_trace engine/open_log.cc engine_start_test:EngineStart.WhatACutOff*
  [[  if (!start.report.clean() && !start.no_generation) set_unnamed_aside(start);
]] [[]])
mutant(jobs_start_before_all_is_tidy engine/jobs.cc engine_start_test:EngineStart.WhatACutOff*
  [[  if (untidy_) DARUMA_TRY(release());
]] [[]])

# --- what the store does about its own failures
mutant(breaker_counts_failures_that_are_not_alike health/circuit_breaker.cc health_test
  [[of == class_ ? in_a_row_ + 1 : 1]] [[in_a_row_ + 1]])
mutant(breaker_rests_no_longer_each_time health/circuit_breaker.cc health_test
  [[std::clamp(2 * rest_ns_, settings_]] [[std::clamp(rest_ns_, settings_]])
mutant(half_open_breaker_does_not_open_again health/circuit_breaker.cc health_test
  [[state_ == State::kClosed && in_a_row_ < settings_.failures]] [[in_a_row_ < settings_.failures + 9]])
mutant(checkpoints_do_not_rest engine/checkpoint.cc engine_health_test
  [[    DARUMA_TRY(admit(Part::kCheckpoint));
]] [[]])
mutant(half_open_work_is_not_probed engine/background.cc engine_health_test
  [[  if (!decides) return {};]] [[  return {};]])
mutant(debt_makes_no_checkpoint_due engine/checkpoint.cc engine_health_test
  [[replay_bytes_.load(std::memory_order_relaxed) >= checkpoint_at_.load(std::memory_order_relaxed);]] [[false;]])
mutant(debt_holds_no_writer_back engine/checkpoint.cc engine_health_test
  [[replay_bytes_.load(std::memory_order_relaxed) > wait_at_.load(std::memory_order_relaxed);]] [[false;]])
mutant(debt_is_never_paid_off engine/checkpoint.cc engine_health_test
  [[    replay_bytes_.fetch_sub(frozen.replay_bytes, std::memory_order_relaxed);
]] [[]])
mutant(one_lucky_start_is_believed health/recovery_budget.cc health_test
  [[return worse ? seen : before + (seen - before) / 4;]] [[return worse || true ? seen : before;]])
mutant(log_that_finds_no_room_asks_for_none engine/open_log.cc engine_health_test:*FillsBetween*
  [[  wal_->on_no_space([this] { return yield_space(); });
]] [[]])
mutant(costs_of_starts_are_forgotten engine/jobs.cc engine_health_test
  [[ + costs_text(budget_.costs()) + promoted_;]] [[ + promoted_;]])
mutant(puts_are_taken_on_a_full_device engine/write.cc engine_health_test
  [[  if (batch.puts_ && no_room_.load(std::memory_order_relaxed)) return has_room();
]] [[]])
mutant(erases_are_refused_on_a_full_device engine/write.cc engine_health_test
  [[batch.puts_ && no_room_]] [[no_room_]])
mutant(ballast_is_kept_from_a_start engine/open.cc engine_health_test
  [[written.is(Code::kNoSpace) && give_up_ballast().ok()]] [[false]])
mutant(full_device_is_asked_for_a_second_log wal/wal_writer.cc engine_health_test:EngineHealth.AFullDevice*
  [[      if (free.ok() && *free < 2 * options_.copies * (kMinTailBytes + kSmallSegmentBytes)) return {};
]] [[]])
mutant(ballast_is_never_taken_again engine/supervise.cc engine_health_test
  [[          ballast_ = false;
]] [[]])
mutant(escalation_is_told_each_round engine/supervise.cc engine_health_test
  [[    if (!escalated_.contains(key_of(trouble.failure, trouble.component))) handle(trouble);]] [[    handle(trouble);]])
mutant(escalation_is_told_once_for_ever engine/supervise.cc engine_health_test
  [[    if (goes_on) {]] [[    if (goes_on || true) {]])
mutant(steps_are_not_verified recovery/playbook.cc engine_health_test
  [[if (status.ok() && step.verify)]] [[if (false)]])
mutant(incidents_are_not_kept engine/supervise.cc engine_health_test
  [[history_.keep(now);]] [[(void)now;]])
mutant(end_of_an_escalation_is_not_kept engine/supervise.cc metrics_test
  [[    history_.keep(incident);
]] [[]])
mutant(what_is_over_is_handled_all_the_same engine/supervise.cc metrics_test
  [[if (!by_hand && is_over(trouble))]] [[if (false)]])
mutant(incidents_count_again_at_each_start recovery/history.cc metrics_test
  [[    if (entry.name <= incident_file(past.history.last_incident)) continue;
]] [[]])
mutant(sums_begin_anew_with_each_start recovery/history.cc metrics_test
  [[    past.history = report->history;
]] [[]])
mutant(quiet_store_falls_silent engine/live_view.cc metrics_test
  [[hash == published_.hash && now - published_.at_ns < kPublishQuietNs]] [[hash == published_.hash]])
mutant(json_is_nested_without_end base/json_reader.cc metrics_test
  [[if (depth == kJsonDepthMax)]] [[if (false)]])
mutant(reboots_are_not_counted engine/components.cc engine_health_test
  [[if (!reboots->take(now_ns))]] [[if (reboots->take(now_ns); false)]])
mutant(worker_that_stays_dead_is_forgotten engine/supervise.cc engine_reboot_concurrent_test:*UntilItIs
  [[    all = broken_;]] [[    all.swap(broken_);]])
mutant(worker_without_a_thread_counts_as_running engine/background.cc engine_reboot_concurrent_test:*WithoutAThread*
  [[  if (worker.missing) worker.ended = true;
]] [[]])
mutant(worker_without_a_thread_is_forgotten engine/supervise.cc engine_reboot_concurrent_test:*WithoutAThread*
  [[  begin_missing();
]] [[]])
mutant(short_memory_ends_a_worker engine/background.cc allocation_test:WorkerShortOfMemory.*
  [[or_out_of_memory(work).ok() || stopping();]] [[work().ok() || stopping();]])
mutant(output_that_does_not_read_back_bars_the_inputs engine/compact.cc faults_test:Faults.RunsOfWhich*
  [[if (input->reader->lost()) hurt_runs_]] [[hurt_runs_]])
mutant(healed_run_is_not_compacted engine/heal.cc faults_test:Faults.ARunThatReadsAgain*
  [[  hurt_runs_.erase(hurt.number);
]] [[]])
mutant(run_that_is_not_healed_keeps_others_waiting engine/heal.cc engine_heal_test:EngineHeal.ARunThatCannot*
  [[    if (first.ok()) first = info.status;
]] [[    return info.status;
]])
mutant(rebooted_keyspace_loses_its_log engine/reboot.cc engine_health_test
  [[if (const Sequence after = snapshot_sequence_; after < last)]] [[if (const Sequence after = last; after < last)]])
mutant(what_the_log_lacks_is_dropped engine/reboot.cc engine_health_test
  [[    if (!whole)]] [[    if (false)]])
mutant(keyspace_with_a_loss_is_never_rebooted engine/reboot.cc engine_health_test:EngineHealth.AKeyspaceIs*
  [[  if (!done.is(Code::kDataLoss)) return done;]] [[  if (!done.ok()) return done;]])
mutant(rebooted_log_forgets_what_is_pending wal/wal_writer.cc engine_health_test
  [[        if (pending_.empty()) break;
      }
      DARUMA_TRY(round(true));]] [[        pending_.clear();
        break;
      }]])

# --- bulkheads
mutant(limit_of_operations_ignored engine/bulkhead.cc bulkhead_test
  [[    if (limit != 0 && now >= limit) {]] [[    if (false) {]])
mutant(place_counted_in_two_steps engine/bulkhead.cc bulkhead_concurrent_test:BulkheadPlaces.*
  [[    if (in_progress_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;]]
  [[    in_progress_.fetch_add(1, std::memory_order_relaxed);
    return true;]])
mutant(only_the_first_keyspace_of_a_batch_is_asked engine/bulkhead.cc bulkhead_test:Bulkheads.ABatch*
  [[      if (out.held.back().place.refused()) return]] [[      if (out.held.front().place.refused()) return]])
mutant(full_share_holds_nobody_back engine/bulkhead.cc bulkhead_concurrent_test:*AFullShare*
  [[        if (in && share_filled(*in, 4)) full = in;
]] [[]])
mutant(share_makes_no_checkpoint_due engine/checkpoint.cc bulkhead_test:Bulkheads.ACheckpoint*
  [[  return shares_filling() || memtables_full()]] [[  return memtables_full()]])
mutant(who_has_a_share_waits_for_others engine/bulkhead.cc bulkhead_test:Bulkheads.WhoHas*
  [[    out.own_memory = !batch.keyspaces_.empty();]] [[    out.own_memory = false;]])
mutant(one_keyspace_fills_the_ring engine/bulkhead.cc bulkhead_test:Bulkheads.WhoFills*
  [[    for (; through != 0;]] [[    for (; false;]])
mutant(level_that_holds_runs_is_jumped_over snapshot/compaction_picker.cc compaction_picker_test
  [[if (!at[level].empty()) return level;]] [[if (false) return level;]])
mutant(compaction_of_all_takes_what_has_not_changed snapshot/compaction_picker.cc compaction_picker_test
  [[(there || may_move(first)) && !gives_back]] [[may_move(first) && !gives_back]])
mutant(tombstones_at_the_bottom_stay engine/compact.cc engine_test:Engine.ACompactionFrees*
  [[run.tombstones + run.erases > 0 && !keeps]] [[run.erases > 0 && !keeps]])
mutant(run_that_reaches_far_ends_its_stretch snapshot/compaction_picker.cc compaction_picker_test
  [[end = std::max<std::string_view>(end, run->info.largest_key);]] [[end = run->info.largest_key;]])
mutant(damaged_stretch_stops_a_compaction engine/compact.cc engine_heal_test:EngineHealCompaction.*
  [[!done.is(Code::kCorruption) && !done.is(Code::kDataLoss)]] [[true]])
mutant(compaction_of_all_writes_anew_what_damage_keeps engine/compact.cc engine_heal_test:EngineHealCompaction.*
  [[run.erases > 0 && !keeps_tombstones(damage.get())]] [[run.erases > 0]])
mutant(accepted_gaps_stay_at_the_bottom engine/compact.cc engine_heal_test:EngineHealCompaction.*
  [[return !blocked(damage.get(), run, gap);]] [[return false;]])
mutant(most_urgent_compaction_always_first snapshot/compaction_picker.cc bulkhead_test:CompactionTurns.*
  [[keyspace - last - 1, score]] [[0, score]])

# --- the past, and what is promoted
mutant(target_is_passed recovery/log_replay.cc history_test
  [[    (void)reach();
  });
  apply(admitted_);]] [[  });
  apply(admitted_);]])
mutant(log_is_taken_over_a_load engine/history.cc history_test
  [[oldest || lacks_load(past_generations_[i + 1], past_generations_[i]) ||]] [[oldest ||]])
mutant(given_up_events_come_back_in_the_past engine/history.cc history_test:History.WhatAStart*
  [[if (given_up_for_good(entry) && entry.sequence_lo]] [[if (false && entry.sequence_lo]])
mutant(history_knows_no_bytes engine/history.cc history_test
  [[next.created_wall_ns > since && history_bytes() <= limits.bytes]] [[next.created_wall_ns > since]])
mutant(history_is_forgotten_at_a_start engine/open_snapshot.cc history_test
  [[if (!options_.history) past_limits_ = history_in(newest->options);]] [[]])
mutant(promoted_options_not_carried engine/jobs.cc engine_promote_test
  [[ + promoted_;]] [[;]])
mutant(promoted_options_beyond_limits engine/open_snapshot.cc engine_promote_test
  [[ || !check_options(promoted).ok()]] [[]])
mutant(failpoint_acts_once_more base/failpoint.cc failpoint_test
  [[if (++set.acted == set.action.times)]] [[if (set.acted++ == set.action.times)]])
# --- the change stream
mutant(stream_tells_what_is_in_flight engine/stream.cc stream_test:Stream.TellsNothing*
  [[now.durable = wal_ ? wal_->durable_sequence() : found_.durable;]]
  [[now.durable = wal_ ? wal_->appended_sequence() : found_.durable;]])
mutant(stream_passes_over_what_is_lost recovery/log_reader.cc stream_test:Stream.ALoss*
  [[    if (frame.first > position_) return false;
]] [[    if (frame.first > position_) position_ = frame.first;
]])
mutant(stream_delivers_what_was_given_up recovery/log_reader.cc stream_test:Stream.OfAPointInTime*
  [[return at != now_.lost.end() && at->first <= position_ ? &*at : nullptr;]] [[return nullptr;]])
mutant(stream_passes_over_what_is_gone recovery/log_reader.cc stream_test:Stream.BehindTheOldest*
  [[    if (!segment) return truncated();
]] [[    if (!segment) {
      position_ = now_.segments.front().start_sequence;
      return {};
    }
]])
mutant(given_up_is_forgotten_while_the_log_has_it engine/checkpoint.cc engine_losses_test:Losses.TheIdOf*
  [[      for (const LiveSegment& segment : wal_->live_segments())
        forgotten]] [[      for (const LiveSegment& segment : std::vector<LiveSegment>())
        forgotten]])
mutant(view_shows_what_its_stream_never_will engine/stream.cc stream_test:Stream.AFollower*
  [[    DARUMA_TRY_ASSIGN(EventStream stream, this->stream(at.sequence() + 1));]]
  [[    DARUMA_TRY_ASSIGN(EventStream stream, this->stream(at.sequence() + 2));]])
mutant(load_is_not_announced engine/bulk_load.cc stream_test:Stream.NoCrash*
  [[    DARUMA_TRY(announce(job));
]] [[]])
mutant(half_told_damage_leaves_the_older_state engine/open_snapshot.cc engine_damaged_start_test:*AtEachPoint*
  [[DARUMA_TRY(finish_telling(start));]] [[]])
mutant(older_state_takes_the_copys_place engine/open_log.cc engine_damaged_start_test:*AtEachPoint*
  [[publish_uncopied(with_damage(]] [[publish_generation(with_damage(]])
mutant(copy_of_a_newer_state_is_passed_over snapshot/catalogue.cc engine_damaged_start_test:*AtEachPoint*
  [[ && !is_half_told(read->manifest, *newest)]] [[]])
mutant(headers_are_read_once recovery/log_files.cc engine_damaged_start_test:*OneRead*
  [[{0, kSectorBytes, 0, kSectorBytes}]] [[{0, kSectorBytes}]])
mutant(gap_is_named_after_what_follows recovery/log_chain.cc engine_damaged_start_test:*AtEachPoint*
  [[lose_unlogged(out_.last + 1, last, whole_log(), why,]] [[lose_unlogged(out_.last + 1, last, relative(segment.number), why,]])
mutant(each_start_that_dies_adds_a_loss recovery/damage_map.cc engine_damaged_start_test:*AtEachPoint*
  [[if (!continues(known, entry)) continue;]] [[continue;]])
mutant(known_gap_hides_a_newer_loss recovery/log_replay.cc log_replay_test:*AGapThatIsKnown*
  [[    out_.last = std::max(out_.last, known_through(out_.last + 1, whole_log()));  // in front of it
]] [[]])
mutant(lost_log_is_named_after_the_last_found recovery/log_chain.cc log_replay_test:*AGapThatIsKnown*
  [[std::max(next_found_ + 1, input_.next_segment) - 1]] [[next_found_]])
mutant(older_state_goes_by_its_sequence_alone snapshot/catalogue.cc snapshot_manifest_test:*IsHalfTold*
  [[newest.previous_number == state.number && ]] [[]])
mutant(older_state_goes_by_its_number_alone snapshot/catalogue.cc snapshot_manifest_test:*IsHalfTold*
  [[newest.previous_hash == manifest_hash(state)]] [[true]])
mutant(log_is_asked_behind_the_device wal/segments.cc stall_test:*LetsEverybodyLook/GivingBackLog
  [[    if (changed && status.ok()) status = storage_.sync_directory(directories_[side]);
]] [[    if (changed && status.ok()) {
      MutexLock held(mutex_);
      status = storage_.sync_directory(directories_[side]);
    }
]])
mutant(name_of_a_lost_log_is_given_anew recovery/log_chain.cc simulation_test:*WhereItOnceDidNot*
  [[  out_.next_segment = std::max(out_.next_segment, lost_newest() + 1);
]] [[]])
mutant(frames_of_numbers_given_anew_are_applied recovery/log_replay.cc log_replay_test:*OfAFrameThatGoesOn*
  [[!anew(record.sequence) && ]] [[]])
mutant(frames_of_numbers_given_anew_are_told_of recovery/log_replay.cc log_replay_test:*GivenAnew*
  [[if (anew(header.first_sequence)) return;]] [[]])
mutant(older_code_may_read_what_it_would_lose wal/wal_writer_files.cc wal_writer_test:*RotatesSeals*
  [[  h.required_features = kSegmentSaysOwnFrom;
]] [[]])
mutant(chain_covers_what_is_known_of_a_header wal/wal_format.cc wal_format_test:*TheChainCovers*
  [[  h.checksum = checksum(sector.substr(0, kSectorChecksumAt), h.store, h.number, 0);
]]
  [[  SegmentHeader known = h;
  encode_segment_header(known, 0);
  h.checksum = known.checksum;
]])

# --- what a frame tells of those before it
mutant(frame_that_is_framed_again_is_told_twice wal/earlier_footprints.cc wal_format_test:Earlier*
  [[while (!kept_.empty() && kept_.back().last >= first)]] [[while (false)]])
mutant(keys_are_told_across_a_hole wal/earlier_footprints.cc wal_format_test:Earlier*
  [[if (!follows || encoded.empty() ||]] [[if (encoded.empty() ||]])
mutant(told_keys_are_not_checked wal/earlier_footprints.cc wal_format_test:Earlier*
  [[if (!checksum_holds(stated,]] [[if (false && !checksum_holds(stated,]])
mutant(keys_of_half_a_loss_are_taken_for_all wal/earlier_footprints.cc wal_format_test:Earlier*
  [[if (told.empty() || first < told.front().first ||]] [[if (told.empty() ||]])
mutant(next_life_is_not_handed_what_was_framed engine/open_log.cc engine_losses_test:Losses.ABurst*
  [[  create.earlier = log.earlier;
]] [[]])
mutant(next_segment_is_not_asked recovery/log_replay.cc engine_losses_test:Losses.ABurst*
  [[  DARUMA_TRY(ask_next(segment, scan));
]] [[]])
mutant(frames_behind_a_tear_are_taken recovery/log_replay.cc log_replay_test:ToldLoss*
  [[if (behind_tear) continue;]] [[]])
mutant(tear_before_a_newest_file_that_is_gone recovery/log_chain.cc log_replay_test:ToldLoss*
  [[lacks_between(segment, *next) : newest_is_gone();]] [[lacks_between(segment, *next) : false;]])
mutant(ring_of_a_file_that_is_gone_tells_of_no_numbers recovery/log_files.cc log_replay_test:ToldLoss*
  [[  if (ring_of_another()) heed(]] [[  if (false) heed(]])
mutant(predecessor_that_is_gone_gave_no_numbers recovery/log_files.cc log_replay_test:ToldLoss*
  [[    heed(std::min(before.number, segment.number), before.own_from);
]] [[]])
mutant(end_in_front_of_a_ring_is_judged_without_it recovery/log_replay.cc log_replay_test:ToldLoss*
  [[if (segment.successor_start == 0 && ring_of_another() && tail_.whole) return {};]] [[]])
mutant(earlier_life_proves_numbers_given_anew recovery/log_replay.cc log_replay_test:ToldLoss*
  [[if (given_anew_from_ != 0) through = std::min(through, given_anew_from_ - 1);]] [[]])
mutant(file_that_is_gone_has_one_behind_it recovery/log_replay.cc log_replay_test:ToldLoss*
  [[next && !ended_ && segment.successor_start]] [[!ended_ && segment.successor_start]])
mutant(predecessor_that_is_gone_is_told_of_without_its_keys recovery/log_chain.cc log_replay_test:ToldLoss*
  [[if (!any_read_ || (own_from != 0 && own_from <= out_.last + 1)) {]] [[if (!any_read_) {]])
mutant(rebuilt_of_numbers_given_anew snapshot/run_rebuild.cc retention_test:RunRebuild*
  [[segments[i].anew_from != 0 ? segments[i].anew_from : kMaxSequence;]] [[kMaxSequence;]])
mutant(life_does_not_say_where_its_numbers_begin wal/wal_writer_files.cc simulation_test:*WhereItOnceDidNot*
  [[bytes, boot_, own_from_};]] [[bytes, boot_, 0};]])
mutant(file_that_is_gone_is_no_predecessor recovery/log_chain.cc log_replay_test:ToldLoss*
  [[  out_.predecessor = {lost_newest(), out_.last, 0, ring_of_another() ? tail_.header.own_from : 0};
]] [[]])
mutant(each_loss_before_a_file_that_is_gone_is_a_tear recovery/log_chain.cc log_replay_test:ToldLoss*
  [[return facts.later_watermark < stretch.first &&]] [[return facts.later_watermark >= 0 &&]])
mutant(keys_are_told_of_numbers_that_may_be_anew recovery/log_chain.cc log_replay_test:ToldLoss*
  [[|| through <= scan.max_watermark;]] [[|| true;]])
mutant(segment_given_up_is_a_predecessor recovery/log_chain.cc log_replay_test:ToldLoss*
  [[return segment.header->start_sequence <= out_.proven;]] [[return segment.header->start_sequence > 0;]])
mutant(predecessor_of_a_segment_given_up_is_forgotten recovery/log_chain.cc log_replay_test:ToldLoss*
  [[      one = segment.header->predecessor;
]] [[]])
mutant(predecessor_is_believed_of_any_segment recovery/log_chain.cc log_replay_test:ToldLoss*
  [[next.header->names_predecessor() && next]] [[next]])
mutant(segment_that_goes_is_a_predecessor recovery/log_chain.cc log_replay_test:ToldLoss*
  [[if (goes) continue;]] [[]])
mutant(empty_segment_is_a_predecessor wal/wal_writer_files.cc wal_writer_test:WalWriter.AnEmpty*
  [[if (segment.header.start_sequence < start) predecessor_]] [[predecessor_]])
mutant(lost_load_is_not_noticed engine/open_log.cc engine_losses_test:Losses.ALoad*
  [[if (start.may_lack_load && range.keyspace == kCatalogKeyspace]] [[if (false && range.keyspace == kCatalogKeyspace]])
mutant(loss_of_no_key_is_found_for_ever recovery/log_stretch.cc log_replay_test:ToldLoss*
  [[if (out_.lost.size() == before)]] [[if (false)]])
