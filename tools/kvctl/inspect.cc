// SPDX-License-Identifier: Apache-2.0
#include "kvctl/inspect.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "base/status_macros.h"
#include "io/posix_storage.h"
#include "recovery/history.h"
#include "recovery/playbook.h"
#include "snapshot/retention.h"

namespace daruma::kvctl {

namespace {

/// Places of a Status carry the whole path; people and scripts want it relative to the store.
std::string relative(const std::string& file, const std::string& directory) {
  return file.starts_with(directory + "/") ? file.substr(directory.size() + 1) : file;
}

Status at_file(const Status& status, const std::string& file) {
  return {status.code(), status.message(), {.file = file, .offset = status.where().offset}, status.hint()};
}

bool counts(const Problem& problem) { return problem.verdict == "corrupt" || problem.verdict == "unreadable"; }

}  // namespace

Json problem_json(const Problem& problem) {
  Json json = Json::object();
  json["what"] = problem.what;
  json["verdict"] = problem.verdict;
  Context::put_bytes(json, "file", problem.file, std::nullopt);
  if (problem.offset) json["offset"] = *problem.offset;
  if (problem.bytes > 0) json["bytes"] = problem.bytes;
  if (!problem.detail.empty()) json["detail"] = problem.detail;
  return json;
}

std::string problem_text(const Context& context, const Problem& problem) {
  std::string place = encode(Encoding::kEscaped, problem.file);
  if (problem.offset) place += fmt::format(":{}", *problem.offset);
  if (problem.bytes > 0) place += fmt::format("+{}", problem.bytes);
  const std::string_view style = counts(problem) ? "red" : "yellow";
  return fmt::format("{}  {}  {}{}{}\n", context.paint(style, problem.verdict), place, problem.what,
                     problem.detail.empty() ? "" : ": ", encode(Encoding::kEscaped, problem.detail));
}

void tell_problems(const Context& context, const std::vector<Problem>& problems, Outcome& outcome) {
  outcome.json["problems"] = Json::array();
  for (const Problem& problem : problems) {
    outcome.json["problems"].push_back(problem_json(problem));
    outcome.text += problem_text(context, problem);
  }
}

Status corruption(const std::vector<Problem>& problems, const std::string& directory) {
  const auto first = std::find_if(problems.begin(), problems.end(), counts);
  if (first == problems.end()) {
    const auto future =
        std::find_if(problems.begin(), problems.end(), [](const Problem& p) { return p.verdict == "unsupported"; });
    if (future == problems.end()) return {};
    return {Code::kUnsupported, future->detail, {.file = directory + "/" + future->file, .offset = future->offset}};
  }
  const auto all = std::count_if(problems.begin(), problems.end(), counts);
  return {Code::kCorruption,
          all == 1 ? "one place does not verify" : fmt::format("{} places do not verify", count_text(all)),
          {.file = directory + "/" + first->file, .offset = first->offset},
          "kvctl recover --explain tells what a start would make of it"};
}

std::string hex_dump(std::string_view bytes, std::uint64_t at) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 16) {
    const std::string_view row = bytes.substr(i, 16);
    std::string hex;
    std::string shown;
    for (std::size_t j = 0; j < row.size(); ++j) {
      const auto byte = static_cast<unsigned char>(row[j]);
      hex += fmt::format("{}{:02x}", j == 8 ? "  " : " ", byte);
      shown += byte >= 0x20 && byte < 0x7f ? row[j] : '.';
    }
    text += fmt::format("{:08x} {:<49} |{}|\n", at + i, hex, shown);
  }
  return text;
}

std::string store_id_text(const StoreId& id) { return fmt::format("{:016x}{:016x}", id.high, id.low); }

