// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/clock.h"
#include "base/random.h"
#include "engine/engine.h"
#include "io/posix_storage.h"
#include "rehearsal/fault.h"
#include "stores/daruma.h"
#include "survive/contender.h"

namespace survive {
namespace {

/// `boot`: of the machine, as the store is told; empty: as it is.
std::unique_ptr<Store> open(const std::string& directory, const ::daruma::Options& options,
                            const std::string& boot = {}) {
  ::daruma::Environment machine;
  machine.storage = ::daruma::make_posix_storage({.use_io_uring = options.use_io_uring, .boot_id = boot});
  machine.clock = &::daruma::system_clock();
  machine.seed = ::daruma::entropy_seed();
  auto opened = ::daruma::Engine::open_store(directory, options, machine);
  return opened.ok() ? stores::of_daruma(*std::move(opened), ::daruma::Durability::kPower) : nullptr;
}

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
      return open(directory, options);
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
        .open = [settings](const std::string& directory) { return open(directory, options_of(settings), "another"); },
        .before_open = forget_ring,
        .rested = true}},
      ::daruma::rehearsal::end_of_log};
}

}  // namespace survive
