// SPDX-License-Identifier: Apache-2.0
// put, get, del, exists, batch: single entries and atomic batches.
#include <fmt/format.h>
#include <unistd.h>

#include "kvctl/bounds.h"
#include "kvctl/command.h"
#include "kvctl/rows.h"

namespace daruma::kvctl {

namespace {

struct PutOptions {
  std::string key;
  std::optional<std::string> value;
  bool create = false;
  bool if_absent = false;
};

/// "-" or nothing: stdin, byte for byte; with a format of text, without the line end.
Result<std::string> value_argument(Context& context, const std::optional<std::string>& given) {
  if (given && *given != "-") return context.parse_value(*given);
  auto text = read_whole("-", std::size_t{6} * kMaxValueBytes);
  if (!text.ok() || !context.value_format || *context.value_format == Encoding::kUtf8) return text;
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  return context.parse_value(*text);
}

Result<Outcome> put(Context& context, const PutOptions& options) {
  DARUMA_TRY_ASSIGN(const std::string key, context.parse_key(options.key));
  DARUMA_TRY_ASSIGN(const std::string value, value_argument(context, options.value));
  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  context.put_key(outcome.json, key);
  outcome.json["value_bytes"] = value.size();
  if (key.size() > kMaxKeyBytes || value.size() > kMaxValueBytes) {
    return Status(Code::kInvalidArgument,
                  fmt::format("a key has at most {} bytes, a value at most {}", kMaxKeyBytes, kMaxValueBytes));
  }
  if (context.dry_run) {
    outcome.text = fmt::format("would put {} ({})\n", context.key_text(key), bytes_text(value.size()));
    if (options.create) return outcome;
    DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
    DARUMA_TRY(context.find_keyspace(opened.store).status());
    return outcome;
  }
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(options.create));
  DARUMA_TRY_ASSIGN(const Keyspace keyspace,
                    context.find_or_create_keyspace(opened.store, context.keyspace, options.create));
  if (options.if_absent) {
    // This process holds the store's lock: nobody writes between the look and the put.
    const auto there = opened.store.get_pinned(keyspace, key);
    if (there.ok()) return Status(Code::kExists, "the key is already there");
    if (!there.status().is(Code::kNotFound)) return there.status();
  }
  Batch batch;
  batch.put(keyspace, key, value);
  DARUMA_TRY_ASSIGN(const Sequence sequence, opened.store.write(batch, context.write_options()));
  outcome.json["sequence"] = sequence;
  return outcome;
}

struct GetOptions {
  std::vector<std::string> keys;
  bool raw = false;
};

Result<Outcome> get(Context& context, const GetOptions& options) {
  if (options.raw && (options.keys.size() != 1 || context.json || context.ndjson)) {
    return context.fail(kExitUsage, {Code::kInvalidArgument, "--raw writes the value of one key and no JSON"});
  }
  std::vector<std::string> keys;
  for (const std::string& text : options.keys) {
    DARUMA_TRY_ASSIGN(std::string key, context.parse_key(text));
    keys.push_back(std::move(key));
  }
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  const std::vector<std::string_view> wanted(keys.begin(), keys.end());
  const auto values = opened.store.multi_get(keyspace, wanted);

  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  outcome.json["entries"] = Json::array();
  // A value could drive the terminal it is shown on; in a pipe it is data.
  const Encoding shown = ::isatty(STDOUT_FILENO) == 1 || keys.size() > 1 ? Encoding::kEscaped : Encoding::kUtf8;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Json entry = Json::object();
    context.put_key(entry, keys[i]);
    entry["found"] = values[i].ok();
    if (values[i].ok()) {
      const std::string& value = values[i].value();
      context.put_value(entry, value);
      if (keys.size() > 1) outcome.text += context.key_text(keys[i]) + "\t";
      outcome.text += options.raw ? value : context.value_text(value, shown) + "\n";
    } else if (values[i].status().is(Code::kNotFound)) {
      if (!context.quiet) outcome.notes.push_back("no key " + context.key_text(keys[i]));
      outcome.exit = std::max<int>(outcome.exit, kExitNegative);
    } else {
      entry.erase("found");
      entry["error"] = error_json(values[i].status(), exit_code(values[i].status().code()));
      if (outcome.error.ok()) outcome.error = values[i].status();
    }
    outcome.json["entries"].push_back(std::move(entry));
  }
  if (!outcome.error.ok()) outcome.exit = exit_code(outcome.error.code());
  return outcome;
}

