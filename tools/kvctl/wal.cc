// SPDX-License-Identifier: Apache-2.0
//
// wal ls|dump|verify: the log. ls reads headers and needs no lock. dump reads whatever is there; beside a writer the
// last frames may still be in flight, so what looks broken then is told as a note, not as corruption. verify judges as
// recovery would and needs the lock.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "event/event.h"
#include "kvctl/inspect.h"
#include "snapshot/retention.h"
#include "wal/wal_reader.h"

namespace daruma::kvctl {

namespace {

Json header_json(const SegmentHeader& header) {
  Json json = Json::object();
  json["first_sequence"] = header.start_sequence;
  json["prepared_sequence"] = header.prepared_sequence;
  json["own_from"] = header.own_from;
  json["predecessor"] = header.predecessor.number;
  json["incarnation"] = fmt::format("{:016x}", header.incarnation);
  json["tail"] = tail_name(header.tail_nonce);
  json["capacity"] = header.capacity;
  json["window_bytes"] = header.window_bytes;
  json["boot"] = fmt::format("{:016x}", header.boot);
  json["created"] = time_text(header.wall_ns);
  return json;
}

Result<Outcome> list(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  std::vector<Problem> problems;
  Outcome outcome;
  outcome.json["snapshot_sequence"] = files.snapshot_sequence();
  outcome.json["segments"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"segment", "first event", "bytes", "created", "tail ring", "standing"}};
  const std::vector<SegmentFile> segments = files.segments(problems);
  for (const SegmentFile& segment : segments) {
    const bool last = &segment == &segments.back();
    std::string standing = !segment.header   ? "no header"
                           : !segment.needed ? "in the snapshot"
                           : last            ? "newest"
                                             : "to replay";
    Json entry = Json::object();
    entry["number"] = segment.number;
    entry["file"] = segment.file();
    entry["files"] = segment.files;
    entry["file_bytes"] = segment.bytes;
    entry["standing"] = standing;
    if (segment.header) {
      entry.update(header_json(*segment.header));
      entry["copied"] = segment.header->copied();
      if (segment.header->copied()) standing += segment.files.size() > 1 ? ", twice" : ", one copy missing";
      if (!segment.header->copied() && segment.file().starts_with(kLogDirectories[1])) standing += ", in wal-copy only";
    }
    outcome.json["segments"].push_back(std::move(entry));
    if (segment.header) {
      rows.push_back({std::to_string(segment.number), std::to_string(segment.header->start_sequence),
                      bytes_text(segment.bytes), time_text(segment.header->wall_ns),
                      tail_name(segment.header->tail_nonce), standing});
    } else {
      rows.push_back({std::to_string(segment.number), "-", bytes_text(segment.bytes), "-", "-", standing});
    }
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0, 1, 2});
  outcome.json["others"] = Json::array();
  std::vector<Problem> told;  // the room's problem is in `problems` already
  for (const std::string_view room : kLogDirectories) {
    for (const DirectoryEntry& entry : files.list(room, told)) {
      if (parse_segment_name(entry.name) || (room == kLogDirectories[1] && entry.name == "lock")) continue;
      const std::string_view kind = parse_tail_name(entry.name)              ? "tail ring"
                                    : entry.name.ends_with(kTemporarySuffix) ? "spare"
                                                                             : "stranger";
      Json other = {{"kind", kind}, {"file_bytes", entry.bytes}};
      Context::put_bytes(other, "file", fmt::format("{}/{}", room, entry.name), std::nullopt);
      outcome.json["others"].push_back(std::move(other));
      outcome.text += fmt::format("{:<10} {}  {}{}\n", kind, encode(Encoding::kEscaped, entry.name),
                                  bytes_text(entry.bytes), room == kLogDirectories[1] ? "  in wal-copy" : "");
    }
  }
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

/// What reading a segment met and could not use, as facts; recovery judges them.
struct Anomaly {
  Problem problem;
  Sequence first = 0;  ///< event concerned; 0: any
};

std::vector<Anomaly> anomalies(const std::string& file, const SegmentScan& scan) {
  std::vector<Anomaly> found;
  for (const PoisonedFrame& frame : scan.poisoned) {
    found.push_back({{.what = "frame_payload",
                      .verdict = frame.unreadable ? "unreadable" : "corrupt",
                      .file = file,
                      .offset = frame.header.offset,
                      .bytes = frame.header.frame_bytes,
                      .detail = fmt::format("events {} to {}, footprint {}", frame.header.first_sequence,
                                            frame.header.last_sequence, frame.footprint ? "intact" : "lost")},
                     frame.header.first_sequence});
  }
  for (const LogGap& gap : scan.gaps) {
    found.push_back({{.what = std::string(name(gap.kind)),
                      .verdict = gap.kind == Stop::kReadError ? "unreadable" : "corrupt",
                      .file = file,
                      .offset = gap.offset,
                      .bytes = gap.end_offset - gap.offset,
                      .detail = gap.last_sequence >= gap.first_sequence
                                    ? fmt::format("events {} to {}", gap.first_sequence, gap.last_sequence)
                                    : ""},
                     gap.first_sequence});
  }
  for (const std::uint64_t at : scan.damaged_footprints) {
    found.push_back({{.what = "frame_footprint", .verdict = "corrupt", .file = file, .offset = at}});
  }
  for (const HealedFrame& frame : scan.healed) {
    found.push_back({{.what = "frame_healed",
                      .verdict = "corrupt",
                      .file = file,
                      .offset = frame.damaged_at,
                      .bytes = frame.header.offset + frame.header.frame_bytes - frame.damaged_at,
                      .detail = "events are right, parity gives them back"}});
  }
  std::sort(found.begin(), found.end(),
            [](const Anomaly& a, const Anomaly& b) { return a.problem.offset < b.problem.offset; });
  return found;
}

/// As `anomalies`, and where reading ended; what only recovery can tell torn from corrupt is "undecided", what a later
/// segment gave anew is "stale".
std::vector<Problem> facts(const std::string& file, const SegmentFile& segment, const SegmentScan& scan) {
  std::vector<Problem> all;
  for (Anomaly& anomaly : anomalies(file, scan)) {
    const bool trailing = scan.stop == Stop::kBadPayload || scan.stop == Stop::kBadFootprint;
    if (segment.next_start != 0 && anomaly.first >= segment.next_start) {
      anomaly.problem.verdict = "stale";
    } else if (trailing && *anomaly.problem.offset >= scan.stop_offset) {
      anomaly.problem.verdict = "undecided";
    }
    all.push_back(std::move(anomaly.problem));
  }
  const bool ends_badly = scan.stop == Stop::kBadHeader || scan.stop == Stop::kReadError ||
                          scan.stop == Stop::kShortFile || scan.stop == Stop::kSequenceGap ||
                          scan.stop == Stop::kForeignFrame;
  if (scan.header && ends_badly) {
    all.push_back({.what = std::string(name(scan.stop)),
                   .verdict = segment.next_start != 0 && scan.last_good_sequence + 1 >= segment.next_start
                                  ? "stale"
                                  : "undecided",
                   .file = file,
                   .offset = scan.stop_offset,
                   .detail = "reading ended here; kvctl wal verify judges it"});
  }
  return all;
}

struct DumpOptions {
  std::vector<std::uint64_t> segments;
  Sequence from = 0;
  Sequence to = kMaxSequence;
  std::optional<std::uint64_t> limit;
  bool values = false;
  bool frames = false;
};

/// Prints events and, if asked, frames, in the format asked for.
class LogPrinter {
 public:
  LogPrinter(const Context& context, const DumpOptions& options) : context_(context), options_(options) {}

