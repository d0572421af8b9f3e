// SPDX-License-Identifier: Apache-2.0
//
// scan, count, dump: walking a keyspace. What must stay true: a walk that a damaged range stops says so in its exit
// code and in its output; a dump that is not whole never gets its name.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kvctl/bounds.h"
#include "kvctl/command.h"
#include "kvctl/rows.h"

namespace daruma::kvctl {

namespace {

struct WalkOptions {
  BoundOptions bounds;
  std::optional<std::uint64_t> limit;
  bool reverse = false;
};

struct Walked {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  ///< keys and values
};

template <typename Visit>
Status walk(const Store& store, Keyspace keyspace, const Bounds& bounds, const WalkOptions& options, Walked& walked,
            const Visit& visit) {
  if (bounds.empty()) return {};
  DARUMA_TRY_ASSIGN(Cursor cursor, store.cursor(keyspace, {.lower = bounds.lower, .upper = bounds.upper, .view = {}}));
  const std::uint64_t limit = options.limit.value_or(UINT64_MAX);
  if (limit == 0) return {};
  options.reverse ? cursor.seek_last() : cursor.seek_first();
  while (cursor.valid()) {
    DARUMA_TRY(visit(cursor.key(), cursor.value()));
    walked.bytes += cursor.key().size() + cursor.value().size();
    if (++walked.entries == limit) return {};
    options.reverse ? cursor.prev() : cursor.next();
  }
  return cursor.status();
}

/// The outcome of a walk that has printed: a reader that left early (kvctl scan | head) has what it wanted.
Outcome streamed(const Walked& walked, Status status) {
  Outcome outcome;
  outcome.streamed = true;
  outcome.json["count"] = walked.entries;
  if (!status.ok()) outcome.json["complete"] = false;
  if (status.is(Code::kAborted)) outcome.exit = kExitPipe;
  outcome.error = std::move(status);
  return outcome;
}

struct ScanOptions {
  WalkOptions walk;
  bool keys_only = false;
};

/// Entries on stdout in the format asked for: members of one document, a document a line, or text.
class EntryPrinter {
 public:
  EntryPrinter(const Context& context, bool keys_only) : context_(context), keys_only_(keys_only) {}

  Status begin() {
    if (!context_.json) return {};
    const Json keyspace = context_.keyspace;
    return write_out(fmt::format("{{\"schema\":\"kvctl.{}/1\",\"keyspace\":{},\"entries\":[", context_.command,
                                 dump_json(keyspace)));
  }
  Status entry(std::string_view key, std::string_view value) {
    if (!context_.json && !context_.ndjson) {
      std::string line = context_.key_text(key);
      if (!keys_only_) line += "\t" + context_.value_text(value);
      return write_out(line + "\n");
    }
    Json object = Json::object();
    context_.put_key(object, key);
    if (!keys_only_) context_.put_value(object, value);
    const std::string_view before = context_.ndjson ? "" : first_ ? "\n" : ",\n";
    first_ = false;
    return write_out(fmt::format("{}{}{}", before, dump_json(object), context_.ndjson ? "\n" : ""));
  }
  Status end() { return context_.json ? write_out("]") : Status(); }

