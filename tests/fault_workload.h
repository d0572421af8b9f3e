// SPDX-License-Identifier: Apache-2.0
// A random workload beside a model that knows what a reader may see while a device fails, and what may be left after a
// crash.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <engine_testing.h>
#include <gtest/gtest.h>

namespace daruma {

/// Two keyspaces and what they should hold.
class Workload {
 public:
  Workload(World& world, std::uint64_t seed) : world_(world), random_(seed), store_(world.must_open()) {
    EXPECT_TRUE(store_.create_keyspace("a").ok());
    EXPECT_TRUE(store_.create_keyspace("b").ok());
  }

  Store& store() { return store_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

  void step() {
    const std::uint64_t what = random_.below(20);
    if (what < 13) return write();
    if (what < 15) return look();
    Status status;
    if (what < 17) {
      status = store_.checkpoint();
    } else if (what < 19) {
      status = Engine::of(store_).step();
    } else {
      status = store_.compact(*store_.keyspace("a"));
    }
    if (!status.ok()) expect_clear(status);
  }

  void write() {
    Batch batch;
    std::map<std::string, std::string> puts;
    for (std::uint64_t n = 1 + random_.below(3); n > 0; --n) {
      std::string value(random_.one_in(12) ? 70'000 : random_.below(3000), '\0');
      for (char& c : value) c = static_cast<char>(random_.next());
      puts["key" + std::to_string(random_.below(25))] = std::move(value);
    }
    for (const char* name : {"a", "b"}) {
      for (const auto& [key, value] : puts) batch.put(*store_.keyspace(name), key, value);
    }
    const bool power = random_.one_in(2);
    const Status status =
        store_.write(batch, {.durability = power ? Durability::kPower : Durability::kProcess}).status();
    auto next = visible_;
    for (const auto& [key, value] : puts) next[key] = value;
    if (status.ok()) {
      visible_ = std::move(next);
      if (power) durable_.clear();
      durable_.push_back(visible_);
      return;
    }
    expect_clear(status);
    ++refused_;
    // It may have happened or not, but whole, and readers see which.
    const auto& [key, value] = *puts.begin();
    const Result<std::string> got = store_.get(*store_.keyspace("a"), key);
    const bool happened = got.ok() && *got == value;
    durable_.push_back(next);
    if (happened) visible_ = std::move(next);
    durable_.push_back(visible_);
    expect_reads_right();
  }

  void look() {
    const std::string key = "key" + std::to_string(random_.below(25));
    for (const char* name : {"a", "b"}) {
      const Result<std::string> got = store_.get(*store_.keyspace(name), key);
      const auto it = visible_.find(key);
      if (got.ok()) {
        ASSERT_NE(it, visible_.end()) << key;
        EXPECT_TRUE(*got == it->second) << key;
      } else if (got.status().is(Code::kNotFound)) {
        EXPECT_EQ(it, visible_.end()) << key << " is denied";
      } else {
        expect_clear(got.status());
      }
    }
  }

  void expect_reads_right() {
    for (const char* name : {"a", "b"}) EXPECT_TRUE(read(name) == visible_) << "keyspace " << name;
  }

  /// The fault is over: the store comes back on its own.
  void expect_healed() {
    Status status;
    for (int round = 0; round < 3; ++round) status = Engine::of(store_).step();
    EXPECT_TRUE(status.ok()) << status.to_string();
    EXPECT_TRUE(store_.stats().background.ok()) << store_.stats().background.to_string();
    expect_reads_right();
    const std::uint64_t before = refused_;
    write();
    EXPECT_EQ(refused_, before);
    EXPECT_TRUE(store_.checkpoint().ok());
    EXPECT_TRUE(store_.compact(*store_.keyspace("a")).ok());
    EXPECT_TRUE(store_.sync().ok());
    durable_ = {visible_};
    expect_reads_right();
  }

  /// The process dies: what it had written is there, whatever the device says.
  void expect_survives_kill() {
    world_.disk->kill();
    durable_.push_back(visible_);
    expect_one_of_durable();
  }

  /// The power fails: what comes back is one of the states since the last one known durable.
  void expect_survives_power_cut(unsigned survive_percent) {
    world_.disk->power_cut(survive_percent);
    expect_one_of_durable();
  }

 private:
  void expect_one_of_durable() {
    world_.disk->clear_faults();
    RecoveryReport report;
    store_ = world_.must_open(&report);
    EXPECT_TRUE(report.clean()) << report.to_json();
    const auto held = read("a");
    EXPECT_TRUE(read("b") == held) << "a batch came back in part";
    EXPECT_TRUE(std::find(durable_.begin(), durable_.end(), held) != durable_.end()) << report.to_json();
    visible_ = held;
    durable_ = {held};
  }
  static void expect_clear(const Status& status) {
    EXPECT_TRUE(status.is(Code::kUnavailable) || status.is(Code::kIoError) || status.is(Code::kNoSpace))
        << status.to_string();
    EXPECT_NE(status.message(), "");
    EXPECT_TRUE(status.where().file != "" || status.hint() != "") << status.to_string();
  }

  std::map<std::string, std::string> read(const char* name) {
    std::map<std::string, std::string> held;
    Result<Cursor> cursor = store_.cursor(*store_.keyspace(name));
    EXPECT_TRUE(cursor.ok()) << cursor.status().to_string();
    if (!cursor.ok()) return held;
    for (cursor->seek_first(); cursor->valid(); cursor->next()) held.emplace(cursor->key(), cursor->value());
    EXPECT_TRUE(cursor->status().ok()) << cursor->status().to_string();
    return held;
  }

  World& world_;
  Random random_;
  Store store_;
  std::map<std::string, std::string> visible_;
  std::vector<std::map<std::string, std::string>> durable_{{}};  // what a power cut may leave
  std::uint64_t refused_ = 0;
};

}  // namespace daruma
