// SPDX-License-Identifier: Apache-2.0
//
// kvctl's looking commands, driven as processes, on whole, damaged, half gone and garbage stores. What must stay true:
// looks-without-touching (bytes and times of every file stay), says-so (damage shows in text, JSON and exit code, with
// file and offset), no false alarm (what a kill leaves is no corruption), and status and the listings work beside a
// writer.
#include <sanitized.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/engine.h"
#include "io/posix_storage.h"
#include "kvctl_testing.h"
#include "recovery/quarantine.h"
#include "snapshot/catalogue.h"
#include "wal/wal_reader.h"

namespace daruma {
namespace {

using kvctl_test::Json;
using kvctl_test::Ran;
using kvctl_test::small;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

using Arguments = std::vector<std::string>;

class KvctlInspect : public kvctl_test::KvctlTest {
 protected:
  /// Two generations, several runs, events behind the snapshot, two starts.
  void build() const {
    {
      Store store = open();
      const Keyspace users = *store.create_keyspace("users");
      const Keyspace logs = *store.create_keyspace("logs");
      for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 200; ++i) {
          ASSERT_TRUE(
              store.put(users, "user/" + std::to_string(i), std::string(100, 'u'), {Durability::kProcess}).ok());
        }
        ASSERT_TRUE(store.erase_range(users, "user/7", "user/8").ok());
        ASSERT_TRUE(store.put(logs, "log/" + std::to_string(round), "line").ok());
        ASSERT_TRUE(store.checkpoint().ok());
      }
    }
    Store store = open();
    const Keyspace users = *store.keyspace("users");
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(store.put(users, "late/" + std::to_string(i), std::string(300, static_cast<char>('0' + i))).ok());
    }
  }

  [[nodiscard]] std::vector<std::string> files(const std::string& room) const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(path("a") + "/" + room)) found.push_back(entry.path().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  [[nodiscard]] std::string newest(const std::string& room, const std::string& ending) const {
    std::string last;
    for (const std::string& file : files(room)) {
      if (file.ends_with(ending)) last = file;
    }
    return last;
  }
  [[nodiscard]] std::string relative(const std::string& file) const { return file.substr(path("a").size() + 1); }
  static void flip(const std::string& file, std::uint64_t at) {
    std::fstream f(file, std::ios::binary | std::ios::in | std::ios::out);
    f.seekg(static_cast<std::streamoff>(at));
    const int byte = f.get();
    f.seekp(static_cast<std::streamoff>(at));
    f.put(static_cast<char>(byte ^ 0x40));
  }
  /// Where the payload of the frame that holds event `sequence` stands; file and offset.
  [[nodiscard]] std::pair<std::string, std::uint64_t> frame_of(Sequence sequence) const {
    std::pair<std::string, std::uint64_t> found;
    const Ran ran =
        kvctl({"wal", "dump", "--ndjson", "--from", std::to_string(sequence), "--to", std::to_string(sequence)});
    const Json json = ran.json();
    if (!json.is_object()) return found;
    return {path("a") + "/" + json["file"].get<std::string>(), json["offset"].get<std::uint64_t>()};
  }
  /// Hurts the payload of an acknowledged event that only the log holds.
  void lose_an_event() const {
    const auto [file, offset] = frame_of(last_event() - 5);
    ASSERT_FALSE(file.empty());
    flip(file, offset + kFrameHeaderBytes + 100);
    flip(file, offset + kSectorBytes + kFrameHeaderBytes + 100);  // its mirror
  }
  [[nodiscard]] Sequence last_event() const {
    return kvctl({"--json", "status"}).json()["sequence_at_least"].get<Sequence>();
  }

  /// Every looking command; ids and numbers are such as may be there.
  static std::vector<Arguments> lookers(const std::string& quarantine_id = "q-0123456789abcdef") {
    return {{"status"},
            {"--recovery-budget", "1h", "health"},
            {"component", "ls"},
            {"playbook", "history"},
            {"verify"},
            {"verify", "--deep"},
            {"recover", "--explain"},
            {"recover", "--explain", "--policy", "refuse"},
            {"recover", "--explain", "--policy", "point_in_time"},
            {"--dry-run", "recover"},
            {"wal", "ls"},
            {"wal", "dump"},
            {"wal", "dump", "--frames", "--values"},
            {"wal", "verify"},
            {"run", "ls"},
            {"run", "show", "1"},
            {"run", "verify"},
            {"snapshot", "ls"},
            {"snapshot", "show"},
            {"--dry-run", "snapshot", "create"},
            {"quarantine", "ls"},
            {"quarantine", "show", quarantine_id},
            {"quarantine", "export", quarantine_id, "-"},
            {"damage", "ls"},
            {"--dry-run", "damage", "accept", "--all"},
            {"report"},
            {"report", "1"},
            {"report", "--list"}};
  }
  /// Runs each in text and JSON; nothing in the store changes, and what comes out is well formed. `sound`: each exits
  /// 0.
  void look_at_everything(const std::vector<Arguments>& commands, const std::string& store = "a",
                          bool sound = false) const {
    const auto before = state(store);
    for (Arguments command : commands) {
      SCOPED_TRACE(testing::PrintToString(command));
      const bool bytes = command.size() > 1 && command[1] == "export";
      const Ran text = kvctl(command, "", store);
      EXPECT_LE(text.exit, sound ? 0 : 10) << text.out << text.err;
      // With 0 there may be notes; 5 may be told by what was asked for alone.
      EXPECT_TRUE(!text.err.empty() || text.exit == 0 || text.exit == 5) << text.exit;
      command.insert(command.begin(), "--json");
      const Ran ran = kvctl(command, "", store);
      EXPECT_TRUE(bytes || ran.exit == text.exit) << ran.exit << " in JSON, " << text.exit << " in text";
      const Json document = ran.json();
      ASSERT_TRUE(document.is_object()) << ran.out << ran.err;
      EXPECT_EQ(document["exit"], ran.exit);
      EXPECT_EQ(document["ok"], ran.exit <= 1 && !document.contains("error"));
      EXPECT_TRUE(document["schema"].get<std::string>().starts_with("kvctl."));
      EXPECT_THAT(ran.err, IsEmpty());
    }
    EXPECT_TRUE(state(store) == before) << "a looking command changed the store";
  }
};

