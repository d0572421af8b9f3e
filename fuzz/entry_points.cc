// SPDX-License-Identifier: Apache-2.0
#include "entry_points.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "base/json_reader.h"
#include "base/json_writer.h"
#include "disk.h"
#include "engine/engine.h"
#include "engine/live_view.h"
#include "event/event.h"
#include "event/footprint.h"
#include "io/sim_storage.h"
#include "mend.h"
#include "recovery/attempts.h"
#include "recovery/damage_map.h"
#include "recovery/history.h"
#include "recovery/quarantine.h"
#include "simulation/simulation.h"
#include "snapshot/manifest.h"
#include "snapshot/scrub.h"

namespace daruma::fuzz {

void event_and_footprint(std::string_view input) {
  EventBuilder again;
  Result<Footprint> made = footprint(input);
  const Status status = for_each_op(input, [&](const Op& op) {
    if (op.kind == OpKind::kPut) again.put(op.keyspace, op.key, op.value);
    if (op.kind == OpKind::kErase) again.erase(op.keyspace, op.key);
    if (op.kind == OpKind::kEraseRange) again.erase_range(op.keyspace, op.key, op.end);
    if (op.kind != OpKind::kEraseRange) DARUMA_ASSERT(made.ok() && made->touches(op.keyspace, op.key));
  });
  DARUMA_ASSERT(status.ok() == made.ok());
  if (status.ok()) DARUMA_ASSERT(again.bytes() == input);
  if (Result<Footprint> read = decode_footprint(input); read.ok()) {
    Result<Footprint> twice = decode_footprint(encode_footprint(*read));
    DARUMA_ASSERT(twice.ok() && *twice == *read);
  }
}

void manifest(std::string_view input) {
  if (Result<ManifestRead> read = decode_manifest(input, 1, std::nullopt); read.ok()) {
    DARUMA_ASSERT(check_manifest(read->manifest).ok());
    Result<ManifestRead> again = decode_manifest(encode_manifest(read->manifest), 1, std::nullopt);
    DARUMA_ASSERT(again.ok() && again->manifest == read->manifest && again->damaged.empty());
  }
}

void damage_map(std::string_view input) {
  if (Result<DamageMap> map = DamageMap::decode(input); map.ok()) {
    std::string once, twice;
    map->encode(once);
    Result<DamageMap> again = DamageMap::decode(once);
    DARUMA_ASSERT(again.ok());
    again->encode(twice);
    DARUMA_ASSERT(once == twice);
  }
}

void quarantine_ledger(std::string_view input) {
  SimStorage disk;
  put_file(disk, "s/quarantine/ledger", input);
  const std::uint64_t before = disk.fingerprint();
  const std::size_t known = Quarantine(disk, "s/quarantine", kStore).list().size();
  DARUMA_ASSERT(disk.fingerprint() == before);
  QuarantineEntry what;
  what.file = "wal/x";
  const QuarantineEntry entry = Quarantine(disk, "s/quarantine", kStore).put(what, "bytes");
  const Quarantine again(disk, "s/quarantine", kStore);
  DARUMA_ASSERT(again.find(entry.id) != nullptr && again.list().size() >= known);
}

void attempts_note(std::string_view input) {
  SimStorage disk;
  put_file(disk, "s/recoveries/attempts", input);
  {
    Attempts attempts(disk, "s/recoveries", kStore, 1);
    static_cast<void>(attempts.deaths(1));
    DARUMA_ASSERT(attempts.culprits().size() <= Attempts::kMaxCulprits + 1);
    attempts.begin();
    attempts.advance(1);
    attempts.rest();
    attempts.finish();
  }
  const Attempts again(disk, "s/recoveries", kStore, 1);
  DARUMA_ASSERT(again.last_error().ok() && again.attempt() == 1 && again.culprits().empty());
}

namespace {

void write(JsonWriter& out, const JsonValue& value) {
  switch (value.kind()) {
    case JsonValue::Kind::kNull: out.null(); break;
    case JsonValue::Kind::kBool: out.value(value.boolean()); break;
    case JsonValue::Kind::kNumber: out.document(value.text()); break;
    case JsonValue::Kind::kString: out.value(value.text()); break;
    case JsonValue::Kind::kArray:
      out.begin_array();
      for (const JsonValue& item : value.items()) write(out, item);
      out.end();
      break;
    case JsonValue::Kind::kObject:
      out.begin_object();
      for (std::size_t i = 0; i < value.items().size(); ++i) {
        out.key(value.names()[i]);
        write(out, value.items()[i]);
      }
      out.end();
      break;
  }
}

std::string written(const JsonValue& value) {
  JsonWriter out;
  write(out, value);
  return out.take();
}

}  // namespace

void json(std::string_view input) {
  const Result<JsonValue> read = parse_json(input);
  DARUMA_ASSERT(read.ok() || read.status().where().offset.value_or(~std::uint64_t{0}) <= input.size());
  if (read.ok()) {
    const std::string once = written(*read);
    const Result<JsonValue> again = parse_json(once);
    DARUMA_ASSERT(again.ok() && written(*again) == once);
  }
  if (const Result<RecoveryReport> report = parse_report(input); report.ok()) {
    const Result<RecoveryReport> again = parse_report(report->to_json());
    DARUMA_ASSERT(again.ok() && again->to_json() == report->to_json());
  }
  if (const Result<Incident> incident = parse_incident(input); incident.ok())
    DARUMA_ASSERT(parse_incident(incident->to_json())->to_json() == incident->to_json());
  if (const Result<LiveView> view = parse_live_view(input); view.ok()) {
    DARUMA_ASSERT(to_json(*parse_live_view(to_json(*view))) == to_json(*view));
    DARUMA_ASSERT(!view->metrics.to_prometheus().empty());
  }
}

void scrub_note(std::string_view input) {
  if (const std::optional<ScrubPosition> position = decode_scrub_position(input, kStore))
    DARUMA_ASSERT(encode_scrub_position(*position, kStore) == input);
}

namespace {

/// A store of 20 keys and one checkpoint.
class HurtStore {
 public:
  HurtStore() {
    Result<Store::Opened> opened = open();
    DARUMA_ASSERT(opened.ok());
    const Keyspace keyspace = *opened->store.create_keyspace("k");
    for (int i = 0; i < kKeys; ++i) {
      if (i == kKeys / 2) DARUMA_ASSERT(opened->store.checkpoint().ok());
      DARUMA_ASSERT(opened->store.put(keyspace, std::to_string(i), "v" + std::to_string(i)).ok());
    }
    opened = Status(Code::kAborted, "the process died");
    disk_->kill();
    for (const char* folder : {"s/wal", "s/runs", "s/snapshots", "s/recoveries"}) {
      const std::vector<DirectoryEntry> entries = *disk_->list(folder);
      for (const DirectoryEntry& entry : entries) files_.push_back(std::string(folder) + "/" + entry.name);
    }
  }

