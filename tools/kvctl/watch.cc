// SPDX-License-Identifier: Apache-2.0
//
// watch: the change stream on stdout. Of a store that nobody writes it is that of the store, opened read-only. Beside a
// writer the log's files are read without a lock: they are append-only, every byte is verified, and only what a later
// frame's watermark says is durable is told, so what comes out is what the writer's own stream gives, one frame later.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "daruma/stream.h"
#include "engine/engine.h"
#include "kvctl/inspect.h"
#include "recovery/log_reader.h"

namespace daruma::kvctl {

namespace {

using namespace std::chrono_literals;
using Next = std::function<Result<std::optional<StreamEvent>>(std::chrono::nanoseconds)>;

struct WatchOptions {
  std::string from = "oldest";
  std::optional<std::uint32_t> keyspace_id;
  std::optional<std::string> prefix;
  std::optional<std::uint64_t> count;
  std::optional<std::chrono::milliseconds> time;
  bool follow = false;
};

/// What the files of a log prove, looked at again and again.
class LogFiles {
 public:
  LogFiles(Context& context, const StoreId& store) : context_(context), store_(store) {}

  Result<LogNow> look() {
    DARUMA_TRY_ASSIGN(StoreFiles fresh, StoreFiles::open(context_, Locking::kNone));
    if (fresh.store() != store_)
      return Status(Code::kUnavailable, "another store stands here now", {.file = fresh.directory()});
    LogNow now;
    std::vector<Problem> ignored;
    std::vector<SegmentFile> segments = fresh.segments(ignored);
    std::erase_if(segments, [](const SegmentFile& segment) { return !segment.header; });
    for (const Generation& generation : fresh.catalogue().generations) {
      if (generation.manifest) now.durable = std::max(now.durable, generation.manifest->durable_sequence);
    }
    if (!segments.empty()) read_watermark(fresh, segments.back());
    now.durable = std::max(now.durable, watermark_);
    for (const SegmentFile& segment : segments) {
      LogSides sides = 0;
      for (const std::string& file : segment.files)
        sides |= side_bit(file.starts_with(std::string(kLogDirectories[1]) + "/") ? 1 : 0);
      now.segments.push_back({segment.number, segment.header->start_sequence, segment.bytes, sides});
    }
    // Behind the segments: a start puts what it lost into a manifest before it begins a segment.
    DARUMA_TRY_ASSIGN(fresh, StoreFiles::open(context_, Locking::kNone));
    now.lost = lost_from_log(fresh.damage());
    return now;
  }

 private:
  /// Goes on where it was; whole frames only, and nothing is searched behind them.
  void read_watermark(const StoreFiles& files, const SegmentFile& newest) {
    if (newest.number != number_) part_ = {};
    number_ = newest.number;
    part_.through = kMaxSequence;
    part_.bytes_max = kMaxSegmentBytes;
    SegmentFiles paths;
    for (const std::string& file : newest.files) paths.push_back(files.path(file));
    const SegmentScan scan = read_segment(
        files.storage(), paths, files.store(), [](const FrameView&) {}, {.sequence = 1}, &part_);
    if (!scan.header) return;
    watermark_ = std::max({watermark_, scan.max_watermark, scan.header->start_sequence - 1});
  }

  Context& context_;
  const std::optional<StoreId> store_;
  std::uint64_t number_ = 0;
  SegmentPart part_;
  Sequence watermark_ = 0;
};

class EventPrinter {
 public:
  EventPrinter(const Context& context, const WatchOptions& options, std::optional<std::string> prefix)
      : context_(context), options_(options), prefix_(std::move(prefix)) {}

  Status begin() { return context_.json ? write_out("{\"schema\":\"kvctl.watch/1\",\"events\":[") : Status(); }
  Status end() { return context_.json ? write_out("]") : Status(); }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

