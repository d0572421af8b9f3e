// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "daruma/options.h"
#include "daruma/status.h"

namespace daruma::rehearsal {

/// The options that the store in `directory` was last written with, as far as its newest snapshot tells, under those
/// that a rollout promoted; the defaults for the rest. Looks without touching.
Result<Options> options_in_force(const std::string& directory);

}  // namespace daruma::rehearsal
