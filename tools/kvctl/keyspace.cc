// SPDX-License-Identifier: Apache-2.0
// keyspace ls|create|drop|rename|stat, checkpoint, compact, trim, version.
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "kvctl/command.h"

namespace daruma::kvctl {

namespace {

std::string shown(const std::string& name) { return encode(Encoding::kEscaped, name); }

Result<Outcome> list(Context& context) {
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  Outcome outcome;
  outcome.json["keyspaces"] = Json::array();
  for (const KeyspaceInfo& info : opened.store.keyspaces()) {
    Json entry = Json::object();
    Context::put_bytes(entry, "name", info.name, std::nullopt);
    entry["id"] = info.keyspace.id();
    outcome.json["keyspaces"].push_back(std::move(entry));
    outcome.text += shown(info.name) + "\n";
  }
  return outcome;
}

Result<Outcome> create(Context& context, const std::string& name) {
  Outcome outcome;
  Context::put_bytes(outcome.json, "name", name, std::nullopt);
  if (context.dry_run) {
    outcome.text = fmt::format("would create keyspace {}\n", shown(name));
    return outcome;
  }
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(true));
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, opened.store.create_keyspace(name));
  outcome.json["id"] = keyspace.id();
  if (!context.quiet) outcome.text = fmt::format("created keyspace {}\n", shown(name));
  return outcome;
}

Result<Outcome> drop(Context& context, const std::string& name) {
  DARUMA_TRY(context.confirm(fmt::format("drop keyspace {} with all that is in it", shown(name))));
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store, name));
  if (!context.dry_run) DARUMA_TRY(opened.store.drop_keyspace(keyspace));
  Outcome outcome;
  Context::put_bytes(outcome.json, "name", name, std::nullopt);
  outcome.json["id"] = keyspace.id();
  if (!context.quiet) {
    outcome.text = fmt::format("{} keyspace {}\n", context.dry_run ? "would drop" : "dropped", shown(name));
  }
  return outcome;
}

Result<Outcome> rename(Context& context, const std::string& from, const std::string& to) {
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store, from));
  if (context.dry_run) {
    if (opened.store.keyspace(to).ok()) return Status(Code::kExists, "there is a keyspace of the new name already");
  } else {
    DARUMA_TRY(opened.store.rename_keyspace(keyspace, to));
  }
  Outcome outcome;
  Context::put_bytes(outcome.json, "from", from, std::nullopt);
  Context::put_bytes(outcome.json, "to", to, std::nullopt);
  outcome.json["id"] = keyspace.id();
  if (!context.quiet) {
    outcome.text = fmt::format("{} {} to {}\n", context.dry_run ? "would rename" : "renamed", shown(from), shown(to));
  }
  return outcome;
}

Result<Outcome> stat(Context& context, const std::vector<std::string>& names) {
  DARUMA_TRY_ASSIGN(const Store::Opened opened, context.open_for_reading());
  std::vector<KeyspaceInfo> wanted;
  for (const std::string& name : names) {
    DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store, name));
    wanted.push_back({keyspace, name});
  }
  if (names.empty()) wanted = opened.store.keyspaces();
  Outcome outcome;
  outcome.json["keyspaces"] = Json::array();
  std::vector<std::vector<std::string>> rows{
      {"keyspace", "id", "in memory", "bytes", "in runs", "tombstones", "runs", "bytes", "runs a level", "damage"}};
  for (const KeyspaceInfo& info : wanted) {
    DARUMA_TRY_ASSIGN(const KeyspaceStats stats, opened.store.keyspace_stats(info.keyspace));
    Json entry = Json::object();
    Context::put_bytes(entry, "name", info.name, std::nullopt);
    entry["id"] = info.keyspace.id();
    entry["memtable_entries"] = stats.memtable_entries;
    entry["memtable_bytes"] = stats.memtable_bytes;
    entry["entries"] = stats.entries;
    entry["tombstones"] = stats.tombstones;
    entry["runs"] = stats.runs;
    entry["run_bytes"] = stats.run_bytes;
    entry["runs_per_level"] = stats.runs_per_level;
    entry["damage"] = stats.damage;
    outcome.json["keyspaces"].push_back(std::move(entry));
    rows.push_back({shown(info.name), std::to_string(info.keyspace.id()), count_text(stats.memtable_entries),
                    bytes_text(stats.memtable_bytes), count_text(stats.entries), count_text(stats.tombstones),
                    count_text(stats.runs), bytes_text(stats.run_bytes),
                    fmt::format("{}", fmt::join(stats.runs_per_level, " ")), count_text(stats.damage)});
  }
  outcome.text = table_text(context, rows, {1, 2, 3, 4, 5, 6, 7, 9});
  return outcome;
}

Result<Outcome> compact(Context& context) {
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  std::vector<KeyspaceInfo> wanted;
  if (context.keyspace_given) {
    DARUMA_TRY_ASSIGN(const Keyspace keyspace, context.find_keyspace(opened.store));
    wanted.push_back({keyspace, context.keyspace});
  } else {
    wanted = opened.store.keyspaces();
  }
  Outcome outcome;
  outcome.json["keyspaces"] = Json::array();
  Progress progress(context, "compacting");
  std::uint64_t done = 0;
  for (const KeyspaceInfo& info : wanted) {
    progress.at(done++, wanted.size(), "keyspaces");
    DARUMA_TRY_ASSIGN(const KeyspaceStats before, opened.store.keyspace_stats(info.keyspace));
    if (!context.dry_run) DARUMA_TRY(opened.store.compact(info.keyspace));
    DARUMA_TRY_ASSIGN(const KeyspaceStats after, opened.store.keyspace_stats(info.keyspace));
    Json entry = Json::object();
    Context::put_bytes(entry, "name", info.name, std::nullopt);
    entry["runs_before"] = before.runs;
    entry["run_bytes_before"] = before.run_bytes;
    entry["runs"] = after.runs;
    entry["run_bytes"] = after.run_bytes;
    outcome.json["keyspaces"].push_back(std::move(entry));
    if (context.dry_run) {
      outcome.text +=
          fmt::format("would compact {}: {} runs, {}\n", shown(info.name), before.runs, bytes_text(before.run_bytes));
    } else if (!context.quiet) {
      outcome.text += fmt::format("{}: {} in {} runs, was {} in {}\n", shown(info.name), bytes_text(after.run_bytes),
                                  after.runs, bytes_text(before.run_bytes), before.runs);
    }
  }
  progress.clear();
  return outcome;
}

