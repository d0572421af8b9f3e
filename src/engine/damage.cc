// SPDX-License-Identifier: Apache-2.0
// What is lost, in words, and giving it up.
#include <cctype>

#include "base/status_macros.h"
#include "engine/engine.h"
#include "recovery/quarantine.h"
#include "snapshot/retention.h"

namespace daruma {
namespace {

std::string printable(std::string_view key) {
  constexpr std::size_t kShown = 40;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "'";
  for (const char c : key.substr(0, kShown)) {
    if (std::isprint(static_cast<unsigned char>(c)) && c != '\\' && c != '\'') {
      text += c;
    } else {
      text += "\\x";
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return text + (key.size() > kShown ? "…'" : "'");
}

std::string keys_of(const DamageEntry& entry) {
  switch (entry.keys) {
    case DamageEntry::Keys::kAll: return "all keys";
    case DamageEntry::Keys::kRange:
      return "from " + printable(entry.begin) + (entry.end ? " up to " + printable(*entry.end) : " to the last");
    case DamageEntry::Keys::kHashes: break;
  }
  return std::to_string(entry.hashes.size()) + (entry.hashes.size() == 1 ? " key by hash" : " keys by hash");
}

}  // namespace

std::vector<DamageInfo> Engine::damage() const {
  std::vector<DamageInfo> all;
  EpochGuard guard;
  const State& state = *state_.load(std::memory_order_seq_cst);
  if (!state.damage) return all;
  for (const DamageEntry& entry : state.damage->entries()) {
    DamageInfo info;
    info.id = entry.id;
    info.keyspace = entry.keyspace;
    info.keys = keys_of(entry);
    info.first_sequence = entry.sequence_lo;
    info.last_sequence = entry.sequence_hi;
    info.cause = entry.cause;
    info.file = entry.file;
    info.accepted = entry.accepted;
    all.push_back(std::move(info));
  }
  return all;
}

/// Durable in a manifest before any read answers from what is left.
Status Engine::accept_damage(std::uint64_t id) {
  DARUMA_TRY(may_write());
  MutexLock compaction_lock(compaction_mutex_);
  std::string file;
  if (const std::shared_ptr<const DamageMap> known = damage_now()) {
    for (const DamageEntry& entry : known->entries()) {
      if (entry.id == id) file = entry.file;
    }
  }
  // What can still be had of a run is no loss, and would come back after it was given up.
  if (file.starts_with(kRunDirectory)) {
    Result<bool> healed = true;
    while (healed.ok() && *healed) healed = heal_one();
    DARUMA_TRY(healed.status());
  }
  MutexLock lock(checkpoint_mutex_);
  DARUMA_TRY(settle());
  DamageMap damage;
  {
    MutexLock write_lock(write_mutex_);
    if (current_->damage) damage = *current_->damage;
  }
  std::vector<DamageEntry> given_up;
  for (const DamageEntry& entry : damage.entries()) {
    if (entry.id == id) given_up.push_back(entry);
  }
  if (given_up.empty() && !file.empty()) {  // healed, but for these
    for (const DamageEntry& entry : damage.entries()) {
      if (entry.file == file && !entry.accepted) given_up.push_back(entry);
    }
    if (given_up.empty()) return {};
  }
  if (given_up.empty()) return damage.accept(id);  // there is none
  for (const DamageEntry& entry : given_up) DARUMA_TRY(damage.accept(entry.id));
  Manifest next = next_generation();
  next.damage.clear();
  damage.encode(next.damage);
  DARUMA_TRY(publish_generation(std::move(next),
                                [this, shared = std::make_shared<const DamageMap>(damage)]() NO_THREAD_SAFETY_ANALYSIS {
                                  MutexLock write_lock(write_mutex_);
                                  auto state = std::make_shared<State>(*current_);
                                  state->damage = shared;
                                  publish_state(std::move(state));
                                  take_names_again();  // as the next start would
                                }));
  DARUMA_TRY(finish_install());
  if (damage.empty()) read_only_.store(false, std::memory_order_relaxed);
  Quarantine quarantine(*storage_, directory_ + "/quarantine", store_id_);
  for (const DamageEntry& entry : given_up) {
    for (const QuarantineEntry& kept : quarantine.list()) {
      const bool there = kept.file == entry.file || kept.file.starts_with(entry.file + "/");
      const bool then = entry.sequence_lo <= kept.first_sequence && kept.first_sequence <= entry.sequence_hi;
      if (there && then && kept.resolution == QuarantineEntry::Resolution::kOpen) {
        (void)quarantine.resolve(kept.id, QuarantineEntry::Resolution::kAccepted);  // the manifest is what counts
      }
    }
  }
  return {};
}

}  // namespace daruma
