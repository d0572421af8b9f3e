// SPDX-License-Identifier: Apache-2.0
//
// The change stream: what recovery's reader of the log (log_reader.h) gives, in the words of the public API.
//
// What must stay true: nothing that is not durable comes out, nor a bulk load before it is in force or has failed; a
// view and its stream leave nothing between them.
#include "daruma/stream.h"

#include <algorithm>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "recovery/log_reader.h"

namespace daruma {

class EventStream::State {
 public:
  State(std::shared_ptr<Engine> engine, LogReader reader) : engine_(std::move(engine)), reader_(std::move(reader)) {}

  Result<std::optional<StreamEvent>> next(std::int64_t timeout_ns) {
    DARUMA_TRY_ASSIGN(std::optional<LogEntry> entry, reader_.next());
    if (!entry && timeout_ns > 0 && engine_->wait_for_log(reader_.position(), timeout_ns)) {
      DARUMA_TRY_ASSIGN(entry, reader_.next());
    }
    if (!entry) return std::optional<StreamEvent>();
    return std::optional(Engine::told(*entry));
  }
  [[nodiscard]] Sequence position() const { return reader_.position(); }
  [[nodiscard]] bool live() const { return engine_->wal_ != nullptr; }

 private:
  std::shared_ptr<Engine> engine_;
  LogReader reader_;
};

EventStream::EventStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventStream::EventStream(EventStream&&) noexcept = default;
EventStream& EventStream::operator=(EventStream&&) noexcept = default;
EventStream::~EventStream() = default;

Result<std::optional<StreamEvent>> EventStream::next(std::chrono::nanoseconds timeout) {
  return or_out_of_memory([&] { return state_->next(timeout.count()); });
}
Sequence EventStream::position() const { return state_->position(); }
bool EventStream::live() const { return state_->live(); }

StreamEvent Engine::told(const LogEntry& entry) {
  StreamEvent out;
  out.first_sequence = entry.first;
  out.last_sequence = entry.last;
  out.wall_ns = entry.wall_ns;
  if (entry.lost) {
    out.kind = StreamEvent::Kind::kLost;
    out.cause = *entry.lost;
    return out;
  }
  (void)walk_event(entry.event, [&](const Op& op) {  // decodes: the reader has seen to it
    if (op.keyspace != kCatalogKeyspace) {
      out.ops.push_back({static_cast<StreamOp::Kind>(op.kind), Keyspace(op.keyspace), op.key,
                         op.kind == OpKind::kEraseRange ? op.end : op.value});
      return;
    }
    const std::uint32_t id = catalog_id(op.key);
    if (id == kLoadedKey && op.kind == OpKind::kEraseRange) {
      out.kind = StreamEvent::Kind::kLoaded;
      out.keyspace = Keyspace(catalog_id(op.end));
    } else if (id != kNextIdKey) {
      out.ops.push_back({op.kind == OpKind::kPut ? StreamOp::Kind::kNameKeyspace : StreamOp::Kind::kDropKeyspace,
                         Keyspace(id),
                         op.kind == OpKind::kPut ? op.value : std::string_view(),
                         {}});
    }
  });
  return out;
}

/// What is durable comes first: the segments and losses that are seen after it are then all that it needs.
LogNow Engine::log_now() const {
  LogNow now;
  now.durable = wal_ ? wal_->durable_sequence() : found_.durable;
  if (const Sequence announced = announced_.load(std::memory_order_seq_cst); announced != 0)
    now.durable = std::min(now.durable, announced - 1);
  now.segments = wal_ ? wal_->live_segments() : found_.segments;
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  if (state.damage) now.lost = lost_from_log(*state.damage);
  return now;
}

/// True: there may be more behind `position`. While a bulk load keeps the stream, nothing tells when that is over.
bool Engine::wait_for_log(Sequence position, std::int64_t ns) const {
  constexpr std::int64_t kSliceNs = 1'000'000;
  if (!wal_) return false;
  for (;;) {
    const Sequence announced = announced_.load(std::memory_order_seq_cst);
    if (announced == 0 || announced > position) return wal_->wait_beyond(position - 1, ns);
    if (ns <= 0) return false;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(ns, kSliceNs)));
    ns -= kSliceNs;
  }
}

Result<EventStream> Engine::stream(Sequence from) {
  DARUMA_TRY(started());
  from = std::max<Sequence>(from, 1);
  const Sequence newest = visible_.load(std::memory_order_acquire);
  if (from > newest + 1)
    return Status(Code::kInvalidArgument,
                  "there is no event " + std::to_string(from) + " yet, the newest is " + std::to_string(newest),
                  {.file = directory_, .sequence = newest},
                  "whoever got that far has followed another store, or a later state of this one: take a new view");
  LogReader reader(
      *storage_, directory_, store_id_, [this]() -> Result<LogNow> { return log_now(); }, from);
  DARUMA_TRY(reader.begin());
  return EventStream(std::make_unique<EventStream::State>(shared_from_this(), std::move(reader)));
}

/// Of a load that was announced and is not yet in force when the view is made, neither would tell.
Result<Store::Followed> Engine::follow() {
  DARUMA_TRY(may_write());
  for (;;) {
    const std::uint64_t before = announcements_.load(std::memory_order_seq_cst);
    if (before % 2 != 0) {
      MutexLock lock(checkpoint_mutex_);
      DARUMA_TRY(settle());
      continue;
    }
    View at = view();
    if (announcements_.load(std::memory_order_seq_cst) != before) continue;
    DARUMA_TRY(wal_->wait_durable(at.sequence()));
    DARUMA_TRY_ASSIGN(EventStream stream, this->stream(at.sequence() + 1));
    return Store::Followed{std::move(at), std::move(stream)};
  }
}

}  // namespace daruma