  Status event(const StreamEvent& event) {
    static constexpr const char* kVerbs[] = {"", "put", "del", "delrange", "keyspace", "drop"};
    const bool filtered = options_.keyspace_id || prefix_;
    Json ops = Json::array();
    std::string text;
    for (const StreamOp& op : event.ops) {
      if (!wanted(op)) continue;
      const char* verb = kVerbs[static_cast<int>(op.kind)];
      const bool range = op.kind == StreamOp::Kind::kEraseRange;
      const bool of_keyspace = op.kind > StreamOp::Kind::kEraseRange;
      text += fmt::format("{}\t{}\t{}", event.first_sequence, verb, op.keyspace.id());
      if (op.kind != StreamOp::Kind::kDropKeyspace) text += "\t" + context_.key_text(op.key);
      if (range) text += "\t" + context_.key_text(op.value);
      if (op.kind == StreamOp::Kind::kPut) text += "\t" + context_.value_text(op.value);
      text += "\n";
      Json json = {{"op", verb}, {"keyspace_id", op.keyspace.id()}};
      if (op.kind == StreamOp::Kind::kNameKeyspace) Context::put_bytes(json, "name", op.key, std::nullopt);
      if (!of_keyspace) context_.put_key(json, op.key, range ? "from" : "key");
      if (range) context_.put_key(json, op.value, "to");
      if (op.kind == StreamOp::Kind::kPut) context_.put_value(json, op.value);
      ops.push_back(std::move(json));
    }
    Json json = {{"sequence", event.first_sequence}};
    switch (event.kind) {
      case StreamEvent::Kind::kWrite:
        if (filtered && ops.empty()) return {};
        if (text.empty()) text = fmt::format("{}\tempty\n", event.first_sequence);
        json["kind"] = "write";
        json["time"] = time_text(event.wall_ns);
        json["ops"] = std::move(ops);
        break;
      case StreamEvent::Kind::kLoaded:
        if (options_.keyspace_id && *options_.keyspace_id != event.keyspace.id()) return {};
        text = fmt::format("{}\tloaded\t{}\n", event.first_sequence, event.keyspace.id());
        json["kind"] = "loaded";
        json["time"] = time_text(event.wall_ns);
        json["keyspace_id"] = event.keyspace.id();
        break;
      case StreamEvent::Kind::kLost:
        text = fmt::format("{}\tlost\t{}\t{}\n", event.first_sequence, event.last_sequence, event.cause);
        json["kind"] = "lost";
        json["last_sequence"] = event.last_sequence;
        json["cause"] = event.cause;
        ++lost_;
        break;
    }
    ++events_;
    if (!context_.json && !context_.ndjson) return write_out(text);
    const std::string_view before = context_.ndjson ? "" : events_ == 1 ? "\n" : ",\n";
    return write_out(fmt::format("{}{}{}", before, dump_json(json), context_.ndjson ? "\n" : ""));
  }

 private:
  [[nodiscard]] bool wanted(const StreamOp& op) const {
    if (options_.keyspace_id && *options_.keyspace_id != op.keyspace.id()) return false;
    if (!prefix_ || op.kind > StreamOp::Kind::kEraseRange) return true;
    if (op.kind != StreamOp::Kind::kEraseRange) return op.key.starts_with(*prefix_);
    const CursorOptions range = prefix_bounds(*prefix_);
    return (range.upper.empty() || op.key < range.upper) && (op.value.empty() || range.lower < op.value);
  }

