// SPDX-License-Identifier: Apache-2.0
// timeline: how far back a store can be reconstructed. restore: a store of what it was. why: the history of one key.
#include <fmt/format.h>

#include <algorithm>

#include "event/event.h"
#include "kvctl/inspect.h"
#include "wal/wal_reader.h"

namespace daruma::kvctl {

namespace {

Result<Outcome> timeline(Context& context) {
  DARUMA_TRY(context.check_directory());
  DARUMA_TRY_ASSIGN(const Timeline found, read_timeline(context.directory));
  Outcome outcome;
  outcome.json["earliest"] = found.earliest;
  outcome.json["earliest_time"] = time_text(found.earliest_wall_ns);
  outcome.json["latest"] = found.latest;
  outcome.json["latest_time"] = time_text(found.latest_wall_ns);
  outcome.json["snapshots"] = Json::array();
  outcome.json["log"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"what", "file", "sequences", "time", "bytes", ""}};
  const auto usable = [](Json& json, const Status& status) {
    json["usable"] = status.ok();
    if (!status.ok()) json["why_not"] = status.message();
    return status.ok() ? std::string() : status.message();
  };
  for (const Timeline::Snapshot& snapshot : found.snapshots) {
    Json json = {{"file", snapshot.file},
                 {"sequence", snapshot.sequence},
                 {"time", time_text(snapshot.wall_ns)},
                 {"runs", snapshot.runs},
                 {"run_bytes", snapshot.run_bytes}};
    std::string note = usable(json, snapshot.status);
    rows.push_back({"snapshot", snapshot.file, count_text(snapshot.sequence), time_text(snapshot.wall_ns),
                    bytes_text(snapshot.run_bytes), std::move(note)});
    outcome.json["snapshots"].push_back(std::move(json));
  }
  for (const Timeline::LogFile& file : found.log) {
    Json json = {{"file", file.file},
                 {"first_sequence", file.first_sequence},
                 {"last_sequence", file.last_sequence},
                 {"time", time_text(file.wall_ns)},
                 {"bytes", file.bytes}};
    std::string note = usable(json, file.status);
    const std::string sequences = file.last_sequence < file.first_sequence
                                      ? "none"
                                      : count_text(file.first_sequence) + " - " + count_text(file.last_sequence);
    rows.push_back({"log", file.file, sequences, time_text(file.wall_ns), bytes_text(file.bytes), std::move(note)});
    outcome.json["log"].push_back(std::move(json));
  }
  outcome.text = table_text(context, rows, {2, 4});
  outcome.text +=
      fmt::format("every point from sequence {} ({}) to {} ({}) can be reconstructed\n", count_text(found.earliest),
                  time_text(found.earliest_wall_ns), count_text(found.latest), time_text(found.latest_wall_ns));
  return outcome;
}

struct RestoreOptions {
  std::string to;
};

Result<Outcome> restore_store(Context& context, const RestoreOptions& options) {
  DARUMA_TRY(context.check_directory());
  if (!context.target) context.target = RecoveryTarget();
  Outcome outcome;
  if (context.dry_run) {
    DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
    outcome.json["sequence"] = opened.report.last_sequence;
    outcome.text =
        fmt::format("would restore sequence {} to {}\n", count_text(opened.report.last_sequence), options.to);
    return outcome;
  }
  Progress progress(context, "restoring");
  progress.at(0, 0);
  const Result<Restored> done = restore(context.directory, *context.target, options.to);
  progress.clear();
  if (done.status().is(Code::kNotFound)) return context.fail(kExitUsage, done.status());
  DARUMA_TRY(done.status());
  outcome.json["sequence"] = done->sequence;
  outcome.json["keyspaces"] = done->keyspaces;
  outcome.json["keys"] = done->keys;
  outcome.json["bytes"] = done->bytes;
  outcome.text = fmt::format("{} holds {} keys in {} keyspaces ({}), as they were after event {}\n", options.to,
                             count_text(done->keys), count_text(done->keyspaces), bytes_text(done->bytes),
                             count_text(done->sequence));
  return outcome;
}

/// What happened to one key, in the order of its events.
class KeyHistory {
 public:
  KeyHistory(const Context& context, std::uint32_t keyspace, std::string key)
      : context_(context), keyspace_(keyspace), key_(std::move(key)) {}

