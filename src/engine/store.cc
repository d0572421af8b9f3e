// SPDX-License-Identifier: Apache-2.0
// The public classes, each a thin handle on the engine.
#include "daruma/store.h"

#include "base/out_of_memory.h"
#include "daruma/metrics.h"
#include "daruma/stream.h"
#include "engine/cursor.h"
#include "engine/engine.h"
#include "event/event.h"
#include "io/posix_storage.h"

namespace daruma {

void Batch::add(Kind kind, Keyspace keyspace, std::string_view key, std::string_view value) {
  const std::size_t value_limit = kind == Kind::kPut ? kMaxValueBytes : kMaxKeyBytes;
  const Status added = or_out_of_memory([&]() -> Status {
    if (key.size() > kMaxKeyBytes || value.size() > value_limit) {
      const bool of_key = key.size() > kMaxKeyBytes;
      refused_ = Status(Code::kInvalidArgument, std::string(of_key               ? "a key"
                                                            : kind == Kind::kPut ? "a value"
                                                                                 : "the end of a range") +
                                                    " of " + std::to_string(of_key ? key.size() : value.size()) +
                                                    " bytes is over the limit of " +
                                                    std::to_string(of_key ? kMaxKeyBytes : value_limit));
      return {};
    }
    if (keyspaces_.empty() || keyspaces_.back() != keyspace.id()) keyspaces_.push_back(keyspace.id());
    append_op(event_, start_, count_, static_cast<OpKind>(kind), keyspace.id(), key, value);
    bytes_ += key.size() + value.size();
    ranges_ = ranges_ || kind == Kind::kEraseRange;
    puts_ = puts_ || kind == Kind::kPut;
    return {};
  });
  if (!added.ok()) incomplete_ = true;
}

Batch::Batch(Batch&& other) noexcept { *this = std::move(other); }

Batch& Batch::operator=(Batch&& other) noexcept {
  if (this == &other) return *this;
  event_ = std::move(other.event_);
  start_ = other.start_;
  count_ = other.count_;
  bytes_ = other.bytes_;
  keyspaces_ = std::move(other.keyspaces_);
  ranges_ = other.ranges_;
  puts_ = other.puts_;
  incomplete_ = other.incomplete_;
  refused_ = std::move(other.refused_);
  other.clear();
  return *this;
}

void Batch::put(Keyspace keyspace, std::string_view key, std::string_view value) {
  add(Kind::kPut, keyspace, key, value);
}

void Batch::erase(Keyspace keyspace, std::string_view key) { add(Kind::kErase, keyspace, key, {}); }

void Batch::erase_range(Keyspace keyspace, std::string_view begin, std::string_view end) {
  add(Kind::kEraseRange, keyspace, begin, end);
}

void Batch::clear() {
  event_.clear();
  keyspaces_.clear();
  count_ = bytes_ = 0;
  ranges_ = puts_ = incomplete_ = false;
  refused_ = Status();
}

Sequence View::sequence() const { return state_->sequence; }

CursorOptions prefix_bounds(std::string_view prefix) {
  CursorOptions options;
  options.lower.assign(prefix);
  options.upper.assign(prefix);
  while (!options.upper.empty() && options.upper.back() == '\xff') options.upper.pop_back();
  if (!options.upper.empty()) ++options.upper.back();
  return options;
}

PinnedValue::PinnedValue(const PinnedValue& other) : pin_(other.pin_), value_(other.value_) {
  if (pin_) pin_->share();
}
PinnedValue::~PinnedValue() {
  if (pin_) pin_->let_go();
}

Cursor::Cursor(std::unique_ptr<CursorState> state) : state_(std::move(state)) {}
Cursor::Cursor(Cursor&&) noexcept = default;
Cursor& Cursor::operator=(Cursor&&) noexcept = default;
Cursor::~Cursor() = default;

namespace {

/// A move that fails for want of memory leaves the cursor invalid, with the reason; the next seek is as good as any.
template <typename Move>
void move(CursorState& state, const Move& how) {
  const Status moved = or_out_of_memory([&]() -> Status {
    how();
    return {};
  });
  if (!moved.ok()) state.fail(moved);
}

}  // namespace

void Cursor::seek_first() {
  move(*state_, [&] { state_->seek_first(); });
}
void Cursor::seek_last() {
  move(*state_, [&] { state_->seek_last(); });
}
void Cursor::seek(std::string_view key) {
  move(*state_, [&] { state_->seek(key); });
}
void Cursor::next() {
  move(*state_, [&] { state_->next(); });
}
void Cursor::prev() {
  move(*state_, [&] { state_->prev(); });
}
bool Cursor::valid() const { return state_->valid(); }
std::string_view Cursor::key() const { return state_->key(); }
std::string_view Cursor::value() const { return state_->value(); }
Status Cursor::status() const { return state_->status(); }

namespace {

Environment real_machine(const Options& options) {
  Environment environment;
  environment.storage = make_posix_storage({.use_io_uring = options.use_io_uring});
  environment.clock = &system_clock();
  environment.seed = entropy_seed();
  return environment;
}

}  // namespace

Result<Store::Opened> Store::open(const std::string& directory, const Options& options) {
  return or_out_of_memory([&] { return Engine::open_store(directory, options, real_machine(options)); });
}

Result<Store::Opened> Store::open_at(const std::string& directory, const RecoveryTarget& target, const Options& options,
                                     const StateCheck& check, IfInvalid if_invalid) {
  return or_out_of_memory(
      [&] { return Engine::open_store_at(directory, options, real_machine(options), target, check, if_invalid); });
}

namespace {

/// A batch of one, in memory that the thread keeps for the next.
template <typename Fill>
Status write_one(Store& store, const WriteOptions& options, const Fill& fill) {
  constexpr std::size_t kKeptBytes = 64 << 10;
  struct Kept {
    Batch batch;
    bool in_use = false;
  };
  thread_local Kept kept;
  if (kept.in_use) {  // by the write that calls back to here
    Batch batch;
    fill(batch);
    return store.write(batch, options).status();
  }
  kept.in_use = true;
  fill(kept.batch);
  Status status = store.write(kept.batch, options).status();
  if (kept.batch.bytes() > kKeptBytes)
    kept.batch = Batch();
  else
    kept.batch.clear();
  kept.in_use = false;
  return status;
}

}  // namespace

Status Store::put(Keyspace keyspace, std::string_view key, std::string_view value, const WriteOptions& options) {
  return write_one(*this, options, [&](Batch& batch) { batch.put(keyspace, key, value); });
}

Status Store::erase(Keyspace keyspace, std::string_view key, const WriteOptions& options) {
  return write_one(*this, options, [&](Batch& batch) { batch.erase(keyspace, key); });
}

Status Store::erase_range(Keyspace keyspace, std::string_view begin, std::string_view end,
                          const WriteOptions& options) {
  Batch batch;
  batch.erase_range(keyspace, begin, end);
  return write(batch, options).status();
}

Result<Sequence> Store::write(const Batch& batch, const WriteOptions& options) {
  return or_out_of_memory([&] { return engine_->write(batch, options.durability); });
}
Result<Sequence> Store::write_async(const Batch& batch) {
  return or_out_of_memory([&] { return engine_->write(batch, std::nullopt); });
}
Status Store::sync(Sequence through) {
  return or_out_of_memory([&] { return engine_->sync(through); });
}

Result<std::string> Store::get(Keyspace keyspace, std::string_view key) const {
  return or_out_of_memory([&] { return engine_->get(keyspace.id(), key, nullptr); });
}
Result<std::string> Store::get(Keyspace keyspace, std::string_view key, const View& view) const {
  return or_out_of_memory([&] { return engine_->get(keyspace.id(), key, &view); });
}

Result<PinnedValue> Store::get_pinned(Keyspace keyspace, std::string_view key) const {
  return or_out_of_memory([&] { return engine_->get_pinned(keyspace.id(), key); });
}
std::vector<Result<std::string>> Store::multi_get(Keyspace keyspace, const std::vector<std::string_view>& keys) const {
  try {
    return engine_->multi_get(keyspace.id(), keys);
  } catch (const std::bad_alloc&) { return std::vector<Result<std::string>>(keys.size(), out_of_memory()); }
}
View Store::view() const { return engine_->view(); }
Result<Cursor> Store::cursor(Keyspace keyspace, const CursorOptions& options) const {
  return or_out_of_memory([&] { return engine_->cursor(keyspace, options); });
}
Result<EventStream> Store::stream(Sequence from) const {
  return or_out_of_memory([&] { return engine_->stream(from); });
}
Result<Store::Followed> Store::follow() {
  return or_out_of_memory([&] { return engine_->follow(); });
}
Result<Keyspace> Store::create_keyspace(std::string_view name) {
  return or_out_of_memory([&] { return engine_->create_keyspace(name); });
}
Result<Keyspace> Store::keyspace(std::string_view name) const {
  return or_out_of_memory([&] { return engine_->keyspace(name); });
}
Status Store::rename_keyspace(Keyspace keyspace, std::string_view name) {
  return or_out_of_memory([&] { return engine_->rename_keyspace(keyspace, name); });
}
Status Store::drop_keyspace(Keyspace keyspace) {
  return or_out_of_memory([&] { return engine_->drop_keyspace(keyspace); });
}
std::vector<KeyspaceInfo> Store::keyspaces() const { return engine_->keyspaces(); }
Result<Sequence> Store::bulk_load(Keyspace keyspace, const RecordSource& source) {
  return or_out_of_memory([&] { return engine_->bulk_load(keyspace, source); });
}
Status Store::checkpoint() {
  return or_out_of_memory([&] { return engine_->checkpoint(); });
}
Status Store::compact(Keyspace keyspace) {
  return or_out_of_memory([&] { return engine_->compact(keyspace); });
}
Status Store::trim() {
  return or_out_of_memory([&] { return engine_->trim(); });
}
Result<ScrubResult> Store::scrub(const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  return or_out_of_memory([&] { return engine_->scrub(progress); });
}
Result<KeyspaceStats> Store::keyspace_stats(Keyspace keyspace) const {
  return or_out_of_memory([&] { return engine_->keyspace_stats(keyspace); });
}
Status Store::set_limits(Keyspace keyspace, const KeyspaceLimits& limits) {
  return or_out_of_memory([&] { return engine_->set_limits(keyspace, limits); });
}
std::vector<DamageInfo> Store::damage() const { return engine_->damage(); }
Status Store::accept_damage(std::uint64_t id) {
  return or_out_of_memory([&] { return engine_->accept_damage(id); });
}
Health Store::health() const { return engine_->health(); }
std::vector<ComponentInfo> Store::components() const { return engine_->components(); }
Metrics Store::metrics() const { return engine_->metrics(); }
Status Store::reboot(std::string_view component) {
  return or_out_of_memory([&] { return engine_->reboot(component); });
}
std::vector<Incident> Store::incidents() const { return engine_->incidents(); }
std::vector<PlaybookInfo> Store::playbooks() const { return engine_->playbooks(); }
Result<Incident> Store::run_playbook(std::string_view failure, std::string_view component) {
  return or_out_of_memory([&] { return engine_->run_playbook(failure, component); });
}
StoreStats Store::stats() const { return engine_->stats(); }

}  // namespace daruma
