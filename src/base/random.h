// SPDX-License-Identifier: Apache-2.0
// Random numbers as a seam: the same seed gives the same run.
#pragma once

#include <cstdint>

namespace daruma {

/// splitmix64 (Steele, Lea, Flood 2014): small, seedable, good enough for identities, schedules and faults.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n); n > 0.
  std::uint64_t below(std::uint64_t n) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  bool percent(unsigned p) { return below(100) < p; }

 private:
  std::uint64_t state_;
};

/// A seed from the operating system, never the same twice.
std::uint64_t entropy_seed();

}  // namespace daruma