std::string writer_of(const std::string& directory) {
  const int fd = ::open((directory + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return "";
  struct flock asked {};
  asked.l_type = F_RDLCK;
  asked.l_whence = SEEK_SET;
  std::string holder;
  if (::fcntl(fd, F_OFD_GETLK, &asked) == 0 && asked.l_type == F_WRLCK) {
    holder = "another process";
    std::array<char, 24> text{};
    const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
    long pid = 0;
    const char* const begin = text.data();
    const char* const end = begin + std::max<ssize_t>(n, 0);
    const char* const digits = std::find_if(begin, end, [](char c) { return c != ' '; });
    if (std::from_chars(digits, end, pid).ec == std::errc() && pid > 0) holder = fmt::format("process {}", pid);
  }
  ::close(fd);
  return holder;
}

std::optional<std::uint64_t> option_in(std::string_view options, std::string_view name) {
  for (std::size_t at = 0; at < options.size();) {
    const std::string_view line = options.substr(at, options.find('\n', at) - at);
    at += line.size() + 1;
    std::uint64_t value = 0;
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ' ' &&
        std::from_chars(line.data() + name.size() + 1, line.data() + line.size(), value).ec == std::errc())
      return value;
  }
  return std::nullopt;
}

Result<StoreFiles> StoreFiles::open(Context& context, Locking locking) {
  DARUMA_TRY(context.check_directory());
  StoreFiles files;
  files.directory_ = context.directory;
  while (files.directory_.size() > 1 && files.directory_.ends_with('/')) files.directory_.pop_back();
  files.storage_ = make_posix_storage();
  DARUMA_TRY_ASSIGN(const std::vector<DirectoryEntry> names, files.storage_->list(files.directory_));
  const bool any = std::any_of(names.begin(), names.end(), [](const DirectoryEntry& entry) {
    return entry.name == "wal" || entry.name == "wal-copy" || entry.name == "runs" || entry.name == "snapshots";
  });
  if (!any) {
    return context.fail(kExitUsage, {Code::kNotFound,
                                     "there is no store: neither wal, runs nor snapshots",
                                     {.file = context.directory},
                                     "check -d"});
  }
  if (locking != Locking::kNone) {
    auto lock = files.storage_->lock_shared(files.path("lock"));
    if (lock.ok()) {
      files.lock_ = std::move(lock).value();
    } else if (lock.status().is(Code::kBusy)) {
      if (locking == Locking::kRequired) return lock.status();
      files.live_ = true;
    } else if (!lock.status().is(Code::kNotFound)) {  // without a lock file it is a copy that nobody opened yet
      return lock.status();
    }
  } else {
    files.live_ = !writer_of(files.directory_).empty();
  }
  // A manifest that a writer retires between its listing and its reading is not a bad one: list again.
  constexpr int kTries = 5;
  for (int i = 0; i < kTries; ++i) {
    auto read = read_catalogue(*files.storage_, files.directory_, std::nullopt);
    if (!read.ok()) {  // the room cannot be listed: told by manifest_problems
      files.catalogue_ = Catalogue();
      break;
    }
    files.catalogue_ = std::move(read).value();
    const auto gone = [](const Generation& g) { return g.rejected.is(Code::kNotFound); };
    if (std::none_of(files.catalogue_.generations.begin(), files.catalogue_.generations.end(), gone)) break;
    if (i + 1 == kTries) std::erase_if(files.catalogue_.generations, gone);
  }
  files.store_ = files.catalogue_.store;
  if (const Manifest* newest = files.catalogue_.newest(); newest != nullptr && !newest->damage.empty()) {
    auto damage = DamageMap::decode(newest->damage);
    if (damage.ok())
      files.damage_ = std::move(damage).value();
    else
      files.damage_status_ = damage.status();
  }
  if (!files.store_) {
    std::vector<Problem> ignored;
    for (const SegmentFile& segment : files.segments(ignored)) {
      if (segment.header) files.store_ = segment.header->store;
    }
  }
  if (!files.store_) {
    std::vector<Problem> ignored;
    for (const RunFile& run : files.runs(true, ignored)) {
      if (run.description) files.store_ = run.description->store;
    }
  }
  if (const Manifest* newest = files.catalogue_.newest()) {
    files.snapshot_sequence_ = newest->sequence;
  } else {
    std::vector<Problem> ignored;
    std::vector<RunInfo> described;
    for (const RunFile& run : files.runs(true, ignored)) {
      if (run.description) described.push_back(run.description->info);
    }
    files.snapshot_sequence_ = rebuild_from_runs(described).sequence;
  }
  return files;
}

Problem StoreFiles::problem(std::string what, std::string file, const Status& status) const {
  Problem p;
  p.what = std::move(what);
  p.verdict = status.is(Code::kIoError) ? "unreadable" : status.is(Code::kUnsupported) ? "unsupported" : "corrupt";
  p.file = status.where().file.empty() ? std::move(file) : relative(status.where().file, directory_);
  p.offset = status.where().offset;
  p.detail = status.message();
  return p;
}

std::vector<DirectoryEntry> StoreFiles::list(std::string_view room, std::vector<Problem>& problems) const {
  auto entries = storage_->list(path(room));
  if (entries.ok()) return std::move(entries).value();
  if (!entries.status().is(Code::kNotFound)) problems.push_back(problem("room", std::string(room), entries.status()));
  return {};
}

namespace {

/// `damaged`: of a manifest that is good all the same; begins with "copy at N: ".
Problem manifest_copy_problem(const std::string& file, const std::string& damaged) {
  Problem p{.what = "manifest_copy", .verdict = "corrupt", .file = file, .offset = 0, .detail = damaged};
  constexpr std::string_view kBefore = "copy at ";
  std::uint64_t at = 0;
  if (damaged.starts_with(kBefore) &&
      std::from_chars(damaged.data() + kBefore.size(), damaged.data() + damaged.size(), at).ec == std::errc())
    p.offset = at;
  return p;
}

}  // namespace

std::vector<Problem> StoreFiles::manifest_problems() const {
  std::vector<Problem> problems;
  (void)list(kManifestDirectory, problems);
  for (const Generation& g : catalogue_.generations) {
    const std::string file = std::string(kManifestDirectory) + "/" + g.name;
    if (!g.rejected.ok()) {
      Problem p = problem("manifest", file, g.rejected);
      if (!p.offset) p.offset = 0;
      p.bytes = g.file_bytes;
      problems.push_back(std::move(p));
    } else if (!g.damaged.empty()) {
      problems.push_back(manifest_copy_problem(file, g.damaged));
    }
  }
  const std::string copy_file = fmt::format("{}/{}", kManifestCopyDirectory, kManifestCopy);
  const Result<ManifestRead> copy = read_manifest_copy(*storage_, directory_, store_);
  if (copy.ok() && !copy->damaged.empty()) {
    problems.push_back(manifest_copy_problem(copy_file, copy->damaged));
  } else if (!copy.ok() && !copy.status().is(Code::kNotFound)) {  // without it a start does as well
    problems.push_back(problem("manifest_copy", copy_file, copy.status()));
    if (!problems.back().offset) problems.back().offset = 0;
  }
  if (!damage_status_.ok()) {
    problems.push_back(problem("damage_map",
                               std::string(kManifestDirectory) + "/" + manifest_name(catalogue_.newest()->number),
                               damage_status_));
  }
  return problems;
}

std::vector<SegmentFile> StoreFiles::segments(std::vector<Problem>& problems) const {
  std::map<std::uint64_t, SegmentFile> by_number;
  for (const std::string_view room : kLogDirectories) {
    for (const DirectoryEntry& entry : list(room, problems)) {
      const std::optional<std::uint64_t> number = parse_segment_name(entry.name);
      if (!number) continue;
      const std::string file = fmt::format("{}/{}", room, entry.name);
      auto opened = storage_->open(path(file), OpenMode::kRead);
      if (opened.status().is(Code::kNotFound)) continue;
      SegmentFile& segment = by_number[*number];
      segment.number = *number;
      segment.files.push_back(file);
      segment.bytes = std::max(segment.bytes, entry.bytes);
      for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{kSectorBytes}}) {
        Status bad = opened.status();
        if (bad.ok()) {
          std::string sector(kSectorBytes, '\0');
          auto got = (*opened)->read(at, sector);
          auto header = got.ok() && *got == kSectorBytes ? decode_segment_header(sector, at, store_)
                        : got.ok()
                            ? Result<SegmentHeader>(Status(Code::kCorruption, "the file is too short for a header"))
                            : Result<SegmentHeader>(got.status());
          if (header.ok() && header->number != *number)
            bad = Status(Code::kCorruption, fmt::format("holds segment {}", header->number));
          else if (!header.ok())
            bad = header.status();
          else if (!segment.header)
            segment.header = *header;
        }
        if (bad.ok()) continue;
        Problem p = problem("segment_header", file, bad);
        p.offset = at;
        p.bytes = kSectorBytes;
        segment.problems.push_back(std::move(p));
      }
    }
  }
  std::vector<SegmentFile> found;
  for (auto& [number, segment] : by_number) {
    problems.insert(problems.end(), segment.problems.begin(), segment.problems.end());
    found.push_back(std::move(segment));
  }
  Sequence next = 0;
  for (auto segment = found.rbegin(); segment != found.rend(); ++segment) {
    segment->next_start = next;
    segment->needed = next == 0 || next > snapshot_sequence() + 1;
    if (segment->header) next = segment->header->start_sequence;
  }
  return found;
}