TEST_F(KvctlInspect, looks_without_touching_and_a_whole_store_is_sound) {
  build();
  std::vector<Arguments> commands = lookers();
  std::erase_if(commands, [](const Arguments& c) { return c[0] == "quarantine" && c[1] != "ls"; });
  look_at_everything(commands, "a", true);
  EXPECT_EQ(kvctl({"quarantine", "show", "q-0123456789abcdef"}).exit, 1) << "no such entry: a negative answer";
}

TEST_F(KvctlInspect, status_tells_where_the_store_stands) {
  build();
  const Json status = kvctl({"--json", "status"}).json();
  EXPECT_EQ(status["schema"], "kvctl.status/1");
  EXPECT_TRUE(status["writer"].is_null());
  const Json stat = kvctl({"--json", "checkpoint", "-n"}).json();
  EXPECT_EQ(status["snapshot"]["sequence"], stat["snapshot_sequence"]);
  EXPECT_EQ(status["runs"]["in_use"], stat["runs"]);
  EXPECT_EQ(status["last_start"]["number"], 2);
  EXPECT_EQ(status["last_start"]["clean"], true);
  EXPECT_GE(status["log"]["replay_bytes_at_most"], 256 << 10);
  EXPECT_GE(status["log"]["replay_events_at_least"], 9) << "the newest may be told by the ring only";
  EXPECT_LE(status["sequence_at_least"], stat["sequence"]);
  EXPECT_EQ(status["damage"]["blocking"], 0);
  EXPECT_THAT(kvctl({"status"}).out, HasSubstr("no answer is in doubt"));
  ASSERT_EQ(kvctl({"snapshot", "create"}).exit, 0);
  EXPECT_EQ(kvctl({"--json", "status"}).json()["log"]["replay_events_at_least"], 0);
}

