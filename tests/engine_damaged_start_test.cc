// SPDX-License-Identifier: Apache-2.0
//
// heals-alone, while a start has something to heal: a second fault on its way, and deaths in the midst of it.
//
// What is held: one failed call makes no loss of what one start without it heals; a start that dies anywhere has
// decided nothing that the next would not decide, keeps all evidence and makes up none.
// DARUMA_DAMAGE_SCALE multiplies how much is tried; a failure prints its case.
#include "engine/engine.h"

#include <cstdlib>

#include <gtest/gtest.h>
#include <past.h>
#include <sanitized.h>

namespace daruma {
namespace {

std::uint64_t cases() {
  const char* text = std::getenv("DARUMA_DAMAGE_SCALE");
  return (kSanitized ? 15 : 150) * std::max(1ULL, text ? std::strtoull(text, nullptr, 10) : 1);
}

class DamagedStart : public testing::TestWithParam<unsigned> {
 protected:
  /// A start that is killed at its `point`; false: it was over before.
  static bool dies_at(World& world, std::uint64_t point, bool half_done) {
    world.seed = 1000 + point;  // no ring is called as one of the life before
    world.disk->crash_at(world.disk->operations() + point, half_done);
    (void)world.open();
    const bool died = world.disk->crashed();
    world.disk->kill();
    world.disk->disarm();
    return died;
  }
  const Past past_ = live_a_life(GetParam());
};

/// A start may serve, read only, or refuse with a reason. The next, whose calls all work, has everything.
TEST_P(DamagedStart, OneCallThatFailsMakesNoLossOfWhatHeals) {
  constexpr FaultKind kKinds[] = {FaultKind::kReadError,     FaultKind::kWriteError, FaultKind::kSyncError,
                                  FaultKind::kSyncErrorOld,  FaultKind::kNoSpace,    FaultKind::kNoSpaceAtAll,
                                  FaultKind::kSyncErrorLate, FaultKind::kShortWrite, FaultKind::kOpenError,
                                  FaultKind::kNoDescriptors};
  const std::vector<Wound> wounds = wounds_of(*past_.disk);
  std::uint64_t met = 0, refused = 0;
  for (std::uint64_t i = 0; i < cases() && !HasFailure(); ++i) {
    Random random(i * 6 + GetParam());
    const Wound& wound = wounds[random.below(wounds.size())];
    const Fault fault{.kind = kKinds[random.below(std::size(kKinds))],
                      .skip = static_cast<unsigned>(random.below(random.one_in(2) ? 8 : 60)),
                      .times = 1};
    SCOPED_TRACE(wound.name() + ", fault " + std::to_string(static_cast<int>(fault.kind)) + " after " +
                 std::to_string(fault.skip) + ", case " + std::to_string(i));
    World world;
    world.disk = past_.disk->clone(i);
    world.disk->inject(fault);
    wound.damage(i)(*world.disk);
    {
      const Result<Store::Opened> opened = world.open();
      if (opened.ok()) {
        const Answers answers = ask(opened->store, past_);
        EXPECT_EQ(answers.wrong, "") << opened->report.to_text();
      } else {
        EXPECT_NE(opened.status().message(), "");
        EXPECT_FALSE(opened.status().is(Code::kNotFound) || opened.status().is(Code::kDataLoss))
            << opened.status().to_string();
        ++refused;
      }
    }
    met += world.disk->faults_fired();
    world.disk->clear_faults();
    world.disk->kill();
    RecoveryReport report;
    const Store store = world.must_open(&report);
    const Answers answers = ask(store, past_);
    EXPECT_EQ(answers.wrong, "") << report.to_text();
    EXPECT_FALSE(answers.hurt) << report.to_text();
  }
  std::printf("life %u: %llu faults met, %llu starts refused\n", GetParam(), static_cast<unsigned long long>(met),
              static_cast<unsigned long long>(refused));
  EXPECT_GT(met, 0U);
}

/// Both headers of a segment are needed when one cannot be read and the other is refused once.
TEST_P(DamagedStart, OneReadThatIsRefusedCostsNoSegment) {
  for (const Wound& wound : wounds_of(*past_.disk)) {
    if (!wound.path.ends_with(".log") || wound.offset > kSectorBytes || wound.kind != Kind::kUnreadable) continue;
    for (unsigned skip = 0; skip < 12; ++skip) {
      SCOPED_TRACE(wound.name() + ", read " + std::to_string(skip));
      World world;
      world.disk = past_.disk->clone(skip);
      world.disk->inject({.kind = FaultKind::kReadError, .path_contains = wound.path, .skip = skip, .times = 1});
      wound.damage(skip)(*world.disk);
      const Store store = world.must_open();
      const Answers answers = ask(store, past_);
      EXPECT_EQ(answers.wrong, "");
      EXPECT_FALSE(answers.hurt);
    }
  }
}

/// What a start has come to: answers, losses, evidence.
struct Ending {
  std::string answers, wrong;
  std::multiset<std::string> losses, evidence;
};

Ending ending_of(World& world, const Past& past) {
  Ending ending;
  {
    const Store store = world.must_open();
    const Answers answers = ask(store, past);
    ending.answers = answers.all;
    ending.wrong = answers.wrong;
    for (const DamageInfo& loss : store.damage()) {
      // Not its end: where that is not known, each start that dies takes numbers of its own.
      ending.losses.insert(std::to_string(loss.keyspace.value_or(~0U)) + " " + loss.keys + " " + loss.cause + " " +
                           loss.file + " " + std::to_string(loss.first_sequence));
    }
  }
  // Evidence is named by the hash of its contents and place.
  if (const auto quarantine = world.disk->list("store/quarantine"); quarantine.ok()) {
    for (const DirectoryEntry& entry : *quarantine) ending.evidence.insert(entry.name);
  }
  return ending;
}

void expect_same(const Ending& after, const Ending& straight) {
  EXPECT_EQ(after.wrong, "");
  EXPECT_EQ(after.answers, straight.answers);
  EXPECT_EQ(after.losses, straight.losses);
  EXPECT_EQ(after.evidence, straight.evidence);
}

/// Recovery of what a recovery left half done is recovery: deaths up to three deep change nothing.
TEST_P(DamagedStart, ThatDiesAnywhereEndsAsOneThatDidNot) {
  std::uint64_t deaths = 0;
  for (std::uint64_t i = 0; i < cases() && !HasFailure(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    Random random(i * 6 + GetParam());
    World world;
    world.disk = past_.disk->clone(i);
    several_wounds(past_, i)(*world.disk);
    const auto hurt = world.disk->clone(i);
    const std::uint64_t before = world.disk->operations();
    const Ending straight = ending_of(world, past_);
    const std::uint64_t operations = world.disk->operations() - before;
    EXPECT_EQ(straight.wrong, "");
    world.disk = hurt->clone(i + 1);
    for (std::uint64_t depth = 1 + random.below(3); depth > 0; --depth) {
      deaths += dies_at(world, random.below(operations), random.one_in(2));
    }
    expect_same(ending_of(world, past_), straight);
  }
  std::printf("life %u: %llu starts died\n", GetParam(), static_cast<unsigned long long>(deaths));
  EXPECT_GT(deaths, cases());
}

/// As above, at each point, with what has once gone wrong: the newest state in nothing but recoveries/manifest when the
/// log is hurt, and numbers missed in front of a segment that is then given back.
TEST_P(DamagedStart, ThatDiesAtEachPointEndsAsOneThatDidNot) {
  const auto files = files_of(*past_.disk);
  const auto newest = [&](const std::string& room, const std::string& suffix) {
    std::string found;
    for (const auto& [path, bytes] : files) {
      if (path.starts_with(room) && path.ends_with(suffix)) found = path;
    }
    return found;
  };
  const std::string log = newest("store/wal/", ".log");
  for (const std::string& other :
       {newest("store/snapshots/", ".snap"), std::string("store/wal/0000000000000001.log")}) {
    if (other == log || !past_.disk->open(other, OpenMode::kRead).ok()) continue;
    World world;
    world.disk = past_.disk->clone(1);
    for (const std::string& gone : {log, other}) EXPECT_TRUE(world.disk->remove(gone).ok());
    const auto hurt = world.disk->clone(1);
    const Ending straight = ending_of(world, past_);
    EXPECT_EQ(straight.wrong, "");
    std::uint64_t at = 0;
    for (bool died = true; died && !HasFailure(); at += kSanitized ? 5 : 1) {
      SCOPED_TRACE("without " + log + " and " + other + ", at " + std::to_string(at));
      world.disk = hurt->clone(at);
      died = dies_at(world, at, at % 2 == 0);
      for (int start = 0; start < 2; ++start) {
        expect_same(ending_of(world, past_), straight);
        world.disk->kill();
      }
    }
    EXPECT_GT(at, 20U);
  }
}

INSTANTIATE_TEST_SUITE_P(Lives, DamagedStart, testing::Range(0U, 6U));

}  // namespace
}  // namespace daruma