Result<Outcome> exists(Context& context, const std::string& text) {
  DARUMA_TRY_ASSIGN(const std::string key, context.parse_key(text));
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  const auto value = opened.store.get_pinned(keyspace, key);
  if (!value.ok() && !value.status().is(Code::kNotFound)) return value.status();
  Outcome outcome;
  context.put_key(outcome.json, key);
  outcome.json["exists"] = value.ok();
  if (value.ok()) outcome.json["value_bytes"] = value->view().size();
  if (!context.quiet) outcome.text = value.ok() ? "yes\n" : "no\n";
  outcome.exit = value.ok() ? kExitDone : kExitNegative;
  return outcome;
}

struct DelOptions {
  std::vector<std::string> keys;
  BoundOptions bounds;
};

Result<Outcome> del(Context& context, const DelOptions& options) {
  if (options.keys.empty() != options.bounds.given()) {
    return context.fail(kExitUsage,
                        {Code::kInvalidArgument, "del takes keys, or a range by --prefix, --from and --to"});
  }
  std::vector<std::string> keys;
  for (const std::string& text : options.keys) {
    DARUMA_TRY_ASSIGN(std::string key, context.parse_key(text));
    keys.push_back(std::move(key));
  }
  DARUMA_TRY_ASSIGN(const Bounds bounds, make_bounds(context, options.bounds));
  if (keys.empty()) DARUMA_TRY(context.confirm("delete every key of that range in keyspace " + context.keyspace));
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
  std::uint64_t there = 0;
  bool known = true;  // false: a damaged range hides how many there are; deleting them is a way out of that
  Batch batch;
  if (!keys.empty()) {
    for (const std::string& key : keys) {
      const auto value = opened.store.get_pinned(keyspace, key);
      there += value.ok() ? 1 : 0;
      known = known && (value.ok() || value.status().is(Code::kNotFound));
      batch.erase(keyspace, key);
    }
  } else if (!bounds.empty()) {
    DARUMA_TRY_ASSIGN(Cursor cursor,
                      opened.store.cursor(keyspace, {.lower = bounds.lower, .upper = bounds.upper, .view = {}}));
    for (cursor.seek_first(); cursor.valid(); cursor.next()) ++there;
    known = cursor.status().ok();
    batch.erase_range(keyspace, bounds.lower, bounds.upper);
  }
  Outcome outcome;
  outcome.json["keyspace"] = context.keyspace;
  outcome.json["keys"] = known ? Json(there) : Json(nullptr);
  outcome.text = fmt::format("{} {}\n", context.dry_run ? "would delete" : "deleted",
                             !known       ? "keys of a damaged range"
                             : there == 1 ? "1 key"
                                          : count_text(there) + " keys");
  if (context.quiet) outcome.text.clear();
  if (!context.dry_run && !batch.empty()) {
    DARUMA_TRY_ASSIGN(const Sequence sequence, opened.store.write(batch, context.write_options()));
    outcome.json["sequence"] = sequence;
  }
  return outcome;
}

// Lines of a batch. Text: OPERATION WORD WORD, words as --key-format and --value-format say (default escaped), in
// double quotes where they hold spaces or are empty. JSON: {"op":"put","key":…,"value":…}, "del" with key, "delrange"
// with from and to; "keyspace" where it is another one.
struct BatchLine {
  enum class Kind : std::uint8_t { kPut, kDel, kDelRange } kind = Kind::kPut;
  std::optional<std::string> keyspace{};
  std::string key{};
  std::string value{};  // or the end of the range
};

Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < line.size();) {
    if (line[i] == ' ' || line[i] == '\t') {
      ++i;
      continue;
    }
    const bool quoted = line[i] == '"';
    std::string word;
    for (i += quoted ? 1 : 0;; ++i) {
      if (i == line.size()) {
        if (quoted) return Status(Code::kInvalidArgument, "a quote is not closed");
        break;
      }
      if (quoted ? line[i] == '"' : line[i] == ' ' || line[i] == '\t') break;
      word.push_back(line[i]);
      if (line[i] == '\\' && i + 1 < line.size()) word.push_back(line[++i]);
    }
    if (quoted && ++i < line.size() && line[i] != ' ' && line[i] != '\t') {
      return Status(Code::kInvalidArgument, "no space after a closing quote");
    }
    words.push_back(std::move(word));
  }
  return words;
}

