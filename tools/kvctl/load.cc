// SPDX-License-Identifier: Apache-2.0
//
// load: entries from text. What must stay true: a batch applies whole or not at all; an error names the line and how
// many entries before it are in the store; success means that all of them survive what --durability says.
#include <fmt/format.h>

#include <map>
#include <utility>

#include "kvctl/command.h"
#include "kvctl/rows.h"

namespace daruma::kvctl {

namespace {

/// Large enough to share one write of the device among many entries, small enough to keep the log's ring flowing.
constexpr std::size_t kBatchBytes = 1 << 20;

struct LoadOptions {
  std::string file = "-";
  std::string format = "auto";
  bool create = false;
  bool atomic = false;
  bool sorted = false;
  std::uint64_t batch = 1000;
};

class Loader {
 public:
  Loader(Context& context, const LoadOptions& options) : context_(context), options_(options) {}

  Status run(LineReader& lines) {
    DARUMA_TRY_ASSIGN(const auto rows,
                      open_rows(lines, *parse_row_format(options_.format), context_.key_format, context_.value_format));
    if (!context_.dry_run || !options_.create) {
      // Much to load asks for the segments of a store at work; see open_for_writing.
      constexpr std::uint64_t kMuch = 4 << 20;
      const bool much = lines.size() == 0 || lines.size() > kMuch;
      Options options;
      options.create_if_missing = options_.create;
      DARUMA_TRY_ASSIGN(Store::Opened opened, context_.dry_run ? context_.open_for_reading()
                                              : much           ? context_.open(std::move(options))
                                                               : context_.open_for_writing(options_.create));
      store_.emplace(std::move(opened.store));
      // Even without entries: a load into a keyspace that is not there is a mistake.
      if (context_.keyspace_given || options_.file == "-") DARUMA_TRY(keyspace(std::nullopt, lines).status());
    }
    Progress progress(context_, "loading");
    if (options_.sorted && !context_.dry_run) return load_sorted(*rows, lines, progress);
    for (;;) {
      DARUMA_TRY_ASSIGN(const std::optional<Keyspace> into, next(*rows, lines, progress));
      if (!into) break;
      if (options_.atomic && batch_.bytes() + row_.key.size() + row_.value.size() > kMaxEventBytes) {
        return lines.error(fmt::format("--atomic takes at most {} bytes", kMaxEventBytes));
      }
      if (!context_.dry_run) {
        batch_.put(*into, row_.key, row_.value);
        if (!options_.atomic && (batch_.size() >= options_.batch || batch_.bytes() >= kBatchBytes))
          DARUMA_TRY(commit());
      }
    }
    return commit();
  }

  /// Waits for what `run` wrote, whether it came to its end or not.
  Status settle() {
    if (!store_ || written_ == 0 || context_.durability != Durability::kPower) return {};
    return store_->sync(sequence_);
  }

  [[nodiscard]] std::uint64_t read() const { return read_; }
  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  /// The next entry into `row_`, and where it goes; nothing: there is none left.
  Result<std::optional<Keyspace>> next(RowReader& rows, LineReader& lines, Progress& progress) {
    DARUMA_TRY_ASSIGN(std::optional<Row> row, rows.next());
    if (!row) return std::optional<Keyspace>();
    row_ = *std::move(row);
    if (row_.key.size() > kMaxKeyBytes) return lines.error(fmt::format("the key has over {} bytes", kMaxKeyBytes));
    if (row_.value.size() > kMaxValueBytes)
      return lines.error(fmt::format("the value has over {} bytes", kMaxValueBytes));
    DARUMA_TRY_ASSIGN(const Keyspace into, keyspace(row_.keyspace, lines));
    if (++read_ % 256 == 0) progress.at(lines.bytes(), lines.size());
    return std::optional(into);
  }

  Status load_sorted(RowReader& rows, LineReader& lines, Progress& progress) {
    DARUMA_TRY_ASSIGN(std::optional<Keyspace> into, next(rows, lines, progress));
    if (!into) return {};
    const Keyspace first = *into;
    bool ahead = true;
    const auto source = [&](std::string_view& key, std::string_view& value) -> Result<bool> {
      if (!std::exchange(ahead, false)) { DARUMA_TRY_ASSIGN(into, next(rows, lines, progress)); }
      if (!into) return false;
      if (*into != first) return lines.error("--sorted takes the entries of one keyspace");
      key = row_.key;
      value = row_.value;
      return true;
    };
    DARUMA_TRY_ASSIGN(sequence_, store_->bulk_load(first, source));
    written_ = read_;
    return {};
  }