std::uint64_t bytes_on_disk(const std::string& directory) {
  std::uint64_t bytes = 0;
  std::error_code gone;  // files come and go
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, gone)) {
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) == 0) bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

Result<Outcome> trim(Context& context) {
  DARUMA_TRY(context.check_directory());
  DARUMA_TRY(context.confirm("give up the history, and the older snapshot that a lost run would be rebuilt from"));
  Outcome outcome;
  const std::uint64_t before = bytes_on_disk(context.directory);
  outcome.json["bytes_before"] = before;
  if (context.dry_run) {
    outcome.text = fmt::format("would give up what the newest snapshot does not need, of {}\n", bytes_text(before));
    return outcome;
  }
  DARUMA_TRY_ASSIGN(Store::Opened opened, context.open_for_writing(false));
  DARUMA_TRY(opened.store.trim());
  const std::uint64_t after = bytes_on_disk(context.directory);
  outcome.json["bytes"] = after;
  if (!context.quiet) outcome.text = fmt::format("{}, was {}\n", bytes_text(after), bytes_text(before));
  return outcome;
}

}  // namespace

Result<Outcome> checkpoint_outcome(Context& context) {
  DARUMA_TRY_ASSIGN(Store::Opened opened,
                    context.dry_run ? context.open_for_reading() : context.open_for_writing(false));
  const StoreStats before = opened.store.stats();
  if (!context.dry_run) DARUMA_TRY(opened.store.checkpoint());
  const StoreStats after = opened.store.stats();
  Outcome outcome;
  outcome.json["snapshot_sequence"] = after.snapshot_sequence;
  outcome.json["sequence"] = after.sequence;
  outcome.json["runs"] = after.runs;
  outcome.json["run_bytes"] = after.run_bytes;
  outcome.json["log_bytes_before"] = before.log_bytes;
  outcome.json["log_bytes"] = after.log_bytes;
  if (context.dry_run) {
    outcome.text = fmt::format("would write {} of memtables into runs, up to sequence {}\n",
                               bytes_text(before.memtable_bytes), before.sequence);
  } else if (!context.quiet) {
    outcome.text = fmt::format("snapshot at sequence {}, {} runs, {}\n", after.snapshot_sequence,
                               count_text(after.runs), bytes_text(after.run_bytes));
  }
  return outcome;
}

Result<Outcome> version_outcome(Context&) {
  Outcome outcome;
#ifdef DARUMA_HAVE_URING
  constexpr bool kUring = true;
#else
  constexpr bool kUring = false;
#endif
#ifdef __clang__
  const std::string compiler = fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  const std::string compiler = fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
  outcome.json["version"] = DARUMA_VERSION;
  outcome.json["features"] = {{"io_uring", kUring}};
  outcome.json["compiler"] = compiler;
  outcome.json["limits"] = {{"key_bytes", kMaxKeyBytes},
                            {"value_bytes", kMaxValueBytes},
                            {"event_bytes", kMaxEventBytes},
                            {"keyspace_name_bytes", kMaxKeyspaceNameBytes}};
  outcome.text = fmt::format("kvctl {} ({}{})\n", DARUMA_VERSION, compiler, kUring ? ", io_uring" : "");
  return outcome;
}

void register_keyspace(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "keyspace", "Lists and changes keyspaces");
  add_command(*group, context, "ls", "Their names", list);

  auto name = std::make_shared<std::string>();
  CLI::App* command = add_command(*group, context, "create", "Makes one, and the store when there is none",
                                  [name](Context& c) { return create(c, *name); });
  command->add_option("NAME", *name, "Its name")->required();

  name = std::make_shared<std::string>();
  command = add_command(*group, context, "drop", "Drops one with all that is in it; asks, or takes --yes",
                        [name](Context& c) { return drop(c, *name); });
  command->add_option("NAME", *name, "Its name")->required();

  name = std::make_shared<std::string>();
  auto to = std::make_shared<std::string>();
  command = add_command(*group, context, "rename", "Gives one another name",
                        [name, to](Context& c) { return rename(c, *name, *to); });
  command->add_option("NAME", *name, "Its name")->required();
  command->add_option("NEW", *to, "Its new name")->required();

  auto names = std::make_shared<std::vector<std::string>>();
  command = add_command(*group, context, "stat", "Entries, bytes and runs; all keyspaces, or those named",
                        [names](Context& c) { return stat(c, *names); });
  command->add_option("NAME", *names, "Which");

  add_command(app, context, "checkpoint", "Writes everything into runs and a snapshot; the next start replays nothing",
              checkpoint_outcome);
  add_command(app, context, "compact", "Merges the runs of the keyspace named by -k, or of all", compact);
  add_command(app, context, "trim", "Gives back what the newest snapshot does not need; asks, or takes --yes", trim);
  add_command(app, context, "version", "Version, features, compiler and limits", version_outcome);
}

}  // namespace daruma::kvctl