  void event(const std::string& file, std::int64_t wall_ns, const WalRecord& record) {
    if (record.sequence <= last_) return;
    last_ = record.sequence;
    std::optional<Op> op;  // of several the last counts
    (void)for_each_op(record.event, [&](const Op& one) {
      const bool ranges = one.kind == OpKind::kEraseRange && one.key <= key_ && (one.end.empty() || key_ < one.end);
      if (one.keyspace == keyspace_ && (ranges || (one.kind != OpKind::kEraseRange && one.key == key_))) op = one;
    });
    if (!op) return;
    Json json = {{"sequence", record.sequence}, {"file", file}};
    if (wall_ns != 0) json["time"] = time_text(wall_ns);
    std::string what;
    switch (op->kind) {
      case OpKind::kPut:
        json["what"] = "put";
        json["value_bytes"] = op->value.size();
        context_.put_value(json, op->value);
        what = "put " + context_.value_text(op->value.substr(0, kShownBytes)) +
               (op->value.size() > kShownBytes ? fmt::format("... ({} bytes)", op->value.size()) : "");
        break;
      case OpKind::kErase:
        json["what"] = "del";
        what = "del";
        break;
      case OpKind::kEraseRange:
        json["what"] = "delrange";
        context_.put_key(json, op->key, "from");
        context_.put_key(json, op->end, "to");
        what = fmt::format("delrange {} to {}", context_.key_text(op->key),
                           op->end.empty() ? "the end" : context_.key_text(op->end));
        break;
    }
    known_ = true;
    add(record.sequence, std::move(json), wall_ns == 0 ? "in the ring" : time_text(wall_ns), what);
  }

  void skipped(const std::string& file, const PoisonedFrame& frame) {
    if (frame.footprint && !frame.footprint->touches(keyspace_, key_)) return;
    Json json = {
        {"sequence", frame.header.first_sequence}, {"last_sequence", frame.header.last_sequence}, {"file", file},
        {"offset", frame.header.offset},           {"time", time_text(frame.header.wall_ns)},     {"what", "skipped"},
        {"certain", frame.footprint.has_value()}};
    known_ = true;
    add(frame.header.first_sequence, std::move(json), time_text(frame.header.wall_ns),
        fmt::format("skipped: events {} to {} cannot be read ({}:{}); {} this key", frame.header.first_sequence,
                    frame.header.last_sequence, file, frame.header.offset,
                    frame.footprint ? "their footprint names" : "nothing tells whether they are about"));
  }

  void snapshot(const Timeline::Snapshot& at, const Result<std::string>& value) {
    Json json = {{"sequence", at.sequence}, {"file", at.file}, {"time", time_text(at.wall_ns)}, {"what", "snapshot"}};
    json["found"] = value.ok();
    known_ = known_ || !value.status().is(Code::kNotFound);
    std::string what = "the snapshot has ";
    if (value.ok()) {
      context_.put_value(json, *value);
      json["value_bytes"] = value->size();
      what += context_.value_text(std::string_view(*value).substr(0, kShownBytes)) +
              (value->size() > kShownBytes ? fmt::format("... ({} bytes)", value->size()) : "");
    } else {
      if (!value.status().is(Code::kNotFound)) json["error"] = value.status().message();
      what += value.status().is(Code::kNotFound) ? "no such key" : "an answer in doubt: " + value.status().message();
    }
    add(at.sequence, std::move(json), time_text(at.wall_ns), what);
  }

  void finish(Outcome& outcome) {
    std::stable_sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) { return a.sequence < b.sequence; });
    std::vector<std::vector<std::string>> table{{"sequence", "time", "what"}};
    outcome.json["history"] = Json::array();
    for (Row& row : rows_) {
      table.push_back({count_text(row.sequence), row.time, row.what});
      outcome.json["history"].push_back(std::move(row.json));
    }
    outcome.text = table_text(context_, table, {0});
    if (known_) return;
    outcome.exit = kExitNegative;
    outcome.notes.emplace_back("nothing that is kept has had this key");
  }

 private:
  static constexpr std::size_t kShownBytes = 60;
  struct Row {
    Sequence sequence = 0;
    Json json;
    std::string time, what;
  };
  void add(Sequence sequence, Json json, std::string time, std::string what) {
    rows_.push_back({sequence, std::move(json), std::move(time), std::move(what)});
  }

  const Context& context_;
  const std::uint32_t keyspace_;
  const std::string key_;
  Sequence last_ = 0;
  bool known_ = false;
  std::vector<Row> rows_;
};

