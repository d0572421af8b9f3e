// SPDX-License-Identifier: Apache-2.0
//
// doctor: is this a good place for a store? Looks at the directory's file system, the kernel and the limits of this
// process, by asking for what a store asks for.
//
// What must stay true: it opens no store and works beside a writer. Its probe is a file whose name means nothing to a
// store, and gone at the end; --dry-run makes none.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/bytes.h"
#include "base/clock.h"
#include "io/posix_storage.h"
#include "kvctl/inspect.h"

namespace daruma::kvctl {

namespace {

enum class Grade : std::uint8_t { kOk, kWarning, kBad };

struct Finding {
  std::string name;
  Grade grade = Grade::kOk;
  std::string found;
  std::string advice{};  ///< empty when ok
};

std::string_view grade_name(Grade grade) {
  return grade == Grade::kOk ? "ok" : grade == Grade::kWarning ? "warning" : "bad";
}

Finding file_system(const std::string& directory) {
  struct statfs info {};
  if (::statfs(directory.c_str(), &info) != 0) return {"file system", Grade::kBad, "cannot be asked", "check -d"};
  struct Kind {
    const char* name;
    Grade grade;
    const char* advice;
  };
  constexpr const char* kMemory = "nothing here survives a loss of power: for tests only";
  constexpr const char* kNetwork = "locks and shared mappings are not sure over a network: use a local disk";
  static const std::map<std::uint32_t, Kind> kKinds{
      {0xef53, {"ext4", Grade::kOk, ""}},
      {0x58465342, {"xfs", Grade::kOk, ""}},
      {0x9123683e, {"btrfs", Grade::kOk, ""}},
      {0x2fc12fc1, {"zfs", Grade::kOk, ""}},
      {0xf2f52010, {"f2fs", Grade::kOk, ""}},
      {0x01021994, {"tmpfs", Grade::kWarning, kMemory}},
      {0x858458f6, {"ramfs", Grade::kBad, "nothing here survives a loss of power, and it is never full"}},
      {0x794c7630, {"overlayfs", Grade::kWarning, "a container's own layer goes with the container: mount a volume"}},
      {0x6969, {"nfs", Grade::kBad, kNetwork}},
      {0xff534d42, {"cifs", Grade::kBad, kNetwork}},
      {0xfe534d42, {"smb2", Grade::kBad, kNetwork}},
      {0x01021997, {"9p", Grade::kBad, kNetwork}},
      {0x65735546, {"fuse", Grade::kWarning, "what a sync means is up to its program"}}};
  const auto kind = kKinds.find(static_cast<std::uint32_t>(info.f_type));
  Finding finding{"file system", Grade::kWarning, fmt::format("type {:#x}", static_cast<std::uint32_t>(info.f_type)),
                  "not known to kvctl: ext4, xfs and btrfs are tested"};
  if (kind != kKinds.end()) finding = {"file system", kind->second.grade, kind->second.name, kind->second.advice};
  if ((info.f_flags & ST_RDONLY) != 0)
    finding = {"file system", Grade::kBad, finding.found + ", mounted read-only", "a store there only serves reads"};
  return finding;
}

/// What the store itself does when it begins, in the order in which it needs it.
void probe_storage(Storage& storage, const std::string& directory, std::vector<Finding>& out) {
  const std::string path = directory + "/" + std::string(kProbeName);
  const std::int64_t began = system_clock().monotonic_ns();
  const Status synced = probe(storage, path, kSectorBytes);
  const std::int64_t took = system_clock().monotonic_ns() - began;
  if (!synced.ok()) {
    out.push_back({"fsync", Grade::kBad, synced.message(), "a store cannot be written here"});
    return;
  }
  out.push_back({"fsync", took < 1'000'000'000 ? Grade::kOk : Grade::kWarning,
                 "made, written, synced, read back and removed in " + duration_text(took),
                 took < 1'000'000'000 ? "" : "durable puts wait as long: is the device busy?"});
  const auto needs = [&](const char* name, const Status& status, const char* advice) {
    out.push_back({name, status.ok() ? Grade::kOk : Grade::kBad, status.ok() ? "works" : status.message(),
                   status.ok() ? "" : advice});
  };
  needs("directory sync", storage.sync_directory(directory), "names could be lost with the power");
  const Status used = [&]() -> Status {
    DARUMA_TRY_ASSIGN(const std::unique_ptr<File> file, storage.open(path, OpenMode::kCreate));
    DARUMA_TRY(file->allocate(kSectorBytes));
    DARUMA_TRY(file->sync());
    needs("shared mapping", storage.map(path).status(), "the log's ring needs one");
    const auto lock = storage.lock(path);
    needs("lock", lock.status(), "two processes could write one store");
    const AlignedBuffer sector(kSectorBytes);
    const std::unique_ptr<FrameQueue> queue = storage.make_frame_queue(1);
    queue->submit({.file = file.get(), .offset = 0, .data = sector.view()});
    std::vector<FrameCompletion> done;
    while (queue->in_flight() > 0) queue->reap(true, done);
    return done.empty() ? Status() : done.front().status;
  }();
  (void)storage.remove(path);
  const std::string how = storage.describe();
  const bool best = how == "io_uring, O_DIRECT, RWF_DSYNC";
  out.push_back({"durable writes",
                 !used.ok() ? Grade::kBad
                 : best     ? Grade::kOk
                            : Grade::kWarning,
                 used.ok() ? how : used.message(),
                 best && used.ok()
                     ? ""
                     : "slower, not less safe: several frames in flight need io_uring (often forbidden in "
                       "containers), O_DIRECT and RWF_DSYNC"});
}

Finding limit(const char* name, __rlimit_resource what, rlim_t least, const char* unit, const char* advice) {
  rlimit value{};
  if (::getrlimit(what, &value) != 0) return {name, Grade::kWarning, "cannot be asked", ""};
  const bool none = value.rlim_cur == RLIM_INFINITY;
  const bool enough = none || value.rlim_cur >= least;
  return {name, enough ? Grade::kOk : Grade::kWarning,
          none ? "no limit" : fmt::format("{}{}", count_text(value.rlim_cur), unit), enough ? "" : advice};
}

/// Of the store here, if there is one: what its options ask for, and its runs once more, which is what compaction
/// takes.
Finding space(Storage& storage, const std::string& directory, const StoreFiles* files) {
  const auto free = storage.free_bytes(directory);
  if (!free.ok()) return {"free space", Grade::kWarning, free.status().message(), ""};
  const Manifest* newest = files != nullptr ? files->catalogue().newest() : nullptr;
  const std::string_view options = newest != nullptr ? std::string_view(newest->options) : std::string_view();
  const Options otherwise;
  const std::uint64_t least = 2 * option_in(options, "segment_bytes").value_or(otherwise.segment_bytes) +
                              option_in(options, "memtable_bytes").value_or(otherwise.memtable_bytes) +
                              option_in(options, "ring_bytes").value_or(otherwise.ring_bytes);
  std::uint64_t runs = 0;
  if (newest != nullptr) {
    for (const PlacedRun& run : newest->runs) runs += run.info.file_bytes;
  }
  const std::string found = fmt::format("{} free; log and memtables need {}, compaction of all {} more",
                                        bytes_text(*free), bytes_text(least), bytes_text(runs));
  if (*free < least) return {"free space", Grade::kBad, found, "puts will be refused: free some space"};
  if (*free < least + runs) return {"free space", Grade::kWarning, found, "compaction may not have the room it needs"};
  return {"free space", Grade::kOk, found};
}

Finding clock_now(const StoreFiles* files) {
  constexpr std::int64_t k2024 = 1'704'067'200'000'000'000;
  Clock& clock = system_clock();
  const std::int64_t wall = clock.wall_ns();
  std::int64_t last = clock.monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t now = clock.monotonic_ns();
    if (now < last)
      return {"clock", Grade::kBad, "the monotonic clock went back", "the kernel's clock source is broken"};
    last = now;
  }
  const std::string now = time_text(wall);
  if (wall < k2024) return {"clock", Grade::kWarning, now, "not set: times in reports will mean nothing"};
  const Manifest* newest = files != nullptr ? files->catalogue().newest() : nullptr;
  if (newest != nullptr && wall < newest->created_wall_ns) {
    return {"clock", Grade::kWarning,
            fmt::format("{}, before the newest snapshot ({})", now, time_text(newest->created_wall_ns)),
            "it was set back; reports will not be in order, nothing else depends on it"};
  }
  return {"clock", Grade::kOk, now};
}

Finding huge_pages() {
  std::ifstream in("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  std::getline(in, text);
  const std::size_t open = text.find('[');
  const std::string mode = open == std::string::npos ? "not there" : text.substr(open + 1, text.find(']') - open - 1);
  const bool some = mode == "always" || mode == "madvise";
  return {"huge pages", some ? Grade::kOk : Grade::kWarning, mode,
          some ? "" : "slower reads: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"};
}

Result<Outcome> doctor(Context& context) {
  DARUMA_TRY(context.check_directory());
  const auto opened = StoreFiles::open(context, Locking::kNone);  // an empty directory is a good place too
  const StoreFiles* files = opened.ok() ? &*opened : nullptr;
  const std::shared_ptr<Storage> storage = make_posix_storage();
  std::vector<Finding> found{file_system(context.directory)};
  if (!context.dry_run) probe_storage(*storage, context.directory, found);
  found.push_back(space(*storage, context.directory, files));
  found.push_back(
      limit("descriptors", RLIMIT_NOFILE, 1024, "", "one a run and a log file: ulimit -n 4096, LimitNOFILE="));
  found.push_back(limit("threads", RLIMIT_NPROC, 64, "", "a store has four: ulimit -u, TasksMax="));
  found.push_back(limit("locked memory", RLIMIT_MEMLOCK, 1 << 20, " bytes",
                        "io_uring counts here before Linux 5.12: ulimit -l, LimitMEMLOCK="));
  found.push_back(clock_now(files));
  const std::string boot = storage->boot_id();
  found.push_back({"boot id", boot.empty() ? Grade::kWarning : Grade::kOk, boot.empty() ? "not known" : boot,
                   boot.empty() ? "a kill cannot be told from a loss of power: starts trust the log less" : ""});
  found.push_back(huge_pages());
  utsname system{};
  if (::uname(&system) == 0)
    found.push_back({"kernel", Grade::kOk, fmt::format("{} {}", system.sysname, system.release)});

  Outcome outcome;
  outcome.json["checks"] = Json::array();
  Grade worst = Grade::kOk;
  std::string first_bad;
  for (const Finding& finding : found) {
    worst = std::max(worst, finding.grade);
    if (finding.grade == Grade::kBad && first_bad.empty()) first_bad = finding.name + ": " + finding.found;
    Json entry = {{"name", finding.name}, {"grade", grade_name(finding.grade)}, {"found", finding.found}};
    if (!finding.advice.empty()) entry["advice"] = finding.advice;
    outcome.json["checks"].push_back(std::move(entry));
    const std::string_view colour = finding.grade == Grade::kOk        ? "green"
                                    : finding.grade == Grade::kWarning ? "yellow"
                                                                       : "red";
    outcome.text +=
        fmt::format("{}  {:<15} {}\n", context.paint(colour, fmt::format("{:<7}", grade_name(finding.grade))),
                    finding.name, encode(Encoding::kEscaped, finding.found));
    if (!finding.advice.empty()) outcome.text += fmt::format("{:<25}{}\n", "", finding.advice);
  }
  outcome.json["worst"] = grade_name(worst);
  if (worst == Grade::kBad) {
    outcome.exit = kExitIo;
    outcome.error = Status(Code::kIoError, first_bad, {.file = context.directory}, "a store would not do well here");
  }
  return outcome;
}

}  // namespace

void register_doctor(CLI::App& app, Context& context) {
  add_command(app, context, "doctor", "Is this directory a good place for a store? With or without one in it", doctor)
      ->footer(
          "Examples:\n  kvctl -d orders doctor\n  kvctl -d /var/lib/new doctor --json | jq -c "
          "'.checks[]|select(.grade!=\"ok\")'\n"
          "Writes a small file and removes it, unless --dry-run. Exit code 0: ok, or warnings; 6: something is bad.");
}

}  // namespace daruma::kvctl