std::vector<RunFile> StoreFiles::runs(bool describe, std::vector<Problem>& problems) const {
  std::map<std::uint64_t, RunFile> found;
  const std::string room(kRunDirectory);
  for (const DirectoryEntry& entry : list(room, problems)) {
    const std::optional<std::uint64_t> number = run_number(entry.name);
    if (!number || entry.name != run_name(*number)) continue;
    RunFile& run = found[*number];
    run.number = *number;
    run.name = entry.name;
    run.bytes = entry.bytes;
    if (!describe) continue;
    const std::string file = room + "/" + entry.name;
    auto description = describe_run(*storage_, path(file), store_, *number);
    if (description.status().is(Code::kNotFound)) {
      found.erase(*number);
    } else if (!description.ok()) {
      run.problems.push_back(problem("run", file, description.status()));
    } else {
      for (const RunFinding& finding : description->findings)
        run.problems.push_back(problem("run_" + std::string(run_fault_name(finding.fault)), file, finding.status));
      run.description = std::move(description).value();
    }
  }
  std::size_t kept = 0;
  for (const Generation& g : catalogue_.generations) {
    if (!g.manifest) continue;
    for (const PlacedRun& placed : g.manifest->runs) {
      auto at = found.find(placed.info.number);
      if (at == found.end()) {
        // Only the generations that recovery may start from need their runs; and a writer may have moved on.
        if (live_ || kept >= kGenerationsKept) continue;
        RunFile& run = found[placed.info.number];
        run.number = placed.info.number;
        run.name = run_name(run.number);
        run.missing = true;
        run.problems.push_back({.what = "run_missing",
                                .verdict = "corrupt",
                                .file = room + "/" + run.name,
                                .detail = "named by " + g.name});
        at = found.find(placed.info.number);
      }
      if (at->second.placed == nullptr) at->second.placed = &placed;
      at->second.generations.push_back(g.number);
    }
    ++kept;
  }
  std::vector<RunFile> all;
  all.reserve(found.size());
  for (auto& [number, run] : found) {
    problems.insert(problems.end(), run.problems.begin(), run.problems.end());
    all.push_back(std::move(run));
  }
  return all;
}