  Result<Keyspace> keyspace(const std::optional<std::string>& named, const LineReader& lines) {
    // -k wins over what the input names.
    const std::string& name = named && !context_.keyspace_given ? *named : context_.keyspace;
    const auto known = keyspaces_.find(name);
    if (known != keyspaces_.end()) return known->second;
    Keyspace found;  // a dry run that would create writes nowhere
    if (store_) {
      auto result = context_.find_or_create_keyspace(*store_, name, options_.create && !context_.dry_run);
      if (!result.ok()) {
        const Status why = result.status();
        if (lines.line() == 0 || !named) return why;
        return Status(why.code(), fmt::format("line {}: {}", lines.line(), why.message()), why.where(), why.hint());
      }
      found = *result;
    }
    keyspaces_.emplace(name, found);
    return found;
  }

  Status commit() {
    if (batch_.empty()) return {};
    DARUMA_TRY_ASSIGN(sequence_, store_->write_async(batch_));
    written_ += batch_.size();
    batch_.clear();
    return {};
  }

  Context& context_;
  const LoadOptions& options_;
  std::optional<Store> store_;
  std::map<std::string, Keyspace> keyspaces_;
  Row row_;
  Batch batch_;
  Sequence sequence_ = 0;
  std::uint64_t read_ = 0;
  std::uint64_t written_ = 0;
};

Result<Outcome> load(Context& context, const LoadOptions& options) {
  DARUMA_TRY_ASSIGN(const auto lines, LineReader::open(options.file));
  Loader loader(context, options);
  const Status status = loader.run(*lines);
  const Status settled = loader.settle();
  Outcome outcome;
  outcome.json["read"] = loader.read();
  outcome.json["loaded"] = loader.written();
  if (!settled.ok()) {
    outcome.error = settled;
  } else if (!status.ok()) {
    const std::string kept = loader.written() == 0
                                 ? "nothing was loaded"
                                 : fmt::format("the {} entries before that batch are loaded", loader.written());
    // Through the context, so that a missing keyspace keeps its exit code.
    if (loader.written() == 0 && !status.is(Code::kInvalidArgument)) return status;
    outcome.error = Status(status.code(), fmt::format("{}; {}", status.message(), kept), status.where(), status.hint());
    if (status.is(Code::kNotFound)) outcome.exit = kExitUsage;
  } else if (!context.quiet) {
    outcome.text = context.dry_run ? fmt::format("would load {} entries\n", count_text(loader.read()))
                                   : fmt::format("loaded {} entries\n", count_text(loader.written()));
  }
  return outcome;
}

}  // namespace

void register_load(CLI::App& app, Context& context) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* command = add_command(app, context, "load", "Writes the entries of a file or of stdin",
                                  [options](Context& c) { return load(c, *options); });
  command->add_option("FILE", options->file, "The file; - or nothing: stdin");
  command->add_option("--format", options->format, "auto (by the first line), ndjson, csv, mdb or ldb")
      ->check(CLI::IsMember({"auto", "ndjson", "csv", "mdb", "ldb"}));
  command->add_flag("--create", options->create, "Create the store and the keyspaces where they are not there");
  command->add_option("--batch", options->batch, "Entries that apply together")->check(CLI::Range(1, 1000000));
  CLI::Option* atomic = command->add_flag("--atomic", options->atomic, "All entries in one batch: all or none");
  command
      ->add_flag("--sorted", options->sorted, "They come sorted, each key once, into one keyspace: faster, all or none")
      ->excludes(atomic);
  command->footer(
      "Examples:\n  kvctl -d orders dump | kvctl -d copy load --create\n"
      "  mdb_dump old | kvctl -d new -k users load --create\n"
      "  ldb --db=old dump --hex | kvctl -d new load --create --format ldb\n"
      "Formats: ndjson {\"key\":…,\"value\":…} with key_hex, key_base64, key_escaped (value likewise) for other "
      "bytes;\n"
      "csv with a header key,value named the same way; the text of mdb_dump, db_dump and ldb dump --hex.");
}

}  // namespace daruma::kvctl
