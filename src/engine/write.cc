// SPDX-License-Identifier: Apache-2.0
// The write path: validate, log, apply, make visible, wait.
#include <array>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "recovery/attempts.h"

namespace daruma {
namespace {

/// Later ranges of a batch win over its earlier puts, though both get one sequence: such a put is written as an erase.
EventBuilder with_later_ranges(std::string_view event) {
  std::vector<Op> ops;
  const Status walked = walk_event(event, [&](const Op& op) { ops.push_back(op); });
  DARUMA_ASSERT(walked.ok());
  EventBuilder out;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    const bool erased = op.kind == OpKind::kPut &&
                        std::any_of(ops.begin() + static_cast<std::ptrdiff_t>(i), ops.end(), [&](const Op& later) {
                          return later.kind == OpKind::kEraseRange && later.keyspace == op.keyspace &&
                                 in_range(op.key, later.key, later.end);
                        });
    switch (op.kind) {
      case OpKind::kPut: erased ? out.erase(op.keyspace, op.key) : out.put(op.keyspace, op.key, op.value); break;
      case OpKind::kErase: out.erase(op.keyspace, op.key); break;
      case OpKind::kEraseRange: out.erase_range(op.keyspace, op.key, op.end); break;
    }
  }
  return out;
}

}  // namespace

Status Engine::may_write() {
  DARUMA_TRY(started());
  if (options_.read_only) return {Code::kReadOnly, "the store was opened read-only", {.file = directory_}};
  if (no_writes_.ok()) return {};
  return {Code::kReadOnly, "this start could not begin a log, so it serves reads only: " + no_writes_.message(),
          no_writes_.where(), "mend that, then open the store again"};
}

Status Engine::check_batch(const Batch& batch) {
  DARUMA_TRY(may_write());
  if (batch.incomplete_) return out_of_memory();
  if (read_only_.load(std::memory_order_relaxed)) {
    return {Code::kReadOnly,
            "the store was opened read-only because acknowledged data is damaged",
            {.file = directory_},
            "see `kvctl damage ls`; accept the loss to write again"};
  }
  if (batch.puts_ && no_room_.load(std::memory_order_relaxed)) return has_room();
  return batch.refused_;
}

Result<Sequence> Engine::write(const Batch& batch, std::optional<Durability> wait) {
  DARUMA_TRY(check_batch(batch));
  EventBuilder rewritten;  // of a batch without operations, so it is
  std::string_view event = rewritten.bytes();
  if (!batch.empty()) event = std::string_view(batch.event_).substr(batch.start_);
  if (batch.ranges_) {
    rewritten = with_later_ranges(event);
    event = rewritten.bytes();
  }
  if (event.size() > kMaxEventBytes) {
    return Status(
        Code::kInvalidArgument,
        "a batch of " + std::to_string(event.size()) + " bytes is over the limit of " + std::to_string(kMaxEventBytes),
        {}, "split it");
  }
  const bool durable = wait == Durability::kPower || wal_->goes_around_ring(event.size());
  Admission admission;
  if (limited_.load(std::memory_order_relaxed)) DARUMA_TRY(admit(batch, admission));
  const auto overfull = admission.own_memory ? &Engine::memtables_beyond_shares : &Engine::memtables_overfull;
  if ((this->*overfull)()) DARUMA_TRY(checkpoint_if(overfull));  // the writer helps
  Sequence sequence = 0;
  {
    // Of a keyspace with limits one writer at a time comes here, and whoever has `next` is: a mutex is given to any of
    // those who wait for it, and a flood of writers would have it nearly always.
    std::optional<MutexLock> turn, next;
    if (limited_.load(std::memory_order_relaxed)) {
      if (admission.held.size() == 1) turn.emplace(admission.held.front().bulkhead->turn());
      next.emplace(next_mutex_);
    }
    MutexLock lock(write_mutex_);
    next.reset();
    DARUMA_TRY(place_unplaced());
    for (const std::uint32_t id : batch.keyspaces_) {
      if (id != kCatalogKeyspace && current_->find(id)) continue;
      return Status(Code::kNotFound,
                    "keyspace " + std::to_string(id) + " does not exist (dropped, or of another store)");
    }
    if (rebooting_ != kCatalogKeyspace) DARUMA_TRY(takes_writes(batch));
    DARUMA_TRY_ASSIGN(sequence, commit(event));
  }
  if (limited_.load(std::memory_order_relaxed)) count_logged(admission, sequence, event.size());
  if (durable) DARUMA_TRY(wal_->wait_durable(sequence));
  return sequence;
}

/// Asked while a keyspace is rebooted.
Status Engine::takes_writes(const Batch& batch) const {
  const auto& named = batch.keyspaces_;
  if (std::find(named.begin(), named.end(), rebooting_) == named.end()) return {};
  return {Code::kUnavailable,
          "keyspace " + std::to_string(rebooting_) + " is being rebooted",
          {.file = directory_},
          "try again: it takes as long as its part of the log has to be read"};
}

Result<Sequence> Engine::commit(std::string_view event) {
  constexpr std::size_t kKeptBytes = 1 << 20;
  DARUMA_ASSERT(!has_unplaced_);
  unplaced_.reserve(event.size());
  DARUMA_TRY(wal_->append(last_ + 1, event));
  ++last_;
  if (Status placed = place(event); !placed.ok()) {
    unplaced_.assign(event);
    has_unplaced_.store(true, std::memory_order_relaxed);
    return placed;
  }
  if (unplaced_.capacity() > kKeptBytes) unplaced_ = std::string();
  return last_;
}