std::optional<BatchLine::Kind> parse_operation(std::string_view name) {
  if (name == "put") return BatchLine::Kind::kPut;
  if (name == "del") return BatchLine::Kind::kDel;
  if (name == "delrange") return BatchLine::Kind::kDelRange;
  return std::nullopt;
}

Result<BatchLine> parse_json_line(const Context& context, std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  if (object.is_discarded() || !object.is_object()) return Status(Code::kInvalidArgument, "not a JSON object");
  const auto op = object.find("op");
  const auto kind = op != object.end() && op->is_string() ? parse_operation(op->get<std::string>()) : std::nullopt;
  if (!kind) return Status(Code::kInvalidArgument, "\"op\" is put, del or delrange");
  BatchLine line{.kind = *kind};
  DARUMA_TRY_ASSIGN(line.keyspace, bytes_member(object, "keyspace", std::nullopt));
  const bool range = *kind == BatchLine::Kind::kDelRange;
  DARUMA_TRY_ASSIGN(auto key, bytes_member(object, range ? "from" : "key", context.key_format));
  if (!key) return Status(Code::kInvalidArgument, range ? "no member \"from\"" : "no member \"key\"");
  line.key = std::move(*key);
  if (*kind == BatchLine::Kind::kDel) return line;
  DARUMA_TRY_ASSIGN(auto second,
                    bytes_member(object, range ? "to" : "value", range ? context.key_format : context.value_format));
  if (!second) return Status(Code::kInvalidArgument, range ? "no member \"to\"" : "no member \"value\"");
  line.value = std::move(*second);
  return line;
}

Result<BatchLine> parse_text_line(const Context& context, std::string_view text) {
  DARUMA_TRY_ASSIGN(const std::vector<std::string> words, split_words(text));
  const auto kind = words.empty() ? std::nullopt : parse_operation(words[0]);
  if (!kind) return Status(Code::kInvalidArgument, "a line is put KEY VALUE, del KEY or delrange FROM TO");
  const std::size_t count = *kind == BatchLine::Kind::kDel ? 2 : 3;
  if (words.size() != count) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{} takes {} words, not {}", words[0], count - 1, words.size() - 1));
  }
  const Encoding as_key = context.key_format.value_or(Encoding::kEscaped);
  const bool value_is_key = *kind == BatchLine::Kind::kDelRange;
  BatchLine line{.kind = *kind};
  DARUMA_TRY_ASSIGN(line.key, decode(as_key, words[1]));
  if (count == 3) {
    const Encoding as = value_is_key ? as_key : context.value_format.value_or(Encoding::kEscaped);
    DARUMA_TRY_ASSIGN(line.value, decode(as, words[2]));
  }
  return line;
}

struct BatchOptions {
  std::string file = "-";
  bool create = false;
};