TEST_F(KvctlInspect, works_beside_a_writer_where_it_needs_no_lock) {
  build();
  Store store = open();
  const Keyspace users = *store.keyspace("users");
  for (int look = 0; look < 100 && kvctl({"health"}).exit != 0; ++look)  // it tells of itself within a second
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (const Arguments& command : std::vector<Arguments>{{"status"},
                                                         {"component", "ls"},
                                                         {"playbook", "history"},
                                                         {"doctor"},
                                                         {"health"},
                                                         {"metrics"},
                                                         {"timeline"},
                                                         {"wal", "ls"},
                                                         {"wal", "dump"},
                                                         {"run", "ls"},
                                                         {"run", "verify"},
                                                         {"snapshot", "ls"},
                                                         {"snapshot", "show"},
                                                         {"quarantine", "ls"},
                                                         {"damage", "ls"},
                                                         {"report"},
                                                         {"report", "--list"}}) {
    ASSERT_TRUE(store.put(users, "k", "v").ok());
    const Ran ran = kvctl(command);
    EXPECT_EQ(ran.exit, 0) << testing::PrintToString(command) << ran.out << ran.err;
  }
  for (const Arguments& command : std::vector<Arguments>{
           {"verify"}, {"verify", "--deep"}, {"wal", "verify"}, {"recover", "--explain"}, {"recover"}}) {
    EXPECT_EQ(kvctl(command).exit, 3) << testing::PrintToString(command);
  }
  EXPECT_EQ(kvctl({"--json", "status"}).json()["writer"], "process " + std::to_string(::getpid()));
  ASSERT_TRUE(store.put(users, "still", "writing").ok());
  ASSERT_TRUE(store.checkpoint().ok()) << "a looker kept the writer from its work";
}

TEST_F(KvctlInspect, any_changed_byte_is_found_by_verify_deep) {
  build();
  ASSERT_EQ(kvctl({"verify", "--deep"}).exit, 0);
  fs::copy(path("a"), path("whole"), fs::copy_options::recursive);
  constexpr unsigned kSeed = 20261125;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  std::vector<std::pair<std::string, std::uint64_t>> places;
  const auto some_of = [&](const std::string& file, std::uint64_t from, std::uint64_t to, int n) {
    places.emplace_back(file, from);
    for (int i = 0; i < n; ++i) places.emplace_back(file, from + random() % (to - from));
  };
  const std::string manifest = newest("snapshots", ".snap");
  some_of(manifest, 0, fs::file_size(manifest), 5);
  const std::string older = files("snapshots").front();
  ASSERT_NE(older, manifest);
  some_of(older, 0, fs::file_size(older), 2);
  const std::string run = newest("runs", ".run");
  some_of(run, 0, fs::file_size(run), 10);
  const std::string segment = newest("wal", ".log");
  places.emplace_back(segment, 20);                 // header
  places.emplace_back(segment, kSectorBytes + 20);  // its copy
  for (const Sequence back : {2, 5, 8}) {
    const auto [file, offset] = frame_of(last_event() - back);
    ASSERT_FALSE(file.empty());
    places.emplace_back(file, offset + 20);                       // header
    places.emplace_back(file, offset + kFrameHeaderBytes + 4);    // footprint
    places.emplace_back(file, offset + kFrameHeaderBytes + 100);  // payload
  }
  for (const auto& [file, at] : places) {
    SCOPED_TRACE(relative(file) + ":" + std::to_string(at));
    flip(file, at);
    const Ran ran = kvctl({"--json", "verify", "--deep"});
    EXPECT_EQ(ran.exit, 4) << ran.out;
    const Json json = ran.json();
    bool named = false;
    for (const Json& problem : json["problems"]) {
      named = named || (problem["file"] == relative(file) && problem.contains("offset") &&
                        problem["offset"].get<std::uint64_t>() <= at);
    }
    EXPECT_TRUE(named) << json["problems"].dump(1);
    flip(file, at);
  }
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 0);
}

