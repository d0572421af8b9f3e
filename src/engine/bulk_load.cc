// SPDX-License-Identifier: Apache-2.0
//
// Bulk load: sorted records become runs without log, memtable or merge. docs/architecture.md, "Bulk load", has the
// rules.
//
// What must stay true: nothing of a load is visible before all of it is durable and read back, nor acknowledged before
// every kept generation has it; its runs cover no event (`is_loaded`); the log names its keyspace before a manifest
// names its runs.
#include <algorithm>
#include <future>
#include <system_error>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "engine/jobs.h"
#include "snapshot/retention.h"

namespace daruma {

struct Engine::BulkLoad {
  std::uint32_t keyspace = 0;
  Sequence sequence = 0;  // of all its records
  Outputs outputs;
};

namespace {

Status check_record(std::string_view key, std::string_view value, const std::string* before) {
  if (key.size() > kMaxKeyBytes || value.size() > kMaxValueBytes)
    return {Code::kInvalidArgument, "a record of a key of " + std::to_string(key.size()) + " and a value of " +
                                        std::to_string(value.size()) + " bytes is over the limits"};
  if (before && key <= *before)
    return {Code::kInvalidArgument,
            "the key '" + std::string(key) + "' comes after '" + *before + "'",
            {},
            "sort the records, and give each key once"};
  return {};
}

/// One piece of work at a time beside the thread that asks for it, or on it where there is to be no other.
class Beside {
 public:
  explicit Beside(bool threads) : threads_(threads) {}
  /// Waits for the work before; its error.
  Status start(const std::function<Status()>& work) {
    DARUMA_TRY(wait());
    if (!threads_) return work();
    try {
      running_ = std::async(std::launch::async, [work] { return or_out_of_memory(work); });
    } catch (const std::system_error&) { return work(); }  // there is no thread to be had
    return {};
  }
  Status wait() { return running_.valid() ? running_.get() : Status(); }

 private:
  const bool threads_;
  std::future<Status> running_;  // destroyed, it waits
};

}  // namespace

Result<Sequence> Engine::bulk_load(Keyspace keyspace, const RecordSource& source) {
  BulkLoad job;
  job.keyspace = keyspace.id();
  DARUMA_TRY(check_batch({}));
  DARUMA_TRY(has_room());
  MutexLock compaction_lock(compaction_mutex_);
  // What an older generation is needed for comes first: at the end they go.
  for (Result<bool> healed = true; *healed;) {
    healed = heal_one();
    DARUMA_TRY(healed.status());
  }
  {
    EpochGuard guard;
    if (job.keyspace == kCatalogKeyspace || !state_.load(std::memory_order_seq_cst)->find(job.keyspace))
      return Status(Code::kNotFound, "keyspace " + std::to_string(job.keyspace) + " does not exist");
  }
  DARUMA_TRY_ASSIGN(job.sequence, write({}, Durability::kProcess));
  DARUMA_TRY(checkpoint());
  Status written = or_out_of_memory([&]() REQUIRES(compaction_mutex_) { return write_loaded(job, source); });
  MutexLock lock(checkpoint_mutex_);
  if (!written.ok()) return give_up(job.outputs, std::move(written));
  DARUMA_TRY(install_loaded(job));
  return job.sequence;
}

Status Engine::write_loaded(BulkLoad& job, const RecordSource& source) {
  const std::string directory = directory_ + "/" + std::string(kRunDirectory);
  RunIdentity identity;
  identity.store = store_id_;
  identity.keyspace = job.keyspace;
  identity.checkpoint_sequence = identity.prev_sequence = job.sequence;
  std::string last;
  std::string_view key;
  std::string_view value;
  DARUMA_TRY_ASSIGN(bool more, source(key, value));
  if (more) DARUMA_TRY(check_record(key, value, nullptr));
  Beside finishing(threads_);
  for (; more; ++identity.job_index) {
    identity.number = next_file_.fetch_add(1, std::memory_order_relaxed);
    if (identity.job_index == 0) identity.job_id = identity.number;
    identity.created_wall_ns = clock_.wall_ns();
    job.outputs.numbers.insert(identity.number);
    DARUMA_TRY_ASSIGN(std::shared_ptr<RunBuilder> builder, RunBuilder::create(*storage_, directory, identity));
    do {
      if (stopping()) return {Code::kAborted, "the store is being abandoned"};
      DARUMA_TRY(builder->add(key, job.sequence, EntryKind::kPut, value));
      last.assign(key);
      DARUMA_TRY_ASSIGN(more, source(key, value));
      if (more) DARUMA_TRY(check_record(key, value, &last));
    } while (more && builder->estimated_bytes() < compaction_.output_run_bytes);
    if (!more) builder->mark_job_last();
    DARUMA_TRY(finishing.start([this, &job, builder] { return add_output(*builder, {}, job.outputs); }));
  }
  DARUMA_TRY(finishing.wait());
  return storage_->sync_directory(directory);
}

/// For streams, which find nothing of its records in the log: an event that changes nothing and names the keyspace. It
/// comes before the manifest, so that no crash leaves a load that nothing told of; streams stop there until `settle`
/// knows what became of it.
Status Engine::announce(const BulkLoad& job) {
  DARUMA_ASSERT(announcements_.load(std::memory_order_relaxed) % 2 == 0);
  EventBuilder event;
  event.erase_range(kCatalogKeyspace, catalog_key(kLoadedKey), catalog_key(job.keyspace));
  unclean_.store(true, std::memory_order_relaxed);
  announcements_.fetch_add(1, std::memory_order_seq_cst);
  Sequence sequence = 0;
  {
    MutexLock lock(write_mutex_);
    DARUMA_TRY(place_unplaced());
    announced_.store(last_ + 1, std::memory_order_seq_cst);
    DARUMA_TRY_ASSIGN(sequence, commit(event.bytes()));
  }
  return wal_->wait_durable(sequence);
}

Status Engine::install_loaded(BulkLoad& job) {
  if (job.outputs.runs.empty()) return {};
  const Status published = or_out_of_memory([&]() REQUIRES(checkpoint_mutex_) -> Status {
    DARUMA_TRY(finish_install());
    {
      MutexLock lock(write_mutex_);
      if (!current_->find(job.keyspace)) return {Code::kNotFound, "the keyspace was dropped"};
    }
    DARUMA_TRY(announce(job));
    Manifest next = next_generation();
    const std::vector<PlacedRun> there = next.runs;
    for (const auto& run : job.outputs.runs) {
      const bool alone = std::none_of(there.begin(), there.end(),
                                      [&](const PlacedRun& other) { return overlaps(other.info, run->info); });
      next.runs.push_back({run->info, alone ? kBottomLevel : 0});
    }
    return publish_generation(std::move(next),
                              [this, keyspace = job.keyspace, runs = job.outputs.runs]() NO_THREAD_SAFETY_ANALYSIS {
                                for (const auto& run : runs) {
                                  on_disk_[run->info.number] = run->info;
                                  live_[run->info.number] = run;
                                }
                                put_into_use({keyspace});
                              });
  });
  if (!published.ok()) return give_up(job.outputs, published);
  DARUMA_TRY(settle());
  return release();
}

}  // namespace daruma
