// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <random>

namespace daruma {

std::uint64_t entropy_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) ^ device();
}

}  // namespace daruma