TEST_F(KvctlInspect, one_changed_byte_in_any_class_of_file_is_named_by_verify_deep) {
  build();
  const std::shared_ptr<Storage> disk = make_posix_storage();
  const std::string store = path("a");
  const StoreId id = *read_catalogue(*disk, store, std::nullopt)->store;
  const std::string set_aside =
      Quarantine(*disk, store + "/quarantine", id).put({.case_name = "test", .file = "runs/x"}, "evidence").id;
  {
    Options options = small();
    options.wal_copies = 2;
    ManualClock clock;
    Environment idle;  // nobody moves on what the ring has
    idle.storage = disk;
    idle.clock = &clock;
    idle.threads = false;
    idle.start_late = false;
    Result<Store::Opened> opened = Engine::open_store(store, options, idle);
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    const Keyspace users = *opened->store.keyspace("users");
    ASSERT_TRUE(opened->store.put(users, "twice", "in the log").ok());
    ASSERT_TRUE(opened->store.put(users, "live", "in the ring", {Durability::kProcess}).ok());
  }
  ASSERT_EQ(kvctl({"verify", "--deep"}).exit, 0) << kvctl({"verify", "--deep"}).out;

  std::vector<std::pair<std::string, std::uint64_t>> places{
      {newest("snapshots", ".snap"), 100},
      {files("snapshots").front(), fs::file_size(files("snapshots").front()) / 2 + 40},
      {store + "/recoveries/" + std::string(kManifestCopy), 100},
      {store + "/recoveries/" + std::string(kManifestCopy),
       fs::file_size(store + "/recoveries/" + std::string(kManifestCopy)) / 2 + 40},
      {newest("runs", ".run"), 5000},
      {store + "/quarantine/ledger", 30},
      {store + "/quarantine/" + set_aside + ".bytes", 3}};
  for (const char* log : {"wal", "wal-copy"}) {
    const std::string segment = newest(log, ".log");
    for (const std::uint64_t at : {std::uint64_t{20}, kSectorBytes + 20, kSegmentFramesAt + kFrameHeaderBytes + 20})
      places.emplace_back(segment, at);
    std::string ring;
    for (const std::string& file : files(log)) {
      if (parse_tail_name(fs::path(file).filename().string())) ring = file;
    }
    ASSERT_FALSE(ring.empty());
    const std::uint64_t nonce = *parse_tail_name(fs::path(ring).filename().string());
    const TailScan scan = read_tail(*disk, store, id, nonce, log == std::string("wal") ? 0 : 1);
    ASSERT_EQ(scan.entries.size(), 1U);
    const std::uint64_t entry = kTailDataAt + scan.durable_position % scan.header.capacity + kTailEntryHeaderBytes;
    for (const std::uint64_t half : {std::uint64_t{0}, tail_half_bytes(scan.header.capacity)}) {
      for (const std::uint64_t at : {std::uint64_t{20}, kTailHeadAt + 1, entry}) places.emplace_back(ring, half + at);
    }
  }
  for (std::size_t i = 0; i < places.size(); i += kSanitized ? 4 : 1) {
    const auto& [file, at] = places[i];
    SCOPED_TRACE(relative(file) + ":" + std::to_string(at));
    flip(file, at);
    const Ran ran = kvctl({"verify", "--deep"});
    EXPECT_EQ(ran.exit, 4) << ran.out;
    EXPECT_THAT(ran.out, HasSubstr(relative(file)));
    flip(file, at);
  }
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 0);
}