  /// `input`: 6 bits which file, 2 bits what happens to it (0x40: cut, 0x80: removed); u32 offset; bytes that stand
  /// there from now on.
  void hurt(std::string_view input) {
    const auto first = static_cast<std::uint8_t>(input[0]);
    const std::string& path = files_[(first & 0x3fU) % files_.size()];
    const std::uint64_t bytes = *(*disk_->open(path, OpenMode::kRead))->size();
    if ((first & 0xc0U) == 0x40U)
      return DARUMA_ASSERT(disk_->truncate(path, load<std::uint32_t>(input.data() + 1) % (bytes + 1)).ok());
    if ((first & 0xc0U) == 0x80U) return DARUMA_ASSERT(disk_->remove(path).ok());
    const std::string_view noise = input.substr(5, std::min<std::uint64_t>(input.size() - 5, bytes));
    const std::uint64_t at = load<std::uint32_t>(input.data() + 1) % (bytes - noise.size() + 1);
    DARUMA_ASSERT(disk_->overwrite(path, at, noise).ok());
  }

  /// Puts right what `mender` heard. False when none of it stands in any file.
  bool mend(const Mender& mender) {
    bool mended = false;
    for (const std::string& path : files_) {
      Result<std::string> bytes = read_whole(*disk_, path, ~std::uint64_t{0});
      if (!bytes.ok() || !mender.mend(*bytes)) continue;  // gone: the last start had no use for it
      DARUMA_ASSERT(disk_->overwrite(path, 0, *bytes).ok());
      mended = true;
    }
    return mended;
  }

