// SPDX-License-Identifier: Apache-2.0
//
// never-wrong, always-opens and says-so, by damaging small stores in every place and comparing with a model.
//
// What is held for each case: the store opens; each get, of keys that are there, were there and never were, gives what
// the model says or an error that names damage; so do scans both ways, which skip nothing in silence; what no longer
// reads is told of by report, damage map or the read itself; a second open gives the same answers.
// DARUMA_DAMAGE_SCALE multiplies the slice of all cases that is run (0: every one); a failure prints its case.
#include "engine/engine.h"

#include <cstdlib>
#include <set>

#include <gtest/gtest.h>
#include <past.h>

namespace daruma {
namespace {

std::uint64_t scale() {
  const char* text = std::getenv("DARUMA_DAMAGE_SCALE");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

/// Opens twice and judges. Empty: all is well.
std::string try_damage(const Past& past, const Damage& damage, bool* hurt = nullptr) {
  World world;
  world.disk = past.disk->clone(2);
  damage(*world.disk);
  std::string first;
  for (int start = 0; start < 2; ++start) {
    Result<Store::Opened> opened = world.open();
    if (!opened.ok()) return "open " + std::to_string(start + 1) + " refuses: " + opened.status().to_string();
    const Answers answers = ask(opened->store, past);
    if (!answers.wrong.empty())
      return "open " + std::to_string(start + 1) + ": " + answers.wrong + "\n" + opened->report.to_text();
    if (hurt) *hurt = answers.hurt;
    if (start == 0)
      first = answers.all;
    else if (first != answers.all)
      return "the second open answers otherwise\n" + opened->report.to_text();
    opened = Status(Code::kAborted, "killed");
    world.disk->kill();
  }
  return {};
}

class EngineDamageTest : public testing::TestWithParam<unsigned> {
 protected:
  void check(const std::string& what, const Damage& damage, bool may_hurt = true) {
    ++cases_;
    bool hurt = false;
    std::string wrong = try_damage(past_, damage, &hurt);
    if (wrong.empty() && hurt && !may_hurt) wrong = "something is lost";
    hurt_ += hurt;
    if (!wrong.empty() && ++failures_ <= 5) ADD_FAILURE() << "life " << GetParam() << ", " << what << ": " << wrong;
  }
  void TearDown() override {
    std::printf("life %u: %llu cases, %llu of them lost something, %llu wrong\n", GetParam(),
                static_cast<unsigned long long>(cases_), static_cast<unsigned long long>(hurt_),
                static_cast<unsigned long long>(failures_));
    EXPECT_EQ(failures_, 0u);
  }
  Past past_ = live_a_life(GetParam());
  std::uint64_t cases_ = 0, hurt_ = 0, failures_ = 0;
};

TEST_P(EngineDamageTest, NothingIsWrongUndamaged) {
  bool hurt = true;
  EXPECT_EQ(try_damage(
                past_, [](SimStorage&) {}, &hurt),
            "");
  EXPECT_FALSE(hurt);
}

TEST_P(EngineDamageTest, EachFileRemovedOrCut) {
  std::vector<std::pair<std::string, Damage>> cases;
  const auto check = [&](std::string what, Damage damage) { cases.emplace_back(std::move(what), std::move(damage)); };
  for (const auto& [path, bytes] : files_of(*past_.disk)) {
    check("remove " + path, [p = path](SimStorage& disk) { EXPECT_TRUE(disk.remove(p).ok()); });
    check("cannot read " + path,
          [&, p = path](SimStorage& disk) { disk.inject({.kind = FaultKind::kReadError, .path_contains = p}); });
    for (const std::uint64_t left :
         {std::uint64_t{0}, std::uint64_t{100}, bytes / 2, bytes / 2 / 4096 * 4096, bytes - 1}) {
      if (left >= bytes) continue;
      check("cut " + path + " to " + std::to_string(left),
            [left, p = path](SimStorage& disk) { EXPECT_TRUE(disk.truncate(p, left).ok()); });
    }
  }
  Random random(GetParam() + 50);
  const std::uint64_t want = scale() == 0 ? cases.size() : std::min<std::uint64_t>(cases.size(), 25 * scale());
  for (std::uint64_t i = 0; i < want; ++i) {
    const auto& [what, damage] = cases[want == cases.size() ? i : random.below(cases.size())];
    EngineDamageTest::check(what, damage);
  }
}

TEST_P(EngineDamageTest, OneFaultFree_EachSector) {
  const std::vector<Wound> wounds = wounds_of(*past_.disk);
  const std::uint64_t want = scale() == 0 ? wounds.size() : std::min<std::uint64_t>(wounds.size(), 20 * scale());
  Random random(GetParam());
  for (std::uint64_t i = 0; i < want; ++i) {
    const std::uint64_t at = want == wounds.size() ? i : random.below(wounds.size());
    check(wounds[at].name(), wounds[at].damage(at), false);
  }
}

TEST_P(EngineDamageTest, SeveralAtOnce) {
  const std::uint64_t from = scale() > 1 || scale() == 0 ? entropy_seed() % 1'000'000 : 0;
  const std::uint64_t count = 8 * std::max<std::uint64_t>(1, scale());
  for (std::uint64_t seed = from; seed < from + count; ++seed) {
    check("seed " + std::to_string(seed), several_wounds(past_, seed));
  }
}

INSTANTIATE_TEST_SUITE_P(Lives, EngineDamageTest, testing::Range(0u, 6u));

}  // namespace
}  // namespace daruma