 private:
  const Context& context_;
  const bool keys_only_;
  bool first_ = true;
};

Result<Outcome> print_entries(Context& context, const Store& store, Keyspace keyspace, const Bounds& bounds,
                              const WalkOptions& options, bool keys_only) {
  EntryPrinter printer(context, keys_only);
  Walked walked;
  Status status = printer.begin();
  if (status.ok()) {
    status = walk(store, keyspace, bounds, options, walked,
                  [&](std::string_view key, std::string_view value) { return printer.entry(key, value); });
  }
  const Status ended = printer.end();
  return streamed(walked, status.ok() ? ended : status);
}

Result<Outcome> scan(Context& context, const ScanOptions& options) {
  DARUMA_TRY_ASSIGN(const Bounds bounds, make_bounds(context, options.walk.bounds));
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  return print_entries(context, opened.store, keyspace, bounds, options.walk, options.keys_only);
}

Result<Outcome> count(Context& context, const WalkOptions& options) {
  DARUMA_TRY_ASSIGN(const Bounds bounds, make_bounds(context, options.bounds));
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  Walked walked;
  Progress progress(context, "counting");
  const Status status =
      walk(opened.store, keyspace, bounds, options, walked, [&](std::string_view, std::string_view) -> Status {
        if (walked.entries % 4096 == 0) progress.at(walked.entries, 0, "entries");
        return {};
      });
  progress.clear();
  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  outcome.json["count"] = walked.entries;
  outcome.json["bytes"] = walked.bytes;
  if (!status.ok()) outcome.json["complete"] = false;
  if (status.ok()) outcome.text = fmt::format("{}\n", walked.entries);
  outcome.error = status;
  return outcome;
}

/// A file that gets its name when it is whole and on the device.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {}
  ~NewFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(partial_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  Status create() {
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd_ >= 0 ? Status() : failed(partial_);
  }
  Status write(std::string_view bytes) {
    buffer_ += bytes;
    return buffer_.size() < (64 << 10) ? Status() : flush();
  }
  Status finish() {
    DARUMA_TRY(flush());
    if (::fsync(fd_) != 0) return failed(partial_);
    if (::rename(partial_.c_str(), path_.c_str()) != 0) return failed(path_);
    ::close(fd_);
    fd_ = -1;
    // The name is durable once its directory is.
    const std::size_t slash = path_.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = directory >= 0 && ::fsync(directory) == 0;
    const Status status = synced ? Status() : failed(parent);
    if (directory >= 0) ::close(directory);
    return status;
  }

 private:
  static Status failed(const std::string& path) {
    return {errno == ENOSPC || errno == EDQUOT ? Code::kNoSpace : Code::kIoError,
            fmt::format("cannot write: {}", strerror(errno)),
            {.file = path}};
  }
  Status flush() {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      const ssize_t n = ::write(fd_, rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed(partial_);
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    buffer_.clear();
    return {};
  }

  std::string path_;
  std::string partial_;
  std::string buffer_;
  int fd_ = -1;
};

struct DumpOptions {
  std::string file = "-";
  std::string format = "ndjson";
  WalkOptions walk;
};

Result<Outcome> dump(Context& context, const DumpOptions& options) {
  const RowFormat format = context.ndjson ? RowFormat::kNdjson : *parse_row_format(options.format);
  DARUMA_TRY_ASSIGN(const Bounds bounds, make_bounds(context, options.walk.bounds));
  const bool to_stdout = options.file == "-";
  struct stat info {};
  if (!to_stdout && ::stat(options.file.c_str(), &info) == 0) {
    DARUMA_TRY(context.confirm("replace " + options.file));
  }
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  if (to_stdout && context.json) return print_entries(context, opened.store, keyspace, bounds, options.walk, false);

  NewFile file(options.file);
  if (!to_stdout && !context.dry_run) DARUMA_TRY(file.create());
  const auto write = [&](std::string_view bytes) -> Status {
    if (context.dry_run && !to_stdout) return {};
    return to_stdout ? write_out(bytes) : file.write(bytes);
  };
  RowWriter writer(context, format);
  Walked walked;
  Progress progress(context, "dumping");
  Status status = write(writer.head(context.keyspace));
  if (status.ok()) {
    status =
        walk(opened.store, keyspace, bounds, options.walk, walked, [&](std::string_view key, std::string_view value) {
          if (walked.entries % 1024 == 0) progress.at(walked.bytes, 0);
          return write(writer.row(key, value));
        });
  }
  // Without its end, mdb text does not load; the other formats have none.
  if (status.ok()) status = write(writer.tail());
  progress.clear();
  if (to_stdout) {
    Outcome outcome = streamed(walked, status);
    // ndjson says in its last line that it is not whole, so that no load takes it for all there is.
    if (!status.ok() && !status.is(Code::kAborted) && format == RowFormat::kNdjson && !context.ndjson) {
      (void)write_out(dump_json(Json{{"error", error_json(status, exit_code(status.code()))}}) + "\n");
    }
    return outcome;
  }
  DARUMA_TRY(status);
  if (!context.dry_run) DARUMA_TRY(file.finish());
  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  outcome.json["file"] = options.file;
  outcome.json["count"] = walked.entries;
  if (!context.quiet) {
    outcome.text = fmt::format("{} {} entries to {}\n", context.dry_run ? "would dump" : "dumped",
                               count_text(walked.entries), options.file);
  }
  return outcome;
}

void add_walk_options(CLI::App& command, WalkOptions& options) {
  options.bounds.add_to(command);
  command.add_option("--limit", options.limit, "At most this many entries")->type_name("N");
}

}  // namespace

void register_scan(CLI::App& app, Context& context) {
  auto scan_options = std::make_shared<ScanOptions>();
  CLI::App* command = add_command(app, context, "scan", "Prints entries in key order",
                                  [scan_options](Context& c) { return scan(c, *scan_options); });
  add_walk_options(*command, scan_options->walk);
  add_target(*command, context);
  command->add_flag("--reverse", scan_options->walk.reverse, "From the last key to the first");
  command->add_flag("--keys-only", scan_options->keys_only, "No values");
  command->footer(
      "Examples:\n  kvctl -d orders scan --prefix user/ --limit 10\n  kvctl -d orders scan --reverse --limit 1\n"
      "  kvctl -d orders scan --ndjson | jq .key\n"
      "Text is KEY, a tab, VALUE, both escaped unless a format is given; --json is one document, --ndjson one a line.");

  auto count_options = std::make_shared<WalkOptions>();
  command = add_command(app, context, "count", "Counts the keys of a keyspace or of a range",
                        [count_options](Context& c) { return count(c, *count_options); });
  count_options->bounds.add_to(*command);
  add_target(*command, context);

  auto dump_options = std::make_shared<DumpOptions>();
  command = add_command(app, context, "dump", "Writes a keyspace as text that load reads",
                        [dump_options](Context& c) { return dump(c, *dump_options); });
  command->add_option("FILE", dump_options->file, "The file; - or nothing: stdout");
  add_target(*command, context);
  command->add_option("--format", dump_options->format, "ndjson, csv, or mdb: the text of mdb_dump and db_dump")
      ->check(CLI::IsMember({"ndjson", "csv", "mdb"}));
  add_walk_options(*command, dump_options->walk);
  command->footer(
      "Examples:\n  kvctl -d orders dump orders.ndjson\n  kvctl -d orders -k users dump --format csv users.csv\n"
      "  kvctl -d orders dump --format mdb | mdb_load -T -f /dev/stdin -s default other\n"
      "A file gets its name when it is whole.");
}

}  // namespace daruma::kvctl
