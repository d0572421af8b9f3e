// SPDX-License-Identifier: Apache-2.0
//
// quarantine ls|show|export: the bytes that could not be used. damage ls|accept: the answers that are in doubt because
// of them. Only `damage accept` changes anything, and only it needs the lock.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "kvctl/inspect.h"
#include "recovery/quarantine.h"

namespace daruma::kvctl {

namespace {

std::string_view name(QuarantineEntry::Kept kept) {
  switch (kept) {
    case QuarantineEntry::Kept::kBytes: return "bytes";
    case QuarantineEntry::Kept::kExtentOnly: return "extent_only";
    case QuarantineEntry::Kept::kNowhere: return "nowhere";
  }
  return "nowhere";
}

std::string_view name(QuarantineEntry::Resolution resolution) {
  switch (resolution) {
    case QuarantineEntry::Resolution::kOpen: return "open";
    case QuarantineEntry::Resolution::kHealed: return "healed";
    case QuarantineEntry::Resolution::kAccepted: return "accepted";
    case QuarantineEntry::Resolution::kOverwritten: return "overwritten";
  }
  return "open";
}

std::string events_text(Sequence first, Sequence last) {
  return first == 0 ? "-" : last == 0 ? fmt::format("{}-?", first) : fmt::format("{}-{}", first, last);
}

Json entry_json(const QuarantineEntry& entry) {
  Json json = Json::object();
  json["id"] = entry.id;
  json["case"] = entry.case_name;
  Context::put_bytes(json, "file", entry.file, std::nullopt);
  json["offset"] = entry.offset;
  json["bytes"] = entry.bytes;
  json["content_hash"] = fmt::format("{:016x}", entry.content_hash);
  json["first_sequence"] = entry.first_sequence;
  json["last_sequence"] = entry.last_sequence;
  json["verdict"] = entry.verdict;
  json["proof"] = entry.proof;
  json["time"] = time_text(entry.wall_ns);
  json["kept"] = name(entry.kept);
  json["resolution"] = name(entry.resolution);
  return json;
}

/// Without a store id no entry of the ledger can be verified, so there is none to show.
Result<Quarantine> open_quarantine(const StoreFiles& files) {
  if (!files.store()) {
    return Status(Code::kCorruption,
                  "no manifest, segment or run tells the store's id, so the ledger cannot be verified",
                  {.file = files.path("quarantine/ledger")});
  }
  return Quarantine(files.storage(), files.path("quarantine"), *files.store());
}

Result<Outcome> list(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const Quarantine quarantine, open_quarantine(files));
  Outcome outcome;
  outcome.json["entries"] = Json::array();
  std::vector<std::vector<std::string>> rows{
      {"id", "case", "where", "bytes", "events", "verdict", "kept", "state", "time"}};
  for (const QuarantineEntry& entry : quarantine.list()) {
    outcome.json["entries"].push_back(entry_json(entry));
    rows.push_back({entry.id, encode(Encoding::kEscaped, entry.case_name),
                    fmt::format("{}:{}", encode(Encoding::kEscaped, entry.file), entry.offset), bytes_text(entry.bytes),
                    events_text(entry.first_sequence, entry.last_sequence), encode(Encoding::kEscaped, entry.verdict),
                    std::string(name(entry.kept)), std::string(name(entry.resolution)), time_text(entry.wall_ns)});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {3, 4});
  const std::vector<Problem> problems = quarantine_problems(files, false);
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

Status no_entry(const std::string& id) {
  return {Code::kNotFound,
          fmt::format("there is no quarantine entry {}", encode(Encoding::kEscaped, id)),
          {},
          "kvctl quarantine ls shows what is there"};
}

Result<Outcome> show(Context& context, const std::string& id, std::uint64_t shown_bytes) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const Quarantine quarantine, open_quarantine(files));
  const QuarantineEntry* entry = quarantine.find(id);
  if (entry == nullptr) return no_entry(id);
  Outcome outcome;
  outcome.json = entry_json(*entry);
  outcome.text = fmt::format(
      "entry     {}\ncase      {}\nwhere     {}:{}+{}\nevents    {}\nverdict   {}, proof {}\nset aside {}\nkept      "
      "{}\n"
      "state     {}\n",
      entry->id, encode(Encoding::kEscaped, entry->case_name), encode(Encoding::kEscaped, entry->file), entry->offset,
      entry->bytes, events_text(entry->first_sequence, entry->last_sequence),
      encode(Encoding::kEscaped, entry->verdict),
      entry->proof.empty() ? "none" : encode(Encoding::kEscaped, entry->proof), time_text(entry->wall_ns),
      name(entry->kept), name(entry->resolution));
  if (entry->kept != QuarantineEntry::Kept::kBytes) return outcome;
  auto bytes = quarantine.read(id);
  if (!bytes.ok()) {
    outcome.error = bytes.status();
    return outcome;
  }
  const std::string_view head = std::string_view(*bytes).substr(0, shown_bytes);
  outcome.json["head_hex"] = to_hex(head);
  outcome.text += "\n" + hex_dump(head, entry->offset);
  if (head.size() < bytes->size()) {
    outcome.text += fmt::format("… {} more; --bytes N shows them, kvctl quarantine export {} FILE writes all\n",
                                bytes_text(bytes->size() - head.size()), id);
  }
  return outcome;
}