TEST_F(KvctlInspect, shallow_verify_names_missing_and_cut_files) {
  build();
  const std::string run = newest("runs", ".run");
  const std::string kept = kvctl_test::KvctlTest::read(run);
  fs::remove(run);
  Ran ran = kvctl({"verify"});
  EXPECT_EQ(ran.exit, 4);
  EXPECT_THAT(ran.out, HasSubstr(relative(run)));
  EXPECT_THAT(ran.out, HasSubstr("run_missing"));
  std::ofstream(run, std::ios::binary) << kept.substr(0, kept.size() / 2);
  EXPECT_EQ(kvctl({"verify"}).exit, 4);
  EXPECT_EQ(kvctl({"run", "ls"}).exit, 4);
  std::ofstream(run, std::ios::binary) << kept;
  EXPECT_EQ(kvctl({"verify"}).exit, 0);
  const std::string manifest = newest("snapshots", ".snap");
  fs::resize_file(manifest, 100);
  ran = kvctl({"verify"});
  EXPECT_EQ(ran.exit, 4);
  EXPECT_THAT(ran.err, HasSubstr(relative(manifest)));
  EXPECT_EQ(kvctl({"snapshot", "ls"}).exit, 4);
  EXPECT_EQ(kvctl({"status"}).exit, 4);
}

TEST_F(KvctlInspect, an_acknowledged_loss_goes_from_plan_to_report_to_damage_to_acceptance) {
  build();
  const Sequence last = last_event();
  lose_an_event();
  look_at_everything(lookers());

  // The plan says what the start then does.
  const Ran planned = kvctl({"--json", "recover", "--explain"});
  EXPECT_EQ(planned.exit, 5);
  const Json plan = planned.json();
  ASSERT_EQ(plan["report"]["findings"].size(), 1U) << planned.out;
  const Json finding = plan["report"]["findings"][0];
  EXPECT_EQ(finding["verdict"], "corrupt");
  EXPECT_NE(finding["proof"], "none");
  std::vector<std::string> written;
  for (const Json& step : plan["steps"]) {
    if (step["action"] == "write") written.push_back(step["file"]);
  }
  EXPECT_EQ(plan["steps"][0]["action"], "set aside");
  const Ran text = kvctl({"recover", "--explain"});
  for (const char* word : {"nothing changed", "replay", "verdict corrupt", "set aside", "would be 5"}) {
    EXPECT_THAT(text.out, HasSubstr(word));
  }
  EXPECT_EQ(kvctl({"recover", "--explain", "--policy", "refuse"}).exit, 4);
  const auto before = state();
  EXPECT_EQ(kvctl({"recover", "--policy", "refuse"}).exit, 4);

  const Ran recovered = kvctl({"--json", "recover"});
  EXPECT_EQ(recovered.exit, 5);
  const Json report = recovered.json()["report"];
  ASSERT_EQ(report["findings"].size(), 1U);
  for (const char* member : {"case", "file", "offset", "bytes", "verdict", "proof", "action", "first_sequence"}) {
    EXPECT_EQ(report["findings"][0][member], finding[member]) << member;
  }
  EXPECT_EQ(report["last_sequence"], plan["report"]["last_sequence"]);
  EXPECT_GE(report["last_sequence"], last);
  for (const std::string& file : written) {
    EXPECT_TRUE(file.find('*') != std::string::npos || fs::exists(path("a") + "/" + file)) << file << " was planned";
  }

  EXPECT_EQ(kvctl({"--json", "report"}).json()["report"], report);
  EXPECT_EQ(kvctl({"status"}).exit, 5);
  const Json kept = kvctl({"--json", "quarantine", "ls"}).json()["entries"];
  ASSERT_EQ(kept.size(), 1U);
  const std::string id = kept[0]["id"];
  EXPECT_EQ(id, report["findings"][0]["quarantine_id"]);
  const std::string hurt = read(path("a") + "/" + finding["file"].get<std::string>())
                               .substr(finding["offset"].get<std::size_t>(), finding["bytes"].get<std::size_t>());
  EXPECT_TRUE(kvctl({"quarantine", "export", id, "-"}).out == hurt) << "the bytes set aside are those of the log";
  ASSERT_EQ(kvctl({"quarantine", "export", id, path("frame.bin")}).exit, 0);
  EXPECT_TRUE(read(path("frame.bin")) == hurt);
  EXPECT_EQ(kvctl({"quarantine", "export", id, path("frame.bin")}).exit, 10);
  EXPECT_THAT(kvctl({"quarantine", "show", id}).out, HasSubstr("DRFR")) << "a hex dump shows the frame's magic";
  EXPECT_EQ(kvctl({"verify", "--deep"}).exit, 5) << "accounted for is not new corruption";
  look_at_everything({{"quarantine", "ls"}, {"quarantine", "show", id}, {"damage", "ls"}, {"verify"}, {"report"}});

  const Json damage = kvctl({"--json", "damage", "ls"}).json()["entries"];
  ASSERT_EQ(damage.size(), 1U);
  EXPECT_EQ(damage[0]["accepted"], false);
  EXPECT_EQ(kvctl({"--json", "keyspace", "stat"}).json()["keyspaces"][0]["damage"], 1);
  const std::string number = std::to_string(damage[0]["id"].get<int>());
  EXPECT_EQ(kvctl({"damage", "accept", number}).exit, 9) << "needs --yes";
  EXPECT_EQ(kvctl({"damage", "accept"}).exit, 2);
  EXPECT_EQ(kvctl({"damage", "accept", "99", "--yes"}).exit, 1);
  EXPECT_EQ(kvctl({"status"}).exit, 5);
  EXPECT_EQ(kvctl({"damage", "accept", number, "--yes"}).exit, 0);
  EXPECT_EQ(kvctl({"status"}).exit, 0);
  EXPECT_EQ(kvctl({"--json", "damage", "ls"}).json()["entries"][0]["accepted"], true);

  flip(path("a") + "/quarantine/" + id + ".bytes", 7);
  const Ran verified = kvctl({"verify", "--deep"});
  EXPECT_EQ(verified.exit, 4);
  EXPECT_THAT(verified.out, HasSubstr(id + ".bytes"));
}