Status Engine::place(std::string_view event) {
  DARUMA_TRY(or_out_of_memory([&]() REQUIRES(write_mutex_) -> Status {
    const WalRecord record{last_, event};
    apply({&record, 1});
    return {};
  }));
  visible_.store(last_, std::memory_order_seq_cst);
  return {};
}

/// Again from its beginning: what of it is in memtables already is replaced by the same, and not visible before all is.
Status Engine::place_unplaced() {
  if (!has_unplaced_.load(std::memory_order_relaxed)) return {};
  DARUMA_TRY(place(unplaced_));
  has_unplaced_.store(false, std::memory_order_relaxed);
  return {};
}

/// Ops are taken some at a time, so that the cache misses of their keys overlap. (The analysis cannot see that
/// `walk_event` calls under the lock that is held here.)
void Engine::apply(std::span<const WalRecord> events, Attempts* at_hand) {
  if (!at_hand && events.size() == 1 && events.front().event.front() == 1) {  // one op: nothing to overlap
    const Status applied = walk_event(
        events.front().event, [&](const Op& op) NO_THREAD_SAFETY_ANALYSIS { apply_op(events.front().sequence, op); });
    DARUMA_ASSERT(applied.ok());
    return;
  }
  struct Next {
    Sequence sequence;
    Op op;
  };
  std::array<Next, Memtable::kPrefetchKeys> next;
  std::size_t n = 0;
  const auto take = [&]() REQUIRES(write_mutex_) {
    const KeyspaceState* first = n > 1 ? current_->find(next[0].op.keyspace) : nullptr;
    if (first && first->active) {
      std::array<std::string_view, Memtable::kPrefetchKeys> keys;
      std::size_t same = 0;
      for (std::size_t i = 0; i < n; ++i) {
        if (next[i].op.keyspace == first->id) keys[same++] = next[i].op.key;
      }
      first->active->prefetch({keys.data(), same});
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (at_hand) {
        at_hand->advance(next[i].sequence);
        if (before_apply_) before_apply_(next[i].sequence);
      }
      apply_op(next[i].sequence, next[i].op);
    }
    n = 0;
  };
  for (const WalRecord& record : events) {
    const Status applied = walk_event(record.event, [&](const Op& op) NO_THREAD_SAFETY_ANALYSIS {
      if (n == next.size()) take();
      next[n++] = {record.sequence, op};
    });
    DARUMA_ASSERT(applied.ok());  // encoded here, or checked whole before replay
  }
  take();
}

void Engine::apply_op(Sequence sequence, const Op& op) {
  if (op.keyspace == kCatalogKeyspace)
    apply_catalog(op.key, op.kind == OpKind::kPut ? std::optional(op.value) : std::nullopt);
  const KeyspaceState* at = current_->find(op.keyspace);
  if (!at) add_nameless_keyspace(op.keyspace);  // a lost event created it; no event follows a drop
  Memtable& memtable = at && at->active ? *at->active : memtable_for(op.keyspace);
  struct Count {  // also of what an op that fails has used: it is given back with the memtable
    std::atomic<std::uint64_t>& total;
    std::atomic<std::uint64_t>& replay;
    const Memtable& memtable;
    const std::uint64_t before = memtable.bytes();
    ~Count() {
      const std::uint64_t more = memtable.bytes() - before;
      total.fetch_add(more, std::memory_order_relaxed);
      replay.store(replay.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    }
  } const count{memtable_bytes_, replay_bytes_, memtable};
  switch (op.kind) {
    case OpKind::kPut: memtable.put(sequence, op.key, op.value); break;
    case OpKind::kErase: memtable.erase(sequence, op.key); break;
    case OpKind::kEraseRange: memtable.erase_range(sequence, op.key, op.end); break;
  }
}

void Engine::publish_state(std::shared_ptr<State> state) {
  std::function<void()> destroy;
  if (current_) {  // all that may fail comes first
    destroy = [old = current_]() mutable { old.reset(); };
    retired_.make_room();
  }
  current_ = std::move(state);
  state_.store(current_.get(), std::memory_order_seq_cst);
  if (destroy) {
    retired_.retire(std::move(destroy));
    retired_.collect();
  }
}

Memtable& Engine::memtable_for(std::uint32_t keyspace) {
  const KeyspaceState* at = current_->find(keyspace);
  DARUMA_ASSERT(at);
  if (at->active) return *at->active;
  auto state = std::make_shared<State>(*current_);
  auto changed = std::make_shared<KeyspaceState>(*at);
  changed->active = std::make_shared<Memtable>(arena_blocks_);
  Memtable& memtable = *changed->active;
  for (auto& k : state->keyspaces) {
    if (k->id == keyspace) k = changed;
  }
  publish_state(std::move(state));
  return memtable;
}

Status Engine::sync(Sequence through) {
  DARUMA_TRY(started());
  if (!wal_) return {};
  return wal_->wait_durable(std::min(through, visible_.load(std::memory_order_acquire)));
}

}  // namespace daruma
