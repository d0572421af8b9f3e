// SPDX-License-Identifier: Apache-2.0
//
// Failpoints: named places in the store where a test makes something fail. What an embedder's own tests need to see
// their program through a failed write, a kill between two steps, or a slow device.
//
//     daruma::set_failpoint("frame write", {.kind = daruma::FailpointAction::Kind::kKill, .skip = 100});
//
// The names are those of docs/testing.md, and of `failpoints`. They are of the process: every store in it meets them.
// While none is set a point costs one relaxed load. A process that you start takes them from its environment:
// DARUMA_FAILPOINTS="frame write=kill,skip=100; compaction=error(no_space),times=3".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/status.h"

namespace daruma {

/// What happens at a point, and how often.
struct FailpointAction {
  enum class Kind : std::uint8_t {
    kError,  ///< the work ends with `code` instead of being done
    kThrow,  ///< an exception comes out of it, as from a bug; only where a worker does the work
    kKill,   ///< SIGKILL to this process
    kDelay,  ///< the work is done `delay` later
  };
  Kind kind = Kind::kError;
  Code code = Code::kIoError;
  std::chrono::milliseconds delay{0};
  std::uint64_t skip = 0;   ///< so many times the point is passed first
  std::uint64_t times = 0;  ///< then it acts so often; 0: until it is cleared
  double probability = 1;   ///< of acting, above 0 and at most 1; drawn from `seed`
  std::uint64_t seed = 1;
};

/// One point, as it stands.
struct FailpointInfo {
  std::string name;
  std::string where;        ///< in words
  bool set = false;         ///< and has not acted as often as it should
  std::uint64_t hits = 0;   ///< times that it was reached since it was set
  std::uint64_t acted = 0;  ///< of those
};

/// Sets a point, or sets it anew. Errors: kNotFound (no such point), kInvalidArgument (an action outside its limits, or
/// kThrow where no worker would catch it). Thread: any, at any time.
DARUMA_API Status set_failpoint(std::string_view name, const FailpointAction& action);

/// Sets what a text names, all of it or nothing: "NAME=ACTION[,skip=N][,times=N][,percent=P][,seed=N]", with ';'
/// between. ACTION is error, error(CODE) with a name of `code_name`, throw, kill, or delay(MILLISECONDS). Errors: those
/// of `set_failpoint`. Thread: any.
DARUMA_API Status set_failpoints(std::string_view text);

/// Takes the action from one point, or from all. kNotFound. Thread: any.
DARUMA_API Status clear_failpoint(std::string_view name);
DARUMA_API void clear_failpoints();

/// All points there are. May throw std::bad_alloc. Thread: any.
DARUMA_API std::vector<FailpointInfo> failpoints();

}  // namespace daruma