TEST_F(KvctlInspect, what_a_kill_leaves_is_no_corruption) {
  build();
  // The start after a kill supersedes nothing that was acknowledged; temporary files mean nothing.
  std::ofstream(path("a") + "/snapshots/0000000000000099.snap.tmp") << "half";
  std::ofstream(path("a") + "/runs/0000000000000099.run.tmp") << "half";
  const Ran ran = kvctl({"--json", "verify", "--deep"});
  EXPECT_EQ(ran.exit, 0) << ran.out;
  EXPECT_EQ(ran.json()["leftovers"].size(), 2U);
  for (int i = 0; i < 3; ++i) {
    {
      Store store = open();
      ASSERT_TRUE(store.put(*store.keyspace("logs"), "again", std::to_string(i), {Durability::kProcess}).ok());
    }
    for (const Arguments& command : {Arguments{"verify", "--deep"}, Arguments{"recover", "--explain"}}) {
      const Ran looked = kvctl(command);
      EXPECT_EQ(looked.exit, 0) << looked.out << looked.err;
    }
  }
}

TEST_F(KvctlInspect, wal_dump_tells_each_event) {
  {
    Store store = open();
    const Keyspace users = *store.create_keyspace("users");
    ASSERT_TRUE(store.put(users, "a", "one").ok());
    Batch batch;
    batch.put(users, std::string("\0\xff", 2), "two");
    batch.erase(users, "a");
    batch.erase_range(users, "b", "c");
    ASSERT_TRUE(store.write(batch).ok());
  }
  const Json json = kvctl({"--json", "wal", "dump", "--values"}).json();
  ASSERT_EQ(json["entries"].size(), 3U) << json;
  EXPECT_EQ(json["count"], 3);
  EXPECT_EQ(json["entries"][1]["ops"][0]["key"], "a");
  EXPECT_EQ(json["entries"][1]["ops"][0]["value"], "one");
  const Json ops = json["entries"][2]["ops"];
  ASSERT_EQ(ops.size(), 3U);
  EXPECT_EQ(ops[0]["key_base64"], "AP8=");
  EXPECT_EQ(ops[1]["op"], "del");
  EXPECT_EQ(ops[2]["from"], "b");
  EXPECT_EQ(ops[2]["to"], "c");
  const std::string id = std::to_string(ops[0]["keyspace_id"].get<int>());
  EXPECT_EQ(kvctl({"wal", "dump", "--from", "2", "--to", "2"}).out, "2\tput\t" + id + "\ta\t3 bytes\n");
  EXPECT_EQ(kvctl({"wal", "dump", "--from", "2", "--limit", "1", "--values"}).out, "2\tput\t" + id + "\ta\tone\n");
  EXPECT_EQ(kvctl({"wal", "dump", "99"}).exit, 1) << "no such segment";
}