Result<Outcome> export_to(Context& context, const std::string& id, const std::string& file) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  DARUMA_TRY_ASSIGN(const Quarantine quarantine, open_quarantine(files));
  const QuarantineEntry* entry = quarantine.find(id);
  if (entry == nullptr) return no_entry(id);
  Outcome outcome;
  if (file == "-" && !context.json) {
    DARUMA_TRY_ASSIGN(const std::string bytes, quarantine.read(id));
    outcome.streamed = true;
    outcome.error = write_out(bytes);
    return outcome;
  }
  if (file == "-")
    return context.fail(kExitUsage, {Code::kInvalidArgument, "bytes on stdout are no JSON: name a file"});
  outcome.json["id"] = id;
  Context::put_bytes(outcome.json, "file", file, std::nullopt);
  outcome.json["bytes"] = entry->bytes;
  if (context.dry_run) {
    DARUMA_TRY(quarantine.read(id).status());
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0) return Status(Code::kExists, "there is something already", {.file = file});
  } else {
    DARUMA_TRY(quarantine.export_to(id, file));
  }
  if (!context.quiet) {
    outcome.text =
        fmt::format("{} {} to {}\n", context.dry_run ? "would write" : "wrote", bytes_text(entry->bytes), file);
  }
  return outcome;
}

std::string keys_text(const Context& context, const DamageEntry& entry) {
  switch (entry.keys) {
    case DamageEntry::Keys::kAll: return "all keys";
    case DamageEntry::Keys::kRange:
      return fmt::format("from {} {}", context.key_text(entry.begin),
                         entry.end ? "up to " + context.key_text(*entry.end) : "to the last");
    case DamageEntry::Keys::kHashes: break;
  }
  return fmt::format("{} key{} by hash", entry.hashes.size(), entry.hashes.size() == 1 ? "" : "s");
}

Json damage_json(const Context& context, const DamageEntry& entry) {
  Json json = Json::object();
  json["id"] = entry.id;
  json["accepted"] = entry.accepted;
  json["keyspace_id"] = entry.keyspace ? Json(*entry.keyspace) : Json();
  json["keys"] = entry.keys == DamageEntry::Keys::kAll     ? "all"
                 : entry.keys == DamageEntry::Keys::kRange ? "range"
                                                           : "hashes";
  if (entry.keys == DamageEntry::Keys::kRange) {
    context.put_key(json, entry.begin, "from");
    if (entry.end) context.put_key(json, *entry.end, "to");
  }
  if (entry.keys == DamageEntry::Keys::kHashes) {
    json["hashes"] = Json::array();
    for (const std::uint64_t hash : entry.hashes) json["hashes"].push_back(fmt::format("{:016x}", hash));
  }
  json["first_sequence"] = entry.sequence_lo;
  json["last_sequence"] = entry.sequence_hi;
  json["case"] = entry.cause;
  Context::put_bytes(json, "file", entry.file, std::nullopt);
  return json;
}

Result<Outcome> list_damage(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  Outcome outcome;
  outcome.json["entries"] = Json::array();
  std::vector<std::vector<std::string>> rows{{"id", "state", "keyspace", "keys", "events", "case", "file"}};
  for (const DamageEntry& entry : files.damage().entries()) {
    outcome.json["entries"].push_back(damage_json(context, entry));
    rows.push_back({std::to_string(entry.id), entry.accepted ? "accepted" : "blocks reads",
                    entry.keyspace ? std::to_string(*entry.keyspace) : "all", keys_text(context, entry),
                    events_text(entry.sequence_lo, entry.sequence_hi), encode(Encoding::kEscaped, entry.cause),
                    encode(Encoding::kEscaped, entry.file)});
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0});
  outcome.error = corruption(files.manifest_problems(), files.directory());
  return outcome;
}

struct AcceptOptions {
  std::vector<std::uint64_t> ids;
  bool all = false;
};