  Status begin() {
    if (!context_.json) return {};
    return write_out(fmt::format("{{\"schema\":\"kvctl.wal_dump/1\",\"entries\":["));
  }
  Status end() { return context_.json ? write_out("]") : Status(); }
  [[nodiscard]] bool full() const { return options_.limit && events_ >= *options_.limit; }
  [[nodiscard]] std::uint64_t events() const { return events_; }

  void frame(const std::string& file, const FrameHeader& header) {
    if (!options_.frames || full() || header.last_sequence < options_.from || header.first_sequence > options_.to)
      return;
    const std::string kind = (header.flags & kFrameSeal) != 0   ? "seal"
                             : (header.flags & kFrameMark) != 0 ? "mark"
                                                                : "frame";
    if (context_.json || context_.ndjson) {
      Json json = {{"frame", kind},
                   {"file", file},
                   {"offset", header.offset},
                   {"bytes", header.frame_bytes},
                   {"first_sequence", header.first_sequence},
                   {"last_sequence", header.last_sequence},
                   {"watermark", header.watermark},
                   {"lz4", (header.flags & kFrameLz4) != 0},
                   {"time", time_text(header.wall_ns)}};
      if (kind == "seal") json["next_segment"] = header.next_segment;
      return document(json);
    }
    print(fmt::format("# {} {}:{}+{}  events {} to {}, durable {}, {}{}\n", kind, file, header.offset,
                      header.frame_bytes, header.first_sequence, header.last_sequence, header.watermark,
                      time_text(header.wall_ns),
                      kind == "seal" ? fmt::format(", next segment {}", header.next_segment) : ""));
  }

