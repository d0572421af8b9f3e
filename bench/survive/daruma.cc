// SPDX-License-Identifier: Apache-2.0
#include "daruma/store.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/clock.h"
#include "base/random.h"
#include "engine/engine.h"
#include "io/posix_storage.h"
#include "survive/contender.h"
#include "wal/wal_reader.h"

namespace survive {
namespace {

class Daruma final : public Store {
 public:
  /// `boot`: of the machine, as the store is told; empty: as it is.
  static std::unique_ptr<Store> open(const std::string& directory, const ::daruma::Options& options,
                                     const std::string& boot = {}) {
    ::daruma::Environment machine;
    machine.storage = ::daruma::make_posix_storage({.use_io_uring = options.use_io_uring, .boot_id = boot});
    machine.clock = &::daruma::system_clock();
    machine.seed = ::daruma::entropy_seed();
    auto opened = ::daruma::Engine::open_store(directory, options, machine);
    if (!opened.ok()) return nullptr;
    return std::make_unique<Daruma>(std::move(opened->store), opened->report);
  }
  Daruma(::daruma::Store store, const ::daruma::RecoveryReport& report)
      : store_(std::move(store)), told_(!report.clean()) {
    if (report.created) static_cast<void>(store_.create_keyspace("kv"));
    if (const auto there = store_.keyspace("kv"); there.ok()) in_ = *there;
  }
  bool write(std::span<const Change> changes) override {
    ::daruma::Batch batch;
    for (const Change& change : changes) {
      if (change.value)
        batch.put(in_, change.key, *change.value);
      else
        batch.erase(in_, change.key);
    }
    return store_.write(batch).ok();
  }
  bool flush() override { return store_.checkpoint().ok(); }
  Answer get(std::string_view key, std::string& value) override {
    auto got = store_.get(in_, key);
    if (got.ok()) {
      value = *std::move(got);
      return Answer::kValue;
    }
    // No keyspace at all is an answer about each of its keys only while nothing is said to be in doubt.
    if (in_ == ::daruma::Keyspace())
      return store_.keyspace("kv").status().is(::daruma::Code::kNotFound) ? Answer::kAbsent : Answer::kError;
    return got.status().is(::daruma::Code::kNotFound) ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const std::function<void(std::string_view, std::string_view)>& each) override {
    auto cursor = store_.cursor(in_);
    if (!cursor.ok()) return false;
    for (cursor->seek_first(); cursor->valid(); cursor->next()) each(cursor->key(), cursor->value());
    return cursor->status().ok();
  }
  [[nodiscard]] bool told_of_loss() const override { return told_; }

 private:
  ::daruma::Store store_;
  ::daruma::Keyspace in_;
  bool told_;
};

::daruma::Options options_of(const std::string& settings) {
  ::daruma::Options options;
  options.memtable_bytes = 1 << 20;
  options.segment_bytes = 256 << 10;
  options.ring_bytes = 256 << 10;
  const std::map<std::string, std::function<void(std::uint64_t)>> names = {
      {"memtable_bytes", [&](std::uint64_t value) { options.memtable_bytes = value; }},
      {"segment_bytes", [&](std::uint64_t value) { options.segment_bytes = value; }},
      {"ring_bytes", [&](std::uint64_t value) { options.ring_bytes = value; }},
      {"use_io_uring", [&](std::uint64_t value) { options.use_io_uring = value != 0; }},
  };
  std::istringstream in(settings);
  for (std::string one; std::getline(in, one, ',');) {
    const std::size_t equals = one.find('=');
    const auto name = names.find(one.substr(0, equals));
    if (equals == std::string::npos || name == names.end()) {
      std::fprintf(stderr, "survive: daruma has no option '%s' here\n", one.c_str());
      std::exit(2);
    }
    name->second(std::strtoull(one.c_str() + equals + 1, nullptr, 10));
  }
  return options;
}

std::optional<std::uint64_t> end_of_log(const std::string& path) {
  if (!path.ends_with(".log")) return std::nullopt;
  const ::daruma::SegmentScan scan =
      ::daruma::read_segment(*::daruma::make_posix_storage(), path, std::nullopt, [](const ::daruma::FrameView&) {});
  if (!scan.status.ok()) return std::nullopt;
  return scan.end_offset;
}

bool forget_ring(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory + "/wal")) {
    if (entry.path().filename().string().starts_with("tail-")) std::filesystem::remove(entry.path());
  }
  return true;
}

}  // namespace

Contender daruma(const std::string& settings) {
  const auto with = [settings](::daruma::RecoveryPolicy policy) {
    return [settings, policy](const std::string& directory) {
      ::daruma::Options options = options_of(settings);
      options.recovery_policy = policy;
      return Daruma::open(directory, options);
    };
  };
  static_cast<void>(options_of(settings));
  const std::string sizes = "memtable 1 MiB, segments and ring 256 KiB" + (settings.empty() ? "" : ", " + settings);
  return {
      "daruma",
      "this tree",
      {files("log, newest", "log", "wal/[0-9]+\\.log", Which::kNewest),
       files("log, older", "log", "wal/[0-9]+\\.log", Which::kOlder), files("ring", "log", "wal/tail-.*"),
       files("run", "table", "runs/.*\\.run"), files("manifest, newest", "root", "snapshots/.*\\.snap", Which::kNewest),
       files("manifest, older", "root", "snapshots/.*\\.snap", Which::kOlder),
       files("quarantine", "other", "quarantine/.*"), files("report", "other", "recoveries/.*"),
       files("lock", "other", "lock")},
      {{"default", sizes, with(::daruma::RecoveryPolicy::kServe)},
       {"careful", sizes + ", recovery_policy refuse", with(::daruma::RecoveryPolicy::kRefuse)},
       {.name = "power loss",
        .settings = sizes + "; another boot, and the tail ring is gone",
        .open = [settings](
                    const std::string& directory) { return Daruma::open(directory, options_of(settings), "another"); },
        .before_open = forget_ring,
        .rested = true}},
      end_of_log};
}

}  // namespace survive