Result<Outcome> accept(Context& context, const AcceptOptions& options) {
  if (options.ids.empty() != options.all) {
    return context.fail(
        kExitUsage, {Code::kInvalidArgument, "name the losses to give up, or --all", {}, "kvctl damage ls shows them"});
  }
  std::vector<std::uint64_t> ids = options.ids;
  DARUMA_TRY(context.confirm(options.all ? "give up every loss: reads then answer from what is left"
                                         : fmt::format("give up {} {}: reads then answer from what is left",
                                                       ids.size() == 1 ? "loss" : "losses", fmt::join(ids, ", "))));
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  const std::vector<DamageInfo> damage = opened.store.damage();
  if (options.all) {
    for (const DamageInfo& info : damage) {
      if (!info.accepted) ids.push_back(info.id);
    }
  }
  for (const std::uint64_t id : ids) {  // all of them or none
    if (std::none_of(damage.begin(), damage.end(), [&](const DamageInfo& info) { return info.id == id; })) {
      return Status(Code::kNotFound, fmt::format("there is no loss {}", id), {}, "kvctl damage ls shows what is there");
    }
  }
  Outcome outcome;
  outcome.json["accepted"] = ids;
  for (const std::uint64_t id : ids) {
    if (!context.dry_run) DARUMA_TRY(opened.store.accept_damage(id));
    if (!context.quiet) outcome.text += fmt::format("{} loss {}\n", context.dry_run ? "would give up" : "gave up", id);
  }
  return outcome;
}

}  // namespace

std::vector<Problem> quarantine_problems(const StoreFiles& files, bool deep, VerifiedBytes* verified) {
  std::vector<Problem> problems;
  (void)files.list("quarantine", problems);
  auto quarantine = open_quarantine(files);
  if (!quarantine.ok()) {
    problems.push_back(files.problem("quarantine_ledger", "quarantine/ledger", quarantine.status()));
    return problems;
  }
  if (!quarantine->last_error().ok())
    problems.push_back(files.problem("quarantine_ledger", "quarantine/ledger", quarantine->last_error()));
  if (quarantine->damaged_sectors() > 0) {
    problems.push_back(
        {.what = "quarantine_ledger",
         .verdict = "corrupt",
         .file = "quarantine/ledger",
         .offset = 0,
         .detail = fmt::format("{} sectors hold no entry; each entry stands twice", quarantine->damaged_sectors())});
  }
  for (const QuarantineEntry& entry : quarantine->list()) {
    if (!deep || entry.kept != QuarantineEntry::Kept::kBytes) continue;
    const std::string file = "quarantine/" + entry.id + ".bytes";
    const auto bytes = quarantine->read(entry.id);
    if (verified != nullptr) {
      ++verified->files;
      verified->bytes += bytes.ok() ? bytes->size() : 0;
    }
    if (!bytes.ok()) {
      Problem p = files.problem("quarantine_bytes", file, bytes.status());
      if (!p.offset) p.offset = 0;
      problems.push_back(std::move(p));
    }
  }
  return problems;
}

void register_quarantine(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "quarantine", "The bytes that recovery could not use and kept");
  add_command(*group, context, "ls", "What was set aside, from where, and why", list)
      ->footer("Example:\n  kvctl -d orders quarantine ls");
  auto id = std::make_shared<std::string>();
  auto bytes = std::make_shared<std::uint64_t>(512);
  CLI::App* command = add_command(*group, context, "show", "One entry and the beginning of its bytes",
                                  [id, bytes](Context& c) { return show(c, *id, *bytes); });
  command->add_option("ID", *id, "Its id")->required();
  command->add_option("--bytes", *bytes, "How many of its bytes to show")->type_name("N");
  command->footer("Example:\n  kvctl -d orders quarantine show q-0123456789abcdef --bytes 64");
  id = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  command = add_command(*group, context, "export", "Writes the bytes of an entry to a new file, or to stdout (-)",
                        [id, file](Context& c) { return export_to(c, *id, *file); });
  command->add_option("ID", *id, "Its id")->required();
  command->add_option("FILE", *file, "The file, which must not be there; -: stdout")->required();
  command->footer("Example:\n  kvctl -d orders quarantine export q-0123456789abcdef frame.bin");

  group = add_group(app, "damage", "Acknowledged data that is lost, and the keys whose answers are in doubt");
  add_command(*group, context, "ls", "What is lost", list_damage)->footer("Example:\n  kvctl -d orders damage ls");
  auto options = std::make_shared<AcceptOptions>();
  command =
      add_command(*group, context, "accept", "Gives losses up: reads answer from what is left. Asks, or takes --yes",
                  [options](Context& c) { return accept(c, *options); });
  command->add_option("ID", options->ids, "Which");
  command->add_flag("--all", options->all, "Every one");
  command->footer("Example:\n  kvctl -d orders damage accept 1 --yes");
}

}  // namespace daruma::kvctl