  void event(const std::string& file, std::optional<std::uint64_t> offset, const WalRecord& record, bool superseded) {
    if (full() || record.sequence < options_.from || record.sequence > options_.to) return;
    ++events_;
    std::string text;
    Json ops = Json::array();
    const Status decoded = for_each_op(record.event, [&](const Op& op) {
      static constexpr const char* kNames[] = {"", "put", "del", "delrange"};
      const char* verb = kNames[static_cast<int>(op.kind)];
      if (context_.json || context_.ndjson) {
        Json json = {{"op", verb}, {"keyspace_id", op.keyspace}};
        context_.put_key(json, op.key, op.kind == OpKind::kEraseRange ? "from" : "key");
        if (op.kind == OpKind::kEraseRange) context_.put_key(json, op.end, "to");
        if (op.kind == OpKind::kPut) json["value_bytes"] = op.value.size();
        if (op.kind == OpKind::kPut && options_.values) context_.put_value(json, op.value);
        ops.push_back(std::move(json));
        return;
      }
      text += fmt::format("{}\t{}\t{}\t{}", record.sequence, verb, op.keyspace, context_.key_text(op.key));
      if (op.kind == OpKind::kEraseRange) text += "\t" + context_.key_text(op.end);
      if (op.kind == OpKind::kPut)
        text += "\t" + (options_.values ? context_.value_text(op.value) : fmt::format("{} bytes", op.value.size()));
      text += superseded ? "\t(superseded)\n" : "\n";
    });
    if (context_.json || context_.ndjson) {
      Json json = {{"sequence", record.sequence}, {"file", file}};
      if (offset) json["offset"] = *offset;
      if (superseded) json["superseded"] = true;
      if (decoded.ok())
        json["ops"] = std::move(ops);
      else
        json["undecodable"] = decoded.message();
      return document(json);
    }
    if (!decoded.ok()) text = fmt::format("{}\tundecodable\t{}\n", record.sequence, decoded.message());
    if (decoded.ok() && text.empty()) text = fmt::format("{}\tempty\n", record.sequence);
    print(text);
  }

  void anomaly(const Problem& problem) {
    if (context_.json || context_.ndjson) return document({{"anomaly", problem_json(problem)}});
    print("! " + problem_text(context_, problem));
  }

  [[nodiscard]] const Status& status() const { return status_; }

 private:
  void print(std::string_view text) {
    if (status_.ok()) status_ = write_out(text);
  }
  void document(const Json& json) {
    const std::string_view before = context_.ndjson ? "" : first_ ? "\n" : ",\n";
    first_ = false;
    print(fmt::format("{}{}{}", before, dump_json(json), context_.ndjson ? "\n" : ""));
  }

