// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs short is an operating error like any other: a Status, kOutOfMemory.
//
// What must stay true: code throws nothing of its own, so what comes by here is the allocator's word, and an exception
// leaves the objects that it passes as they were, or in a state that the next call comes back from. It is caught where
// somebody can answer: at each call of the public API, at each job, at the work of the log's leader.
#pragma once

#include <new>
#include <stdexcept>
#include <utility>

#include "base/mutex.h"
#include "daruma/status.h"

namespace daruma {

/// Made before memory can run short: copying it allocates nothing.
const Status& out_of_memory();

/// What `work` returns, a Status or a Result; kOutOfMemory when it could not be done for want of memory.
/// Called where it stands: what `work` REQUIRES is what its caller holds.
template <typename Work>
NO_THREAD_SAFETY_ANALYSIS auto or_out_of_memory(Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {  // a container asked for more than there can be
    return out_of_memory();
  }
}

}  // namespace daruma