TEST_F(KvctlInspect, garbage_and_missing_rooms_are_told_and_never_crash) {
  build();
  const std::string store = path("a");
  // Garbage under every kind of name, directories where files should be, an unreadable name.
  for (const char* name : {"/wal/0000000000000077.log", "/wal/tail-0000000000000001", "/runs/0000000000000077.run",
                           "/snapshots/0000000000000077.snap", "/recoveries/0000000000000077.json",
                           "/recoveries/incident-i-0000000000000077.json", "/quarantine/ledger",
                           "/quarantine/q-0123456789abcdef.bytes", "/wal/\xff\n", "/runs/x"}) {
    std::ofstream(store + name) << "garbage \xff";
  }
  for (const char* name : {"/wal/0000000000000078.log", "/runs/0000000000000078.run",
                           "/snapshots/0000000000000078.snap", "/recoveries/0000000000000078.json"}) {
    fs::create_directory(store + name);
  }
  look_at_everything(lookers());
  const Ran verified = kvctl({"--json", "verify"});
  EXPECT_EQ(verified.exit, 4);
  const Json problems = verified.json()["problems"];
  for (const char* name : {"wal/0000000000000077.log", "runs/0000000000000077.run", "snapshots/0000000000000077.snap",
                           "recoveries/0000000000000077.json", "recoveries/incident-i-0000000000000077.json"}) {
    bool named = false;
    for (const Json& problem : problems) named = named || problem["file"] == name;
    EXPECT_TRUE(named) << name;
  }
  EXPECT_EQ(kvctl({"report"}).exit, 0) << "the newest that can be read";
  EXPECT_EQ(kvctl({"report", "77"}).exit, 4);

  for (const char* room : {"recoveries", "quarantine", "runs", "snapshots", "wal"}) {
    fs::remove_all(store + "/" + room);
    if (std::string(room) == "wal") break;
    look_at_everything({{"status"},
                        {"verify", "--deep"},
                        {"wal", "ls"},
                        {"run", "ls"},
                        {"snapshot", "ls"},
                        {"quarantine", "ls"},
                        {"damage", "ls"},
                        {"report"},
                        {"recover", "--explain"}});
  }
  EXPECT_EQ(kvctl({"status"}).exit, 2) << "no room is left: no store";
  EXPECT_EQ(kvctl({"status"}, "", "nowhere").exit, 2);
  EXPECT_FALSE(fs::exists(path("nowhere")));
  fs::create_directory(path("empty"));
  for (const Arguments& command : lookers()) {
    const Ran ran = kvctl(command, "", "empty");
    EXPECT_EQ(ran.exit, 2) << testing::PrintToString(command) << ran.err;
  }
  EXPECT_TRUE(fs::is_empty(path("empty")));
  fs::create_directories(path("file"));
  std::ofstream(path("file") + "/wal") << "a file where a room should be";
  look_at_everything({{"status"}, {"verify", "--deep"}, {"wal", "ls"}, {"run", "ls"}, {"snapshot", "ls"}}, "file");
}

}  // namespace
}  // namespace daruma
