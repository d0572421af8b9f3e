// SPDX-License-Identifier: Apache-2.0
//
// Metrics that survive crashes, because they are carried in `recoveries/`; what a store tells other processes of
// itself; and the reader that both stand on. On a simulated disk.
#include "daruma/metrics.h"

#include <engine_testing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/prometheus_writer.h"
#include "engine/live_view.h"
#include "recovery/history.h"

namespace daruma {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// --- the reader of JSON ---

TEST(JsonReader, ReadsWhatTheWriterWrites) {
  JsonWriter j;
  j.begin_object().member("text", "a\"\\\n\x01\xff\xc3\xa9").member("big", ~std::uint64_t{0}).member("less", -5);
  j.member("yes", true).key("list").begin_array().value(1.5).null().begin_object().end().end().end();
  const Result<JsonValue> read = parse_json(j.take());
  ASSERT_TRUE(read.ok()) << read.status().to_string();
  EXPECT_EQ(read->at("text").text(), "a\"\\\n\x01\xc3\xbf\xc3\xa9") << "a stray byte comes back as Latin-1 has it";
  EXPECT_EQ(read->at("big").number(), ~std::uint64_t{0});
  EXPECT_EQ(read->at("less").signed_number(), -5);
  EXPECT_EQ(read->at("less").number(7), 7U) << "no digits are made up";
  EXPECT_TRUE(read->at("yes").boolean());
  ASSERT_EQ(read->at("list").items().size(), 3U);
  EXPECT_EQ(read->at("list").items()[0].real(), 1.5);
  EXPECT_TRUE(read->at("list").items()[1].is_null());
  EXPECT_TRUE(read->at("nothing").at("below").is_null());
  EXPECT_EQ(parse_json(R"("\ud83e\udea8")")->text(), "\xf0\x9f\xaa\xa8");
}

TEST(JsonReader, RefusesWhatIsNoJsonAndSaysWhere) {
  for (const char* bad : {"",
                          " ",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{a:1}",
                          "01",
                          "1.",
                          "1e",
                          "-",
                          "tru",
                          "nulll",
                          "\"\t\"",
                          "\"\\x\"",
                          "\"\\u12g4\"",
                          "\"\\ud800\"",
                          "\"\\udc00\"",
                          "\"\xff\"",
                          "\"a",
                          "1 2",
                          "{\"a\" 1}",
                          "[1 2]",
                          "{\"a\":1 \"b\":2}",
                          "+1",
                          ".5",
                          "\"\\u 123\"",
                          "\"\\u+123\""}) {
    const Result<JsonValue> read = parse_json(bad);
    EXPECT_TRUE(read.status().is(Code::kCorruption)) << bad;
    if (!read.ok()) { EXPECT_TRUE(read.status().where().offset.has_value()) << bad; }
  }
  EXPECT_EQ(*parse_json("[1,x]").status().where().offset, 3U);
  EXPECT_TRUE(parse_json(std::string(kJsonDepthMax, '[') + std::string(kJsonDepthMax, ']')).ok());
  EXPECT_FALSE(parse_json(std::string(kJsonDepthMax + 1, '[') + std::string(kJsonDepthMax + 1, ']')).ok());
  EXPECT_FALSE(parse_json(std::string(1 << 20, '[')).ok()) << "and costs no stack";
}

// --- sums ---

TEST(DurationHistogram, PutsADurationBelowItsBound) {
  DurationHistogram h;
  h.add(1'000'000);
  h.add(1'000'001);
  h.add(std::int64_t{4'000'000'000'000});
  h.add(-5);
  EXPECT_EQ(h.counts[0], 2U) << "bounds belong to what is below them";
  EXPECT_EQ(h.counts[1], 1U);
  EXPECT_EQ(h.counts.back(), 1U);
  EXPECT_EQ(h.count(), 4U);
  EXPECT_EQ(h.sum_ns, 4'000'002'000'001);
}

class MetricsOfAStore : public ::testing::Test {
 protected:
  Store open() {
    Store store = world_.must_open(&report_);
    if (const auto k = store.keyspace("k"); k.ok()) {
      keyspace_ = *k;
    } else {
      keyspace_ = *store.create_keyspace("k");
    }
    return store;
  }
  void fill(Store& store, int from, int to) {
    for (int i = from; i < to; ++i)
      ASSERT_TRUE(store.put(keyspace_, "key" + std::to_string(i), std::string(500, 'v')).ok());
  }
  static const RecoveriesOf& of(const std::vector<RecoveriesOf>& all, std::string_view cause) {
    for (const RecoveriesOf& each : all) {
      if (each.cause == cause) return each;
    }
    ADD_FAILURE() << "nothing of " << cause;
    static const RecoveriesOf kNone;
    return kNone;
  }
  static Status step(Store& store) { return Engine::of(store).step(); }
  Result<RecoveryReport> kept(std::uint64_t start) {
    return parse_report(*read_whole(*world_.disk, "store/recoveries/" + report_name(start), 1 << 20));
  }
  /// Fills a keyspace and compacts it, so that the older generation does not help; the runs that it has from then on.
  std::vector<std::string> fill_runs(Store& store) {
    EXPECT_TRUE(store.checkpoint().ok());
    const auto before = contents(*world_.disk, "store/runs");
    fill(store, 0, 200);
    EXPECT_TRUE(store.compact(keyspace_).ok());
    EXPECT_TRUE(store.trim().ok());
    std::vector<std::string> paths;
    for (const auto& [path, bytes] : contents(*world_.disk, "store/runs")) {
      if (!before.contains(path)) paths.push_back(path);
    }
    EXPECT_FALSE(paths.empty());
    return paths;
  }
  World world_;
  RecoveryReport report_;
  Keyspace keyspace_;
};

TEST_F(MetricsOfAStore, StartsAreCountedByWhatTheyRecoveredFromOverAllLives) {
  {
    Store store = open();
    fill(store, 0, 20);
  }
  EXPECT_EQ(report_.cause, "created");
  world_.disk->kill();
  {
    Store store = open();
    fill(store, 20, 30);
  }
  EXPECT_EQ(report_.cause, "kill");
  world_.disk->power_cut();
  { Store store = open(); }
  EXPECT_EQ(report_.cause, "power_cut");
  world_.disk->kill();
  Store store = open();
  const RecoveryHistory& h = store.metrics().recoveries;
  EXPECT_EQ(h.starts, 4U);
  EXPECT_EQ(of(h.by_cause, "created").time.count(), 1U);
  EXPECT_EQ(of(h.by_cause, "kill").time.count(), 2U);
  EXPECT_EQ(of(h.by_cause, "power_cut").time.count(), 1U);
  EXPECT_EQ(h.starts_time().count(), 3U) << "to make a store is no recovery";
  EXPECT_GT(h.starts_time().mean_ns(), 0);
  EXPECT_EQ(h.success_ratio(), 1);
  EXPECT_GT(h.events_replayed, 0U);
}

TEST_F(MetricsOfAStore, SumsOnlyGrowHoweverFewReportsAreLeft) {
  for (int life = 0; life < 5; ++life) {
    Store store = open();
    fill(store, 0, 3);
    world_.disk->kill();
  }
  for (int start = 1; start < 5; ++start)
    ASSERT_TRUE(world_.disk->remove("store/recoveries/" + report_name(static_cast<std::uint64_t>(start))).ok());
  {
    Store store = open();
    EXPECT_EQ(store.metrics().recoveries.starts, 6U);
  }
  world_.disk->kill();
  ASSERT_TRUE(world_.disk->overwrite("store/recoveries/" + report_name(6), 0, "{{{{").ok());
  Store store = open();
  EXPECT_EQ(store.metrics().recoveries.starts, 6U) << "the one before the report that cannot be read, and this one";
}

TEST_F(MetricsOfAStore, ALossCountsAsAFailureWithItsBlastRadius) {
  std::vector<std::string> runs;
  {
    Store store = open();
    for (const char* name : {"other", "third"}) {
      ASSERT_TRUE(store.create_keyspace(name).ok());
      ASSERT_TRUE(store.put(*store.keyspace(name), "a", "b").ok());
    }
    runs = fill_runs(store);
    EXPECT_EQ(store.metrics().blast_radius.keyspaces, 3U);
    EXPECT_EQ(store.metrics().blast_radius.entry_ratio(), 0);
  }
  world_.disk->kill();
  const auto hurt = [&](const std::string& run, std::uint64_t from) {
    const std::size_t bytes = read_whole(*world_.disk, run, 1 << 20)->size();
    ASSERT_TRUE(world_.disk->overwrite(run, from, std::string(bytes - from, '\x5a')).ok());
  };
  {
    for (const std::string& run : runs) hurt(run, 4096);
    Store store = open();
    (void)store.scrub();  // starts do not read runs to the end
    const BlastRadius radius = store.metrics().blast_radius;
    EXPECT_EQ(radius.keyspaces_hurt, 1U);
    EXPECT_GT(radius.entries_hurt, 0U);
    EXPECT_LE(radius.entries_hurt, radius.entries);
  }
  world_.disk->kill();
  const auto left = contents(*world_.disk, "store/runs");
  for (const auto& [path, bytes] : left) ASSERT_TRUE(world_.disk->remove(path).ok());
  Store store = open();
  ASSERT_FALSE(report_.clean());
  EXPECT_EQ(report_.cause, "loss");
  const Metrics m = store.metrics();
  EXPECT_EQ(of(m.recoveries.by_cause, "loss").failed, 1U);
  EXPECT_LT(m.recoveries.success_ratio(), 1);
  EXPECT_GT(m.recoveries.lost.stretches, 0U);
  EXPECT_GT(report_.blast_radius.keyspaces_hurt, 0U);
  EXPECT_EQ(m.recoveries.keyspace_ratio_max, 1);
}

TEST_F(MetricsOfAStore, ARunThatComesBackWasAFalseAlarm) {
  {
    Store store = open();
    fill(store, 0, 10);
    ASSERT_TRUE(store.checkpoint().ok());
  }
  world_.disk->kill();
  const std::string newest = contents(*world_.disk, "store/runs").rbegin()->first;
  world_.disk->inject({.kind = FaultKind::kOpenError, .path_contains = newest, .skip = 0, .times = 0});
  {
    Store store = open();
    EXPECT_EQ(store.metrics().recoveries.false_positive_ratio(), 0);
    fill(store, 300, 310);
    ASSERT_TRUE(store.checkpoint().ok());  // whose manifest keeps the loss
  }
  ASSERT_FALSE(report_.clean());
  world_.disk->kill();
  world_.disk->clear_faults();
  Store store = open();
  EXPECT_GT(report_.losses_found_again, 0U);
  EXPECT_EQ(store.metrics().recoveries.losses_found_again, report_.losses_found_again);
  EXPECT_GT(store.metrics().recoveries.false_positive_ratio(), 0);
  EXPECT_EQ(store.metrics().blast_radius.keyspaces_hurt, 0U);
}

TEST_F(MetricsOfAStore, AnIncidentIsCountedOnceByTheLifeItHappenedInOrTheNext) {
  {
    Store store = open();
    world_.disk->inject({.kind = FaultKind::kWriteError, .path_contains = "wal", .skip = 0, .times = 0});
    for (int i = 0; i < 5; ++i) (void)store.put(keyspace_, "k", std::string(1000, 'x'));
    for (int i = 0; i < 6; ++i) (void)step(store);
    const RecoveriesOf escalated = of(store.metrics().recoveries.incidents, "log_down");
    EXPECT_EQ(escalated.failed, 1U);
    ASSERT_EQ(store.incidents().size(), 1U);
    EXPECT_EQ(store.incidents().front().over_wall_ns, 0);
    world_.disk->clear_faults();
    for (int i = 0; i < 3; ++i) (void)step(store);
    EXPECT_GT(store.incidents().front().over_wall_ns, store.incidents().front().ended_wall_ns);
    const Incident kept = *parse_incident(
        *read_whole(*world_.disk, "store/recoveries/" + incident_file(store.incidents().front().id), 1 << 20));
    EXPECT_EQ(kept.over_wall_ns, store.incidents().front().over_wall_ns) << "durable too";
    EXPECT_EQ(kept.to_json(), store.incidents().front().to_json());
    ASSERT_TRUE(store.run_playbook("no_space").ok());  // a person's is no failure
    EXPECT_EQ(store.metrics().recoveries.incidents.size(), 1U);
  }
  for (int life = 0; life < 3; ++life) {
    world_.disk->kill();
    Store store = open();
    EXPECT_EQ(of(store.metrics().recoveries.incidents, "log_down").time.count(), 1U) << "life " << life;
  }
}

TEST_F(MetricsOfAStore, WhatIsOverBeforeItsFirstStepIsAFalseAlarm) {
  constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;
  world_.disk->set_capacity(kPlenty);
  Store store = open();
  ASSERT_TRUE(step(store).ok());
  ASSERT_TRUE(stands_as_file(*world_.disk, "store", "ballast"));
  fill(store, 0, 10);
  const auto log_rests = [&] {
    for (const ComponentInfo& info : store.components()) {
      if (info.name == "log") return info.breaker == "open";
    }
    return false;
  };
  // The log is down until its breaker opens, and then the device is full too: the playbook for that, which comes first,
  // gives back the ballast and ends both.
  world_.disk->inject({.kind = FaultKind::kWriteError, .path_contains = "wal", .skip = 0, .times = 0});
  EXPECT_FALSE(store.put(keyspace_, "k", "v").ok());
  for (int i = 0; i < 6 && !log_rests(); ++i) (void)step(store);
  ASSERT_TRUE(log_rests());
  ASSERT_TRUE(store.incidents().empty());
  world_.disk->clear_faults();
  world_.disk->set_capacity(kPlenty - *world_.disk->free_bytes("store") + (64 << 10));
  (void)step(store);
  const std::vector<Incident> incidents = store.incidents();
  ASSERT_EQ(incidents.size(), 2U);
  EXPECT_EQ(incidents[0].failure, "no_space");
  EXPECT_EQ(incidents[0].outcome, "resolved");
  EXPECT_FALSE(incidents[0].steps.empty());
  EXPECT_EQ(incidents[1].failure, "log_down");
  EXPECT_EQ(incidents[1].outcome, "resolved");
  EXPECT_TRUE(incidents[1].steps.empty()) << incidents[1].to_json();
  std::uint64_t needless = 0;
  for (const RecoveriesOf& each : store.metrics().recoveries.incidents) {
    needless += each.needless;
    EXPECT_EQ(each.needless, each.cause == "log_down" ? 1U : 0U) << each.cause;
  }
  EXPECT_EQ(needless, 1U);
  Incident none;
  none.failure = "log_down";
  none.outcome = "resolved";
  RecoveryHistory h;
  count(h, none);
  EXPECT_EQ(h.false_positive_ratio(), 1);
  EXPECT_EQ(h.success_ratio(), 1);
}

TEST_F(MetricsOfAStore, ABreakerWhoseFirstAttemptPassedOpenedNeedlessly) {
  Store store = open();
  fill(store, 0, 10);
  const auto breaker = [&](std::string_view name) {
    for (const ComponentInfo& info : store.components()) {
      if (info.name == name) return info;
    }
    return ComponentInfo();
  };
  const auto trip = [&](bool mended_at_once) {
    world_.disk->inject({.kind = FaultKind::kWriteError, .path_contains = "runs", .skip = 0, .times = 0});
    for (int i = 0; i < 3; ++i) (void)store.checkpoint();
    if (mended_at_once) world_.disk->clear_faults();
    world_.clock.advance(60'000'000'000);
    (void)store.checkpoint();
    world_.disk->clear_faults();
    world_.clock.advance(60'000'000'000);
    ASSERT_TRUE(store.checkpoint().ok());
    fill(store, 0, 10);
  };
  trip(true);
  EXPECT_EQ(breaker("checkpoint").breaker_opened, 1U);
  EXPECT_EQ(breaker("checkpoint").breaker_needless, 1U);
  trip(false);
  EXPECT_EQ(breaker("checkpoint").breaker_opened, 2U);
  EXPECT_EQ(breaker("checkpoint").breaker_needless, 1U) << "this one was needed";
}

TEST_F(MetricsOfAStore, TheLastSignOfLifeIsTheNewestTimeThatAnythingTells) {
  world_.clock.advance(1'000'000'000'000);
  std::int64_t wrote = 0;
  {
    Store store = open();
    fill(store, 0, 5);
    world_.clock.advance(5'000'000'000);
    fill(store, 5, 6);
    wrote = world_.clock.wall_ns();
    EXPECT_EQ(kept(1)->history.by_cause.front().down_ns, 0) << "nobody was there before";
  }
  world_.disk->kill();
  world_.clock.advance(60'000'000'000);
  { Store store = open(); }
  EXPECT_NEAR(static_cast<double>(kept(2)->last_sign_of_life_wall_ns), static_cast<double>(wrote), 1e9);
  EXPECT_NEAR(static_cast<double>(of(kept(2)->history.by_cause, "kill").down_ns), 60e9, 1e9);
  world_.disk->kill();
  world_.clock.advance(7'000'000'000);
  std::int64_t published = 0;
  {
    Store store = open();
    world_.clock.advance(30'000'000'000);
    Engine::of(store).publish_view(false);  // an idle store has nothing else to tell
    published = world_.clock.wall_ns();
  }
  world_.disk->kill();
  world_.clock.advance(2'000'000'000);
  { Store store = open(); }
  EXPECT_NEAR(static_cast<double>(kept(4)->last_sign_of_life_wall_ns), static_cast<double>(published), 1e8);
}

// --- what other processes are told ---

TEST_F(MetricsOfAStore, TheViewIsReadBackAsItWasPublished) {
  Store store = open();
  fill(store, 0, 50);
  Engine::of(store).publish_view(false);
  const std::string text = *read_whole(*world_.disk, "store/recoveries/live.json", 1 << 20);
  const Result<LiveView> view = parse_live_view(text);
  ASSERT_TRUE(view.ok()) << view.status().to_string();
  EXPECT_EQ(view->number, 1U);
  EXPECT_EQ(view->boot, world_.disk->boot_id());
  EXPECT_EQ(view->metrics.start_number, 1U);
  EXPECT_EQ(to_json(*view), text) << "nothing is lost on the way";
  EXPECT_EQ(view->metrics.to_prometheus(), store.metrics().to_prometheus());
}

TEST_F(MetricsOfAStore, TheViewIsPublishedOnceASecondAndSeldomWhenNothingChanges) {
  Store store = open();
  const auto number = [&] {
    return parse_live_view(*read_whole(*world_.disk, "store/recoveries/live.json", 1 << 20))->number;
  };
  const auto publish = [&](std::int64_t later_ns, bool news = false) {
    world_.clock.advance(later_ns);
    Engine::of(store).publish_view(news);
    return number();
  };
  EXPECT_EQ(publish(0), 1U);
  fill(store, 0, 1);
  EXPECT_EQ(publish(500'000'000), 1U);
  EXPECT_EQ(publish(600'000'000), 2U);
  EXPECT_EQ(publish(5'000'000'000), 2U) << "nothing has changed";
  EXPECT_EQ(publish(6'000'000'000), 3U) << "but that it lives";
  EXPECT_EQ(publish(1'000, true), 4U) << "a change of health at once";
}

TEST_F(MetricsOfAStore, ADeviceThatDoesNotTakeTheViewCostsNothing) {
  Store store = open();
  Engine::of(store).publish_view(true);
  const std::string before = *read_whole(*world_.disk, "store/recoveries/live.json", 1 << 20);
  for (const FaultKind kind :
       {FaultKind::kWriteError, FaultKind::kNoSpace, FaultKind::kOpenError, FaultKind::kShortWrite}) {
    world_.disk->inject({.kind = kind, .path_contains = "live.json", .skip = 0, .times = 0});
    Engine::of(store).publish_view(true);
    world_.disk->clear_faults();
    EXPECT_EQ(*read_whole(*world_.disk, "store/recoveries/live.json", 1 << 20), before);
  }
  EXPECT_EQ(store.health().level, HealthLevel::kHealthy) << store.health().to_json();
  fill(store, 0, 5);
  Engine::of(store).publish_view(true);
  EXPECT_NE(*read_whole(*world_.disk, "store/recoveries/live.json", 1 << 20), before);
}

TEST_F(MetricsOfAStore, NoStartBelievesAView) {
  {
    Store store = open();
    fill(store, 0, 5);
    Engine::of(store).publish_view(true);
  }
  for (const char* noise : {"", "{", "\xff\xff", R"({"schema":"daruma.live/1","metrics":{}})"}) {
    world_.disk->kill();
    ASSERT_TRUE(replace(*world_.disk, "store/recoveries", "live.json", noise).ok());
    Store store = open();
    EXPECT_TRUE(report_.clean());
    EXPECT_TRUE(report_.findings.size() <= 1) << report_.to_text();
    EXPECT_TRUE(store.get(keyspace_, "key4").ok());
  }
}

// --- Prometheus ---

/// Lines of the text, and its families: what promtool would hold against it, as far as one page can.
struct Exposition {
  std::map<std::string, std::string> types;
  std::vector<std::pair<std::string, std::string>> samples;  // name with labels, value
  explicit Exposition(const std::string& text) {
    const std::regex sample(R"re(^([a-z_:][a-z0-9_:]*)(\{([a-z_]+="([^"\\\n]|\\[\\"n])*"(,|(?=\})))+\})? (\S+)$)re");
    std::istringstream in(text);
    std::string family;
    std::set<std::string> seen;
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("# HELP ")) {
        family = line.substr(7, line.find(' ', 7) - 7);
        EXPECT_FALSE(types.contains(family)) << "twice: " << family;
        EXPECT_GT(line.size(), 8 + family.size()) << line;
        continue;
      }
      if (line.starts_with("# TYPE ")) {
        EXPECT_EQ(line.substr(7, family.size()), family);
        types[family] = line.substr(8 + family.size());
        continue;
      }
      std::smatch match;
      EXPECT_TRUE(std::regex_match(line, match, sample)) << line;
      std::string name = match[1];
      if (types[family] == "histogram") {
        EXPECT_TRUE(name == family + "_bucket" || name == family + "_sum" || name == family + "_count") << line;
      } else {
        EXPECT_EQ(name, family) << line;
      }
      EXPECT_TRUE(seen.insert(name + match[2].str()).second) << "twice: " << line;
      samples.emplace_back(name + match[2].str(), match[6]);
    }
  }
};

TEST_F(MetricsOfAStore, TheTextFollowsTheConventions) {
  {
    Store store = open();
    fill(store, 0, 5);
  }
  world_.disk->kill();
  Store store = open();
  ASSERT_TRUE(store.create_keyspace("odd \"\\\n\xff name").ok());
  const std::string text = store.metrics().to_prometheus();
  const Exposition read(text);
  EXPECT_GT(read.types.size(), 50U);
  for (const auto& [name, type] : read.types) {
    EXPECT_TRUE(name.starts_with("daruma_")) << name;
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
    EXPECT_EQ(name.find("milli"), std::string::npos) << name;
  }
  EXPECT_THAT(text, HasSubstr("{keyspace=\"odd \\\"\\\\\\n\xc3\xbf name\"}"));
  // Buckets rise and end with the count.
  std::map<std::string, std::uint64_t> last;
  for (const auto& [name, value] : read.samples) {
    const std::size_t le = name.find(",le=");
    if (le == std::string::npos) continue;
    const std::string series = name.substr(0, le);
    EXPECT_GE(std::stoull(value), last[series]) << name;
    last[series] = std::stoull(value);
  }
  EXPECT_EQ(last.at("daruma_recovery_duration_seconds_bucket{cause=\"kill\""), 1U);
  EXPECT_THAT(text, HasSubstr("daruma_recovery_duration_seconds_count{cause=\"kill\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("daruma_health_level 0\n"));
}

TEST(PrometheusWriter, NumbersReadBackAsTheyWere) {
  const std::uint64_t seed = entropy_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (int i = 0; i < 2000; ++i) {
    const double value = static_cast<double>(static_cast<std::int64_t>(random.next())) /
                         static_cast<double>(1 + random.below(1'000'000'000));
    EXPECT_EQ(std::strtod(PrometheusWriter::number(value).c_str(), nullptr), value);
  }
  EXPECT_EQ(PrometheusWriter::number(0.25), "0.25");
  EXPECT_EQ(PrometheusWriter::number(300), "300");
}

/// Words that look like names of metrics, without what a histogram adds.
std::set<std::string> metrics_named_in(const std::string& file) {
  std::ifstream in(DARUMA_SOURCE_DIR "/docs/" + file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_FALSE(text.empty()) << file;
  std::set<std::string> names;
  const std::regex name("daruma_[a-z_]+");
  for (std::sregex_iterator at(text.begin(), text.end(), name); at != std::sregex_iterator(); ++at)
    names.insert(std::regex_replace(at->str(), std::regex("_(bucket|sum|count)$"), ""));
  return names;
}

TEST_F(MetricsOfAStore, DocsDashboardAndAlertsNameWhatThereIs) {
  Store store = open();
  const Exposition read(store.metrics().to_prometheus());
  std::set<std::string> known;
  for (const auto& [name, type] : read.types) known.insert(name);
  known.insert({"daruma_live", "daruma_live_view_age_seconds"});  // of kvctl, which alone knows
  for (const char* file : {"monitoring/daruma.rules.yml", "monitoring/grafana.json"}) {
    const std::set<std::string> named = metrics_named_in(file);
    EXPECT_GT(named.size(), 5U) << file;
    for (const std::string& name : named) EXPECT_TRUE(known.contains(name)) << file << " names " << name;
  }
  const std::set<std::string> in_doc = metrics_named_in("monitoring.md");
  for (const std::string& name : known) EXPECT_TRUE(in_doc.contains(name)) << "docs/monitoring.md lacks " << name;
  for (const std::string& name : in_doc) EXPECT_TRUE(known.contains(name)) << "docs/monitoring.md names " << name;
}

}  // namespace
}  // namespace daruma