std::vector<ReportFile> StoreFiles::reports(std::vector<Problem>& problems) const {
  constexpr std::string_view kEnd = ".json";
  std::vector<ReportFile> found;
  for (const DirectoryEntry& entry : list("recoveries", problems)) {
    std::uint64_t number = 0;
    const char* end = entry.name.data() + entry.name.size() - std::min(entry.name.size(), kEnd.size());
    if (!entry.name.ends_with(kEnd) || entry.is_directory) continue;
    const auto [stopped, error] = std::from_chars(entry.name.data(), end, number);
    if (error == std::errc() && stopped == end) found.push_back({number, entry.name});
  }
  return found;
}

std::vector<IncidentFile> StoreFiles::incidents(std::vector<Problem>& problems) const {
  std::int64_t writer_began_ns = INT64_MAX;
  if (live_) {
    std::vector<Problem> ignored;
    const std::vector<ReportFile> all = reports(ignored);
    const auto last = all.empty() ? Result<RecoveryReport>(RecoveryReport()) : read_report(all.back());
    writer_began_ns = last.ok() ? last->started_wall_ns : 0;
  }
  std::vector<IncidentFile> found;
  for (const DirectoryEntry& entry : list("recoveries", problems)) {  // by name, so by time
    if (!is_incident_file(entry.name)) continue;
    const std::string file = "recoveries/" + entry.name;
    const auto bytes = daruma::read_whole(*storage_, path(file), kReportBytesMax);
    if (bytes.status().is(Code::kNotFound)) continue;  // a writer keeps the last few only
    Status bad = bytes.status();
    if (bytes.ok()) {
      auto parsed = parse_incident(*bytes);
      bad = parsed.ok() ? Status() : at_file(parsed.status(), path(file));
      if (parsed.ok()) found.push_back({std::move(parsed).value(), ""});
    }
    if (!bad.ok()) {
      problems.push_back(problem("incident", file, bad));
      continue;
    }
    const Incident& incident = found.back().incident;
    found.back().state = !incident.outcome.empty()                   ? incident.outcome
                         : incident.began_wall_ns >= writer_began_ns ? "going on"
                                                                     : "interrupted";
  }
  return found;
}

Result<RecoveryReport> StoreFiles::read_report(const ReportFile& file, Json* document) const {
  const std::string where = path("recoveries/" + file.name);
  DARUMA_TRY_ASSIGN(const std::string bytes, daruma::read_whole(*storage_, where, kReportBytesMax));
  auto report = parse_report(bytes);
  if (!report.ok()) return at_file(report.status(), where);
  if (document != nullptr) *document = Json::parse(bytes, nullptr, false);
  return report;
}

}  // namespace daruma::kvctl