Result<Outcome> apply_batch(Context& context, const BatchOptions& options) {
  DARUMA_TRY_ASSIGN(const auto lines, LineReader::open(options.file));
  std::vector<BatchLine> operations;
  std::size_t bytes = 0;
  for (;;) {
    DARUMA_TRY_ASSIGN(const std::optional<std::string_view> text, lines->next());
    if (!text) break;
    const std::size_t first = text->find_first_not_of(" \t");
    if (first == std::string_view::npos || (*text)[first] == '#') continue;
    auto line = (*text)[first] == '{' ? parse_json_line(context, *text) : parse_text_line(context, *text);
    if (!line.ok()) return lines->error(line.status().message() + "; nothing was applied");
    bytes += line->key.size() + line->value.size();
    if (line->key.size() > kMaxKeyBytes) return lines->error("the key is too long; nothing was applied");
    if (bytes > kMaxEventBytes) {
      return lines->error(fmt::format("the batch is larger than {} bytes; nothing was applied", kMaxEventBytes));
    }
    operations.push_back(std::move(*line));
  }
  Outcome outcome;
  outcome.json["operations"] = operations.size();
  outcome.text =
      fmt::format("{} {} operations\n", context.dry_run ? "would apply" : "applied", count_text(operations.size()));
  if (context.quiet) outcome.text.clear();
  if (context.dry_run && options.create) return outcome;
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(options.create));
  Batch batch;
  for (const BatchLine& line : operations) {
    DARUMA_TRY_ASSIGN(
        const Keyspace keyspace,
        context.find_or_create_keyspace(opened.store, line.keyspace.value_or(context.keyspace), options.create));
    switch (line.kind) {
      case BatchLine::Kind::kPut: batch.put(keyspace, line.key, line.value); break;
      case BatchLine::Kind::kDel: batch.erase(keyspace, line.key); break;
      case BatchLine::Kind::kDelRange: batch.erase_range(keyspace, line.key, line.value); break;
    }
  }
  if (context.dry_run || batch.empty()) return outcome;
  DARUMA_TRY_ASSIGN(const Sequence sequence, opened.store.write(batch, context.write_options()));
  outcome.json["sequence"] = sequence;
  return outcome;
}

}  // namespace

void register_data(CLI::App& app, Context& context) {
  auto put_options = std::make_shared<PutOptions>();
  CLI::App* command =
      add_command(app, context, "put", "Writes one entry", [put_options](Context& c) { return put(c, *put_options); });
  command->add_option("KEY", put_options->key, "The key")->required();
  command->add_option("VALUE", put_options->value, "The value; - or nothing: stdin, byte for byte");
  command->add_flag("--create", put_options->create, "Create the store and the keyspace where they are not there");
  command->add_flag("--if-absent", put_options->if_absent, "Exit 10 and write nothing when the key is there");
  command->footer(
      "Examples:\n  kvctl -d orders put --create user/7 Ada\n  kvctl -d orders put photo - <photo.jpg\n"
      "  kvctl -d orders put --key-format hex 00ff --value-format base64 AAEC\n"
      "The keyspace is \"default\" unless -k names one.");

  auto get_options = std::make_shared<GetOptions>();
  command = add_command(app, context, "get", "Prints the values of keys; exit 1 when one is not there",
                        [get_options](Context& c) { return get(c, *get_options); });
  command->add_option("KEY", get_options->keys, "The keys")->required();
  add_target(*command, context);
  command->add_flag("--raw", get_options->raw, "The value of one key, byte for byte, without a line end");
  command->footer("Examples:\n  kvctl -d orders get user/7\n  kvctl -d orders get --raw photo >photo.jpg");

  auto key = std::make_shared<std::string>();
  command = add_command(app, context, "exists", "Says whether a key is there; exit 0 or 1",
                        [key](Context& c) { return exists(c, *key); });
  command->add_option("KEY", *key, "The key")->required();
  add_target(*command, context);

  auto del_options = std::make_shared<DelOptions>();
  command = add_command(app, context, "del", "Deletes keys, or a range of them",
                        [del_options](Context& c) { return del(c, *del_options); });
  command->add_option("KEY", del_options->keys, "The keys");
  del_options->bounds.add_to(*command);
  command->footer("Examples:\n  kvctl -d orders del user/7 user/8\n  kvctl -d orders del --prefix tmp/ --yes");

  auto batch_options = std::make_shared<BatchOptions>();
  command = add_command(app, context, "batch", "Applies the operations of a file or of stdin, all of them or none",
                        [batch_options](Context& c) { return apply_batch(c, *batch_options); });
  command->add_option("FILE", batch_options->file, "The file; - or nothing: stdin");
  command->add_flag("--create", batch_options->create, "Create the store and the keyspaces where they are not there");
  command->footer(
      "One operation a line, # begins a comment:\n  put KEY VALUE\n  del KEY\n  delrange FROM TO\n"
      "  {\"op\":\"put\",\"key\":\"a\",\"value_hex\":\"00ff\",\"keyspace\":\"users\"}\n"
      "Words are escaped text (\\xHH \\n \\\\ \\\") unless --key-format and --value-format say otherwise, in double\n"
      "quotes when they are empty or hold spaces.");
}

}  // namespace daruma::kvctl