  const Context& context_;
  const DumpOptions& options_;
  bool first_ = true;
  std::uint64_t events_ = 0;
  Status status_;
};

Result<Outcome> dump(Context& context, const DumpOptions& options) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kIfFree));
  std::vector<Problem> problems;
  const std::vector<SegmentFile> segments = files.segments(problems);
  for (const std::uint64_t number : options.segments) {
    if (std::none_of(segments.begin(), segments.end(), [&](const SegmentFile& s) { return s.number == number; })) {
      return Status(Code::kNotFound, fmt::format("there is no segment {}", number), {},
                    "kvctl wal ls shows what is there");
    }
  }
  LogPrinter printer(context, options);
  Status status = printer.begin();
  Sequence last = 0;
  for (const SegmentFile& segment : segments) {
    const bool wanted = options.segments.empty() || std::find(options.segments.begin(), options.segments.end(),
                                                              segment.number) != options.segments.end();
    if (!wanted || !status.ok() || printer.full()) continue;
    if (segment.next_start != 0 && segment.next_start <= options.from) continue;
    if (segment.header && segment.header->start_sequence > options.to) continue;
    const std::string& file = segment.file();
    SegmentFiles paths;
    for (const std::string& each : segment.files) paths.push_back(files.path(each));
    const SegmentScan scan = read_segment(files.storage(), paths, files.store(), [&](const FrameView& frame) {
      printer.frame(file, frame.header);
      if (!frame.header.has_events()) return;
      for_each_record(frame.header, frame.payload, [&](const WalRecord& record) {
        printer.event(file, frame.header.offset, record,
                      segment.next_start != 0 && record.sequence >= segment.next_start);
        last = std::max(last, record.sequence);
      });
    });
    for (Problem& problem : facts(file, segment, scan)) {
      printer.anomaly(problem);
      problems.push_back(std::move(problem));
    }
    status = printer.status();
  }
  // What the ring holds beyond the log.
  if (status.ok() && options.segments.empty() && !segments.empty() && segments.back().header) {
    const std::uint64_t nonce = segments.back().header->tail_nonce;
    std::size_t side = 0;
    TailScan ring = read_tail(files.storage(), files.directory(), files.store(), nonce);
    if (!ring.status.ok() || !ring.whole) {
      TailScan copy = read_tail(files.storage(), files.directory(), files.store(), nonce, 1);
      if (copy.status.ok() && (copy.whole || !ring.status.ok())) {
        ring = std::move(copy);
        side = 1;
      }
    }
    for (const WalRecord& record : ring.entries) {
      if (record.sequence > last)
        printer.event(fmt::format("{}/{}", kLogDirectories[side], tail_name(nonce)), std::nullopt, record, false);
    }
    status = printer.status();
  }
  if (const Status ended = printer.end(); status.ok()) status = ended;
  Outcome outcome;
  outcome.streamed = true;
  outcome.json["count"] = printer.events();
  outcome.json["live"] = files.live();
  if (status.is(Code::kAborted)) outcome.exit = kExitPipe;
  outcome.error = status;
  if (status.ok() && files.live() && !problems.empty()) {
    outcome.notes.emplace_back("another process writes this log: what looks broken may be in flight");
  } else if (status.ok()) {
    outcome.error = corruption(problems, files.directory());
  }
  return outcome;
}

Result<Outcome> verify(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kRequired));
  std::vector<Problem> problems;
  const std::vector<SegmentFile> segments = files.segments(problems);
  Progress progress(context, "verifying the log");
  VerifiedBytes verified;
  DARUMA_TRY(verify_log(files, segments, progress, problems, verified));
  progress.clear();
  Outcome outcome;
  outcome.json["segments"] = verified.files;
  outcome.json["bytes"] = verified.bytes;
  outcome.json["frames"] = verified.frames;
  outcome.json["events"] = verified.events;
  tell_problems(context, problems, outcome);
  outcome.text += fmt::format("{} segments, {} frames, {} events, {} read: {}\n", verified.files,
                              count_text(verified.frames), count_text(verified.events), bytes_text(verified.bytes),
                              problems.empty() ? "all is sound" : fmt::format("{} problems", problems.size()));
  outcome.error = corruption(problems, files.directory());
  if (outcome.error.ok() &&
      std::any_of(problems.begin(), problems.end(), [](const Problem& p) { return p.verdict == "known"; }))
    outcome.exit = kExitLoss;
  return outcome;
}

/// The problem that a finding of recovery is; nothing for what means nothing.
std::optional<Problem> judged(const RecoveryFinding& finding) {
  if (finding.verdict == "stale" || finding.verdict == "intact") return std::nullopt;
  // Behind the last frame, and the ring has it: written with process durability and not in the log yet. Nothing is
  // hurt.
  if (finding.verdict == "healed" && finding.bytes == 0) return std::nullopt;
  Problem p;
  p.what = finding.case_name;
  p.verdict = finding.verdict == "torn" ? "torn" : finding.case_name.starts_with("known_loss") ? "known" : "corrupt";
  p.file = finding.file;
  p.offset = finding.offset;
  p.bytes = finding.bytes;
  if (finding.first_sequence != 0)
    p.detail = fmt::format("events {} to {}", finding.first_sequence, finding.last_sequence);
  if (!finding.action.empty())
    p.detail += fmt::format("{}a start would {}", p.detail.empty() ? "" : "; ", finding.action);
  if (!finding.detail.empty()) p.detail += fmt::format("{}{}", p.detail.empty() ? "" : "; ", finding.detail);
  return p;
}