/// The log's files, then what only the ring has.
Status add_events(const StoreFiles& files, KeyHistory& history, std::vector<Problem>& problems) {
  const std::vector<SegmentFile> segments = files.segments(problems);
  for (const SegmentFile& segment : segments) {
    SegmentFiles paths;
    for (const std::string& file : segment.files) paths.push_back(files.path(file));
    const SegmentScan scan = read_segment(files.storage(), paths, files.store(),
                                          [&](const FrameView& frame) {
                                            if (!frame.header.has_events()) return;
                                            for_each_record(frame.header, frame.payload, [&](const WalRecord& record) {
                                              if (segment.next_start != 0 && record.sequence >= segment.next_start)
                                                return;  // given anew there
                                              history.event(segment.file(), frame.header.wall_ns, record);
                                            });
                                          },
                                          {segment.next_start, true});
    if (is_of_the_process(scan.status)) return scan.status;
    if (!scan.status.ok()) problems.push_back(files.problem("segment", segment.file(), scan.status));
    for (const PoisonedFrame& frame : scan.poisoned) history.skipped(segment.file(), frame);
  }
  if (segments.empty() || !segments.back().header) return {};
  const std::uint64_t nonce = segments.back().header->tail_nonce;
  const TailScan tail = read_tail(files.storage(), files.directory(), files.store(), nonce);
  for (const WalRecord& record : tail.entries) history.event("wal/" + tail_name(nonce), 0, record);
  return {};
}

Result<Outcome> why(Context& context, const std::string& text) {
  DARUMA_TRY_ASSIGN(const std::string key, context.parse_key(text));
  DARUMA_TRY(context.check_directory());
  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  context.put_key(outcome.json, key);
  std::optional<KeyHistory> history;
  {
    DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
    DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
    history.emplace(context, keyspace.id(), key);
    for (const DamageInfo& damage : opened.store.damage()) {
      if (damage.keyspace && *damage.keyspace != keyspace.id()) continue;
      outcome.notes.push_back(fmt::format("damage {} ({}, {}): events {} to {}, {}", damage.id, damage.cause,
                                          damage.file, damage.first_sequence, damage.last_sequence, damage.keys));
    }
  }
  DARUMA_TRY_ASSIGN(const Timeline timeline, read_timeline(context.directory));
  for (const Timeline::Snapshot& snapshot : timeline.snapshots) {
    if (!snapshot.status.ok()) continue;
    context.target = RecoveryTarget::at_sequence(snapshot.sequence);
    const auto opened = context.open_for_reading();
    if (!opened.ok()) {
      history->snapshot(snapshot, opened.status());
      continue;
    }
    const Result<Keyspace> keyspace = opened->store.keyspace(context.keyspace);
    history->snapshot(snapshot,
                      keyspace.ok() ? opened->store.get(*keyspace, key) : Result<std::string>(keyspace.status()));
  }
  context.target.reset();
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kIfFree));
  std::vector<Problem> problems;
  DARUMA_TRY(add_events(files, *history, problems));
  history->finish(outcome);
  tell_problems(context, problems, outcome);
  return outcome;
}

}  // namespace

void register_history(CLI::App& app, Context& context) {
  add_command(app, context, "timeline", "How far back the store can be reconstructed, and from what; needs no lock",
              timeline)
      ->footer("Example: kvctl -d STORE timeline");

  auto options = std::make_shared<RestoreOptions>();
  CLI::App* command = add_command(app, context, "restore", "Makes a new store of what this one was",
                                  [options](Context& c) { return restore_store(c, *options); });
  add_target(*command, context);
  command->add_option("--to", options->to, "Directory of the new store; must not be there")
      ->required()
      ->type_name("DIR");
  command->footer("Example: kvctl -d STORE restore --at '10min ago' --to RESTORED");

  auto key = std::make_shared<std::string>();
  command = add_command(app, context, "why", "The history of one key: events, snapshots, what was skipped",
                        [key](Context& c) { return why(c, *key); });
  command->add_option("KEY", *key, "The key")->required();
  command->footer("Example: kvctl -d STORE -k users why alice");
}

}  // namespace daruma::kvctl
