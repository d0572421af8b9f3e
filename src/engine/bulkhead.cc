// SPDX-License-Identifier: Apache-2.0
#include "engine/bulkhead.h"

#include <algorithm>
#include <chrono>

#include "base/status_macros.h"
#include "engine/engine.h"

namespace daruma {
namespace {

constexpr std::int64_t kHeldBackNs = 10'000'000'000;  // as long as a device may keep its writers waiting
constexpr std::uint64_t kLogPartBytesMin = 64 << 10;  // with less, frames would be mostly padding
constexpr std::uint64_t kShareBytesMin = 256 << 10;   // with less, a checkpoint would be due all the time

/// As install_checkpoint gives it back: what views alone keep is not in it.
std::uint64_t memory_of(const KeyspaceState& keyspace) {
  std::uint64_t bytes = keyspace.active ? keyspace.active->bytes() : 0;
  for (const auto& memtable : keyspace.frozen) bytes += memtable->bytes();
  return bytes;
}

bool share_filled(const KeyspaceState& keyspace, std::uint64_t quarters) {
  const std::uint64_t share = keyspace.bulkhead->limits().memory_bytes;
  return share != 0 && memory_of(keyspace) >= share / 4 * quarters;
}

}  // namespace

// Two stretches: while the older one becomes durable, the newer one takes what comes.
Sequence LogBacklog::over(std::uint64_t limit, Sequence durable) {
  MutexLock lock(mutex_);
  if (older_.last <= durable) older_ = {};
  if (newer_.last <= durable) newer_ = {};
  if (older_.bytes == 0 && newer_.bytes >= limit / 2) older_ = std::exchange(newer_, {});
  return older_.bytes + newer_.bytes < limit ? 0 : older_.last;
}

void LogBacklog::add(Sequence sequence, std::uint64_t bytes) {
  MutexLock lock(mutex_);
  newer_ = {std::max(newer_.last, sequence), newer_.bytes + bytes};
}

/// Exact: no attempt that is refused stands in the way of another.
bool Bulkhead::enter() {
  for (std::uint32_t now = in_progress();;) {
    const std::uint32_t limit = operations_.load(std::memory_order_relaxed);
    if (limit != 0 && now >= limit) {
      refused_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    if (in_progress_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
  }
}

Status too_many_operations(const KeyspaceState& keyspace) {
  return {Code::kBusy,
          "keyspace '" + keyspace.name + "' has as many operations in progress as it may, " +
              std::to_string(keyspace.bulkhead->limits().operations),
          {},
          "try again when one has ended, or raise KeyspaceLimits::operations"};
}

Status share_is_full(const KeyspaceState& keyspace, const Status& checkpoint) {
  return {Code::kBusy,
          "keyspace '" + keyspace.name + "' has filled its share of the memory for writes, " +
              std::to_string(keyspace.bulkhead->limits().memory_bytes) + " bytes" +
              (checkpoint.ok() ? "" : ", and no checkpoint could be made: " + checkpoint.message()),
          checkpoint.where(), "the next checkpoint frees it; or raise KeyspaceLimits::memory_bytes"};
}

Status check_limits(const KeyspaceLimits& limits, const Options& options) {
  if (limits.memory_bytes == 0 ||
      (limits.memory_bytes >= kShareBytesMin && limits.memory_bytes <= options.memtable_bytes))
    return {};
  return {Code::kInvalidArgument, "KeyspaceLimits::memory_bytes is " + std::to_string(limits.memory_bytes) +
                                      ", neither 0 nor " + std::to_string(kShareBytesMin) +
                                      " to Options::memtable_bytes (" + std::to_string(options.memtable_bytes) + ")"};
}

Status Engine::set_limits(Keyspace keyspace, const KeyspaceLimits& limits) {
  DARUMA_TRY(check_limits(limits, options_));
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  const KeyspaceState* in = keyspace.id() == kCatalogKeyspace ? nullptr : state.find(keyspace.id());
  if (!in) return {Code::kNotFound, "the keyspace does not exist"};
  in->bulkhead->set(limits);
  limited_.store(true, std::memory_order_relaxed);
  return {};
}

bool Engine::shares_filling() const {
  if (!limited_.load(std::memory_order_relaxed)) return false;
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  return std::any_of(state.keyspaces.begin(), state.keyspaces.end(),
                     [](const auto& keyspace) { return share_filled(*keyspace, 3); });
}

/// All keyspaces of the batch or none: what is held already goes with `out`.
Status Engine::admit(const Batch& batch, Admission& out) {
  bool full = false;
  {
    EpochGuard guard;
    const State& state = *state_.load(std::memory_order_seq_cst);
    out.own_memory = !batch.keyspaces_.empty();
    for (const std::uint32_t id : batch.keyspaces_) {
      const KeyspaceState* in = state.find(id);
      if (!in || std::any_of(out.held.begin(), out.held.end(),
                             [&](const Admission::Held& held) { return held.bulkhead == in->bulkhead; }))
        continue;  // one that does not exist is told of under the lock
      const KeyspaceLimits limits = in->bulkhead->limits();
      out.own_memory = out.own_memory && limits.memory_bytes != 0;
      if (limits == KeyspaceLimits()) continue;
      full = full || share_filled(*in, 4);
      out.held.emplace_back(in->bulkhead);
      if (out.held.back().place.refused()) return too_many_operations(*in);
    }
  }
  if (full) DARUMA_TRY(wait_for_share(batch));
  return wait_for_log(out);
}

/// Waiting rather than refusing at once: the checkpoint that frees the share has begun when it was three quarters full,
/// and every caller would otherwise have to wait in a loop of its own. How many wait is what `operations` is for.
Status Engine::wait_for_share(const Batch& batch) {
  std::optional<std::int64_t> until;
  for (;;) {
    {
      EpochGuard guard;
      const State& state = *state_.load(std::memory_order_seq_cst);
      const KeyspaceState* full = nullptr;
      for (const std::uint32_t id : batch.keyspaces_) {
        const KeyspaceState* in = state.find(id);
        if (in && share_filled(*in, 4)) full = in;
      }
      if (!full) return {};
      const std::int64_t now = clock_.monotonic_ns();
      if (!until) {
        until = now + kHeldBackNs;
        full->bulkhead->count_held_back();
      }
      if (now >= *until) return share_is_full(*full, components_.last(Part::kCheckpoint));
    }
    if (!threads_) return checkpoint_if(&Engine::shares_filling);  // nobody else makes it
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// A full ring makes whoever comes next wait under the write lock, and all others behind it. So each share of the
/// memory is as large a share of one half of the ring, the keyspaces without one have the other half together, and who
/// is at its limit waits out here.
Status Engine::wait_for_log(const Admission& admission) {
  const auto wait = [this](LogBacklog& backlog, std::uint64_t share, Bulkhead* of) -> Status {
    const double part = static_cast<double>(share) / static_cast<double>(options_.memtable_bytes);
    const auto limit =
        std::max(kLogPartBytesMin, static_cast<std::uint64_t>(part / 2 * static_cast<double>(options_.ring_bytes)));
    Sequence through = backlog.over(limit, wal_->durable_sequence());
    if (through != 0 && of) of->count_held_back();
    for (; through != 0; through = backlog.over(limit, wal_->durable_sequence()))
      DARUMA_TRY(wal_->wait_durable(through));
    return {};
  };
  for (const Admission::Held& held : admission.held) {
    const std::uint64_t share = held.bulkhead->limits().memory_bytes;
    if (share != 0) DARUMA_TRY(wait(held.bulkhead->backlog(), share, held.bulkhead.get()));
  }
  return admission.own_memory ? Status() : wait(common_backlog_, options_.memtable_bytes, nullptr);
}

void Engine::count_logged(const Admission& admission, Sequence sequence, std::uint64_t bytes) {
  for (const Admission::Held& held : admission.held) {
    if (held.bulkhead->has_share()) held.bulkhead->backlog().add(sequence, bytes);
  }
  if (!admission.own_memory) common_backlog_.add(sequence, bytes);
}

void Engine::add_bulkhead(const State& state, const KeyspaceState& in, KeyspaceStats& stats) const {
  const Bulkhead& bulkhead = *in.bulkhead;
  stats.limits = bulkhead.limits();
  stats.operations = bulkhead.in_progress();
  stats.refused = bulkhead.refused();
  stats.held_back = bulkhead.held_back();
  if (state.damage) {
    for (const DamageEntry& entry : state.damage->entries()) {
      if (entry.accepted || entry.keyspace.value_or(in.id) != in.id) continue;
      if (stats.damage++ == 0)
        stats.reads = {Code::kDataLoss,
                       "part of keyspace '" + in.name + "' is lost: " + entry.cause,
                       {.file = entry.file, .sequence = entry.sequence_hi},
                       "see `kvctl damage ls`"};
    }
  }
  if (options_.read_only || read_only_.load(std::memory_order_relaxed) || !no_writes_.ok())
    stats.writes = {Code::kReadOnly, "the store takes no writes"};
  else if (started_.load(std::memory_order_acquire))
    stats.writes = wal_->broken();
  if (stats.writes.ok() && share_filled(in, 4)) stats.writes = share_is_full(in, {});
  if (!bulkhead.full()) return;
  if (stats.reads.ok()) stats.reads = too_many_operations(in);
  if (stats.writes.ok()) stats.writes = too_many_operations(in);
}

}  // namespace daruma
