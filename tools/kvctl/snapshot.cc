// SPDX-License-Identifier: Apache-2.0
// snapshot ls|show|create: the generations of manifests. ls and show need no lock.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kvctl/inspect.h"
#include "snapshot/retention.h"

namespace daruma::kvctl {

namespace {

std::uint64_t run_bytes(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const PlacedRun& run : manifest.runs) bytes += run.info.file_bytes;
  return bytes;
}

/// "newest", "kept" (the next start may fall back on it), "old" (about to go), or why it cannot be used.
std::string standing(const Catalogue& catalogue, const Generation& generation) {
  if (!generation.rejected.ok()) return "rejected";
  std::size_t newer = 0;
  for (const Generation& other : catalogue.generations) {
    if (other.manifest && other.number > generation.number) ++newer;
  }
  return newer == 0 ? "newest" : newer < kGenerationsKept ? "kept" : "old";
}

Json generation_json(const Catalogue& catalogue, const Generation& g) {
  Json json = Json::object();
  json["number"] = g.number;
  json["file"] = std::string(kManifestDirectory) + "/" + g.name;
  json["file_bytes"] = g.file_bytes;
  json["standing"] = standing(catalogue, g);
  if (g.manifest) {
    json["sequence"] = g.manifest->sequence;
    json["durable_sequence"] = g.manifest->durable_sequence;
    json["created"] = time_text(g.manifest->created_wall_ns);
    json["runs"] = g.manifest->runs.size();
    json["run_bytes"] = run_bytes(*g.manifest);
  }
  if (!g.damaged.empty()) json["damaged_copy"] = g.damaged;
  if (!g.note.empty()) json["note"] = g.note;
  if (!g.rejected.ok()) json["rejected"] = g.rejected.message();
  return json;
}

Result<Outcome> list(Context& context) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  Outcome outcome;
  outcome.json["snapshots"] = Json::array();
  std::vector<std::vector<std::string>> rows{
      {"snapshot", "sequence", "durable", "runs", "bytes", "created", "standing"}};
  for (const Generation& g : files.catalogue().generations) {
    outcome.json["snapshots"].push_back(generation_json(files.catalogue(), g));
    std::string how = standing(files.catalogue(), g);
    if (!g.damaged.empty()) how += ", one copy is damaged";
    if (g.manifest) {
      rows.push_back({std::to_string(g.number), std::to_string(g.manifest->sequence),
                      std::to_string(g.manifest->durable_sequence), count_text(g.manifest->runs.size()),
                      bytes_text(run_bytes(*g.manifest)), time_text(g.manifest->created_wall_ns), how});
    } else {
      rows.push_back({std::to_string(g.number), "-", "-", "-", "-", "-", how});
    }
  }
  if (rows.size() > 1) outcome.text = table_text(context, rows, {0, 1, 2, 3, 4});
  const std::vector<Problem> problems = files.manifest_problems();
  tell_problems(context, problems, outcome);
  outcome.error = corruption(problems, files.directory());
  return outcome;
}

Result<Outcome> show(Context& context, std::optional<std::uint64_t> number) {
  DARUMA_TRY_ASSIGN(const StoreFiles files, StoreFiles::open(context, Locking::kNone));
  const Generation* found = nullptr;
  for (const Generation& g : files.catalogue().generations) {
    if (number ? g.number == *number : g.manifest.has_value()) {
      found = &g;
      break;
    }
  }
  if (found == nullptr) {
    return Status(Code::kNotFound, number ? fmt::format("there is no snapshot {}", *number) : "there is no snapshot",
                  {}, "kvctl snapshot ls shows what is there");
  }
  DARUMA_TRY(found->rejected);
  const Manifest& m = *found->manifest;
  Outcome outcome;
  outcome.json = generation_json(files.catalogue(), *found);
  outcome.json["store"] = store_id_text(m.store);
  outcome.json["previous"] = m.previous_number;
  outcome.json["next_run"] = m.next_file_number;
  outcome.json["next_segment"] = m.next_segment;
  outcome.json["options"] = m.options;
  outcome.json["placed_runs"] = Json::array();
  outcome.text = fmt::format(
      "snapshot   #{} ({}), file {}, {}\nstate      sequence {}, durable {}\ncreated    {}\nprevious   {}\n"
      "next       run {}, segment {}\n",
      m.number, standing(files.catalogue(), *found), found->name, bytes_text(found->file_bytes), m.sequence,
      m.durable_sequence, time_text(m.created_wall_ns),
      m.previous_number == 0 ? "none" : fmt::format("#{}", m.previous_number), m.next_file_number, m.next_segment);
  if (!m.options.empty()) outcome.text += fmt::format("options    {}\n", encode(Encoding::kEscaped, m.options));
  if (!found->damaged.empty()) outcome.text += "damaged    " + encode(Encoding::kEscaped, found->damaged) + "\n";
  if (!found->note.empty()) outcome.text += "note       " + encode(Encoding::kEscaped, found->note) + "\n";
  std::vector<std::vector<std::string>> rows{
      {"run", "keyspace", "level", "entries", "events", "bytes", "first key", "last key"}};
  std::vector<const PlacedRun*> runs;
  for (const PlacedRun& run : m.runs) runs.push_back(&run);
  std::sort(runs.begin(), runs.end(), [](const PlacedRun* a, const PlacedRun* b) {
    return std::tie(a->info.keyspace, a->level, a->info.smallest_key, a->info.number) <
           std::tie(b->info.keyspace, b->level, b->info.smallest_key, b->info.number);
  });
  for (const PlacedRun* run : runs) {
    Json entry = Json::object();
    entry["number"] = run->info.number;
    entry["keyspace_id"] = run->info.keyspace;
    entry["level"] = run->level;
    entry["entries"] = run->info.entries;
    entry["first_sequence"] = run->info.min_sequence;
    entry["last_sequence"] = run->info.max_sequence;
    entry["file_bytes"] = run->info.file_bytes;
    context.put_key(entry, run->info.smallest_key, "first_key");
    context.put_key(entry, run->info.largest_key, "last_key");
    outcome.json["placed_runs"].push_back(std::move(entry));
    rows.push_back({std::to_string(run->info.number), std::to_string(run->info.keyspace), std::to_string(run->level),
                    count_text(run->info.entries), fmt::format("{}-{}", run->info.min_sequence, run->info.max_sequence),
                    bytes_text(run->info.file_bytes), context.key_text(run->info.smallest_key),
                    context.key_text(run->info.largest_key)});
  }
  if (rows.size() > 1) outcome.text += "\n" + table_text(context, rows, {0, 1, 2, 3, 4, 5});
  return outcome;
}

}  // namespace

void register_snapshot(CLI::App& app, Context& context) {
  CLI::App* group = add_group(app, "snapshot", "The generations a start may begin from");
  add_command(*group, context, "ls", "All of them, newest first", list)
      ->footer("Example:\n  kvctl -d orders snapshot ls");
  auto number = std::make_shared<std::optional<std::uint64_t>>();
  CLI::App* command = add_command(*group, context, "show", "One with its runs; the newest when no number is given",
                                  [number](Context& c) { return show(c, *number); });
  command->add_option("N", *number, "Its number");
  command->footer("Example:\n  kvctl -d orders snapshot show 12");
  add_command(*group, context, "create", "The same as checkpoint: everything into runs, then a snapshot",
              checkpoint_outcome)
      ->footer("Example:\n  kvctl -d orders snapshot create");
}

}  // namespace daruma::kvctl