  /// What a start makes of it: the answer for each key. The process is killed afterwards. `honest`: no answer may be
  /// another than what was written.
  std::vector<std::string> answers(bool honest) {
    Result<Store::Opened> opened = open();
    DARUMA_ASSERT(opened.ok() || opened.status().is(Code::kUnsupported) || !honest);
    if (!opened.ok()) return {};
    std::vector<std::string> answers;
    Result<Keyspace> keyspace = opened->store.keyspace("k");
    if (honest && !keyspace.ok()) DARUMA_ASSERT(keyspace.status().is(Code::kDataLoss));
    if (keyspace.ok()) {
      std::map<std::string, std::string> found;
      for (int i = 0; i < kKeys; ++i) {
        const std::string key = std::to_string(i);
        Result<std::string> value = opened->store.get(*keyspace, key);
        if (honest) DARUMA_ASSERT(value.ok() ? *value == "v" + key : tells(value.status()));
        if (value.ok()) found.emplace(key, *value);
        answers.push_back(value.ok() ? *value : value.status().to_string());
      }
      Result<Cursor> cursor = opened->store.cursor(*keyspace, {});
      DARUMA_ASSERT(cursor.ok());
      // What gets found, and all of it up to where the scan says that it ends.
      auto next = found.begin();
      for (cursor->seek_first(); cursor->valid(); cursor->next(), ++next) {
        if (!honest) continue;
        DARUMA_ASSERT(next != found.end() && cursor->key() == next->first && cursor->value() == next->second);
      }
      const bool all = next == found.end() && found.size() == kKeys;
      if (honest) DARUMA_ASSERT(cursor->status().ok() ? all : tells(cursor->status()));
    }
    opened = Status(Code::kAborted, "the process died");
    disk_->kill();
    return answers;
  }

 private:
  static constexpr int kKeys = 20;
  static bool tells(const Status& status) { return status.is(Code::kDataLoss) || status.is(Code::kCorruption); }
  Result<Store::Opened> open() {
    Options options;
    options.memtable_bytes = 1 << 20;
    options.segment_bytes = options.ring_bytes = 256 << 10;
    options.cache_bytes = 1 << 20;
    Environment environment;
    environment.storage = disk_;
    environment.clock = &clock_;
    environment.seed = seed_++;
    environment.threads = false;
    environment.start_late = false;
    return Engine::open_store("s", options, environment);
  }

  std::shared_ptr<SimStorage> disk_ = std::make_shared<SimStorage>();
  ManualClock clock_;
  std::uint64_t seed_ = 1;
  std::vector<std::string> files_;
};

}  // namespace

void recover(std::string_view input) {
  if (input.size() < 6) return;
  HurtStore store;
  store.hurt(input);
  const std::vector<std::string> first = store.answers(true);
  DARUMA_ASSERT(store.answers(true) == first);
}

void forged(std::string_view input) {
  if (input.size() < 6) return;
  HurtStore store;
  store.hurt(input);
  for (int round = 0; round < 4; ++round) {
    Mender mender;
    mender.listen();
    static_cast<void>(store.answers(false));
    if (!store.mend(mender)) return;
  }
}

void simulation(std::string_view input) {
  using namespace simulation;
  Choices choices{input};
  const Plan plan = make_plan(choices, {.lives = 6});
  Totals totals;
  if (const auto violation = Simulation(plan, {}, totals).run()) {
    std::fprintf(stderr, "%s: %s\n", violation->promise.c_str(), violation->what.c_str());
    std::abort();
  }
}

}  // namespace daruma::fuzz