void verify_ring(const StoreFiles& files, const SegmentHeader& newest, std::size_t side, bool same_boot,
                 std::vector<Problem>& problems, VerifiedBytes& verified) {
  const std::string file = fmt::format("{}/{}", kLogDirectories[side], tail_name(newest.tail_nonce));
  const TailScan ring = read_tail(files.storage(), files.directory(), files.store(), newest.tail_nonce, side, true);
  ++verified.files;
  if (ring.status.ok()) verified.bytes += 2 * tail_half_bytes(ring.header.capacity);
  // A ring lives in memory: after the machine stopped, whatever stands in its file is normal. So is an end that the
  // kill cut off.
  if (!same_boot) return;
  if (!ring.status.ok()) {
    problems.push_back(files.problem("tail_ring", file, ring.status));
  } else if (!ring.mark_known) {
    problems.push_back({.what = "tail_mark",
                        .verdict = "corrupt",
                        .file = file,
                        .offset = kSectorBytes,
                        .detail = "no mark tells what is durable"});
  } else if (!ring.whole && !ring.torn_end) {
    problems.push_back({.what = "tail_ring",
                        .verdict = "corrupt",
                        .file = file,
                        .offset = kTailDataAt + ring.durable_position % ring.header.capacity,
                        .detail = "entries behind the mark do not verify"});
  } else if (ring.hurt) {
    problems.push_back({.what = "tail_half",
                        .verdict = "corrupt",
                        .file = file,
                        .offset = 0,
                        .detail = "what stands in both halves verifies in one"});
  }
}

}  // namespace

Result<LogReplay> replay_to_judge(const StoreFiles& files, bool stop_at_loss, Progress& progress) {
  LogReplayInput input;
  input.directory = files.directory();
  input.store = files.store();
  input.snapshot_sequence = files.snapshot_sequence();
  for (const Generation& g : files.catalogue().generations) {
    if (g.manifest) input.snapshot_durable = std::max(input.snapshot_durable, g.manifest->durable_sequence);
  }
  std::vector<Sequence> kept;
  for (const Generation& g : files.catalogue().generations) {
    if (g.manifest) kept.push_back(g.manifest->sequence);
  }
  if (kept.size() >= kGenerationsKept) input.log_needed_from = kept[kGenerationsKept - 1] + 1;
  input.known = &files.damage();
  std::vector<Problem> ignored;
  const std::vector<DirectoryEntry> reports = files.list("recoveries", ignored);
  input.started_before =
      !files.list(kRunDirectory, ignored).empty() ||
      std::any_of(reports.begin(), reports.end(), [](const auto& entry) { return entry.name.ends_with(".json"); });
  if (const Manifest* newest = files.catalogue().newest()) input.next_segment = newest->next_segment;
  input.attempts_directory = files.path("recoveries");
  input.stop_at_loss = stop_at_loss;
  input.on_progress = [&progress](std::uint64_t done, std::uint64_t total) { progress.at(done, total); };
  return replay_log(files.storage(), input, [](std::span<const WalRecord>, Attempts*) {});
}