  const Context& context_;
  const WatchOptions& options_;
  const std::optional<std::string> prefix_;
  std::uint64_t events_ = 0, lost_ = 0;
};

/// Until there is nothing more, or, with --follow or --for, until time is over.
Status print(const Next& next, const WatchOptions& options, EventPrinter& printer) {
  const bool waits = options.follow || options.time;
  const auto until = std::chrono::steady_clock::now() + options.time.value_or(0ms);
  while (!options.count || printer.events() < *options.count) {
    auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - std::chrono::steady_clock::now());
    if (!options.time) left = 1h;
    if (!waits) left = 0ns;
    const bool over = left <= 0ns;
    DARUMA_TRY_ASSIGN(const std::optional<StreamEvent> event, next(std::max(left, std::chrono::nanoseconds(0))));
    if (event) {
      DARUMA_TRY(printer.event(*event));
      if (waits) DARUMA_TRY(flush_out());
    } else if (over) {
      break;
    }
  }
  return {};
}

Result<std::optional<Sequence>> parse_from(Context& context, const std::string& from) {
  if (from == "oldest" || from == "now") return std::optional<Sequence>();
  Sequence sequence = 0;
  const auto [rest, error] = std::from_chars(from.data(), from.data() + from.size(), sequence);
  if (error == std::errc() && rest == from.data() + from.size()) return std::optional(sequence);
  return context.fail(kExitUsage, {Code::kInvalidArgument, "--from takes a number, 'oldest' or 'now'"});
}

Result<Outcome> watch(Context& context, WatchOptions options) {
  DARUMA_TRY_ASSIGN(const std::optional<Sequence> from, parse_from(context, options.from));
  std::optional<std::string> prefix;
  if (options.prefix) { DARUMA_TRY_ASSIGN(prefix, context.parse_key(*options.prefix)); }
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  Outcome outcome;
  outcome.streamed = true;
  EventPrinter printer(context, options, prefix);
  const bool beside = options.follow || options.time || !writer_of(files.directory()).empty();
  std::optional<Store::Opened> opened;  // before what reads from it
  std::optional<EventStream> stream;
  std::optional<LogFiles> log;
  std::optional<LogReader> reader;
  Next next;
  if (beside) {
    if (context.keyspace_given)
      return context.fail(kExitUsage, {Code::kInvalidArgument,
                                       "beside a writer, the names of keyspaces are not known",
                                       {},
                                       "--keyspace-id takes its number; kvctl watch tells it where it is named"});
    if (!files.store()) return Status(Code::kNotFound, "there is no log here", {.file = files.directory()});
    log.emplace(context, *files.store());
    DARUMA_TRY_ASSIGN(const LogNow now, log->look());
    Sequence oldest = now.durable + 1;
    for (const LiveSegment& segment : now.segments) oldest = std::min<Sequence>(oldest, segment.start_sequence);
    const Sequence begin = from ? std::max<Sequence>(*from, 1) : options.from == "now" ? now.durable + 1 : oldest;
    reader.emplace(
        files.storage(), files.directory(), *files.store(), [&]() { return log->look(); }, begin);
    DARUMA_TRY(reader->begin());
    next = [&](std::chrono::nanoseconds left) -> Result<std::optional<StreamEvent>> {
      for (;;) {
        DARUMA_TRY_ASSIGN(const std::optional<LogEntry> entry, reader->next());
        if (entry) return std::optional(Engine::told(*entry));
        if (left <= 0ns) return std::optional<StreamEvent>();
        const auto slice = std::min<std::chrono::nanoseconds>(left, 50ms);
        std::this_thread::sleep_for(slice);
        left -= slice;
      }
    };
  } else {
    DARUMA_TRY_ASSIGN(opened, context.open_for_reading());
    const Store& store = opened->store;
    if (context.keyspace_given) {
      DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(store));
      options.keyspace_id = keyspace.id();
    }
    Result<EventStream> begun = store.stream(from.value_or(options.from == "now" ? store.stats().sequence + 1 : 1));
    if (!from && begun.status().is(Code::kNotFound)) begun = store.stream(*begun.status().where().sequence);
    DARUMA_TRY_ASSIGN(stream, std::move(begun));
    next = [&](std::chrono::nanoseconds left) { return stream->next(left); };
  }
  Status status = printer.begin();
  if (status.ok()) status = print(next, options, printer);
  if (const Status ended = printer.end(); status.ok()) status = ended;
  const Sequence position = reader ? reader->position() : stream->position();
  outcome.json["count"] = printer.events();
  outcome.json["position"] = position;
  outcome.notes.push_back(fmt::format("the next is event {}: kvctl watch --from {}", position, position));
  if (opened && status.ok() && !options.count && position <= opened->store.view().sequence())
    outcome.notes.push_back(fmt::format("events {} to {} are not proven durable: the next start to write makes them so",
                                        position, opened->store.view().sequence()));
  if (printer.lost() > 0) outcome.exit = kExitLoss;
  if (status.is(Code::kAborted)) outcome.exit = kExitPipe;
  outcome.error = std::move(status);
  return outcome;
}

}  // namespace

void register_watch(CLI::App& app, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = add_command(app, context, "watch", "Prints the events of the log as they become durable",
                                  [options](Context& c) { return watch(c, *options); });
  command->add_option("--from", options->from, "A sequence, oldest (default) or now")->type_name("SEQ");
  command->add_option("--keyspace-id", options->keyspace_id, "Only this keyspace; -k NAME where nobody writes");
  command->add_option("--prefix", options->prefix, "Only keys that begin with this")->type_name("KEY");
  command->add_option("--count", options->count, "Stop after so many events");
  add_duration(*command, "--for", "Wait for newer events so long",
               [options](std::chrono::milliseconds time) { options->time = time; });
  command->add_flag("--follow", options->follow, "Wait for newer events until stopped");
  command->footer(
      "Examples:\n  kvctl -d orders watch --ndjson --from 120\n  kvctl -d orders watch --from now --follow\n"
      "  kvctl -d orders -k users watch --prefix user/ --count 10\n"
      "Beside a writer no lock is taken: the log is read up to what it says is durable, 50 ms behind at most.\n"
      "Exit code 1: the log no longer holds the event asked for (the error names the oldest); 5: events are lost.");
}

}  // namespace daruma::kvctl