Status verify_log(const StoreFiles& files, const std::vector<SegmentFile>& segments, Progress& progress,
                  std::vector<Problem>& problems, VerifiedBytes& verified) {
  if (segments.empty()) return {};
  DARUMA_TRY_ASSIGN(const LogReplay replay, replay_to_judge(files, false, progress));
  std::set<std::pair<std::string, std::uint64_t>> known;  // places that recovery has judged
  for (const RecoveryFinding& finding : replay.findings) {
    known.emplace(finding.file, finding.offset);
    if (std::optional<Problem> p = judged(finding)) problems.push_back(std::move(*p));
  }
  std::vector<std::pair<const SegmentFile*, std::string>> each;  // both files of a segment, one by one
  for (const SegmentFile& segment : segments) {
    for (const std::string& file : segment.files) each.emplace_back(&segment, file);
  }
  for (const auto& [of, file_name] : each) {
    const SegmentFile& segment = *of;
    const std::string& file = file_name;
    progress.rename("verifying " + file);
    Sequence last = segment.header ? segment.header->start_sequence - 1 : 0;
    const SegmentScan scan =
        read_segment(files.storage(), files.path(file), files.store(), [&](const FrameView& frame) {
          ++verified.frames;
          verified.events += frame.header.has_events() ? frame.header.count() : 0;
          progress.at(verified.bytes + frame.header.offset, 0);
          if (!frame.header.has_events()) return;
          last = std::max(last, frame.header.last_sequence);
          for_each_record(frame.header, frame.payload, [&](const WalRecord& record) {
            if (check_event(record.event).ok()) return;
            problems.push_back({.what = "undecodable_event",
                                .verdict = "corrupt",
                                .file = file,
                                .offset = frame.header.offset,
                                .bytes = frame.header.frame_bytes,
                                .detail = fmt::format("event {}", record.sequence)});
          });
        });
    ++verified.files;
    verified.bytes += segment.bytes;
    if (!scan.header) continue;  // both copies of the header are told already
    for (const PoisonedFrame& frame : scan.poisoned) last = std::max(last, frame.header.last_sequence);
    for (const LogGap& gap : scan.gaps) last = std::max(last, gap.last_sequence);
    for (auto& [problem, first] : anomalies(file, scan)) {
      if (problem.what == "frame_footprint") {
        problems.push_back(std::move(problem));
        continue;
      }
      if (known.contains({file, *problem.offset})) continue;
      if (segment.next_start != 0 && first >= segment.next_start) continue;  // superseded: part of no present
      if (first > replay.last) continue;                                     // behind the end of the log
      problems.push_back(std::move(problem));
    }
    // Recovery does not look into segments that are all in the snapshot; their events must be there all the same.
    if (!segment.needed && last + 1 < segment.next_start && !known.contains({file, scan.stop_offset}) &&
        files.damage().known_through(last + 1, file) == 0) {
      problems.push_back({.what = "history_stretch_hurt",
                          .verdict = "corrupt",
                          .file = file,
                          .offset = scan.stop_offset,
                          .detail = fmt::format("events {} to {} are in the snapshot and not in the log", last + 1,
                                                segment.next_start - 1)});
    }
  }
  if (!segments.back().header) return {};
  for (std::size_t side = 0; side < (segments.back().header->copied() ? kLogSides : 1); ++side)
    verify_ring(files, *segments.back().header, side, replay.same_boot, problems, verified);
  return {};
}

void register_wal(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "wal", "The log: segments and the tail ring");
  add_command(*group, context, "ls", "Segments, the ring, spares; reads headers only", list)
      ->footer("Example:\n  kvctl -d orders wal ls");
  auto options = std::make_shared<DumpOptions>();
  CLI::App* command =
      add_command(*group, context, "dump", "The events of all segments, or of those named, then the ring's",
                  [options](Context& c) { return dump(c, *options); });
  command->add_option("SEGMENT", options->segments, "Which");
  command->add_option("-s,--from", options->from, "First sequence")->type_name("SEQ");
  command->add_option("-e,--to", options->to, "Last sequence")->type_name("SEQ");
  command->add_option("--limit", options->limit, "At most this many events")->type_name("N");
  command->add_flag("--values", options->values, "Values too, not only their sizes");
  command->add_flag("--frames", options->frames, "The frames that hold the events too");
  command->footer(
      "Examples:\n  kvctl -d orders wal dump --from 9244871 --limit 1 --values\n"
      "  kvctl -d orders wal dump --ndjson | jq -c 'select(.ops[]?.key == \"user/7\")'\n"
      "Text is SEQUENCE, OP, KEYSPACE ID, KEY and SIZE or VALUE with tabs between; lines of frames begin with #, what\n"
      "does not verify with !. Exit code 4: something does not verify.");
  add_command(*group, context, "verify", "Reads every frame and judges as recovery would; keeps writers out", verify)
      ->footer(
          "Example:\n  kvctl -d orders wal verify\n"
          "Exit code 4: corruption; 5: only what an earlier start accounted for. A torn tail (never acknowledged) is "
          "told\n"
          "and is no corruption.");
}

}  // namespace daruma::kvctl
