// SPDX-License-Identifier: Apache-2.0
// Keys, values and the order they come in: the same for all stores, and cheap enough not to be measured.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/random.h"

namespace race {

inline constexpr std::size_t kKeyBytes = 16;

/// "user" and twelve digits. Those with odd numbers are never written.
class Key {
 public:
  explicit Key(std::uint64_t number) {
    std::memcpy(text_, "user", 4);
    for (std::size_t at = kKeyBytes; at-- > 4; number /= 10) text_[at] = static_cast<char>('0' + number % 10);
  }
  static Key present(std::uint64_t i) { return Key(2 * i); }
  static Key missing(std::uint64_t i) { return Key(2 * i + 1); }
  operator std::string_view() const { return {text_, kKeyBytes}; }  // NOLINT(google-explicit-constructor)

 private:
  char text_[kKeyBytes];
};

/// Values of one size, half of which compresses. A view is good as long as this.
class Values {
 public:
  explicit Values(std::uint64_t bytes) : bytes_(bytes), pool_((1 << 20) + 4 * bytes, 'v') {
    daruma::Random random(7);
    for (std::size_t at = 0; at < pool_.size(); ++at) {
      if (at % 100 < 50) pool_[at] = static_cast<char>(random.next());
    }
  }
  [[nodiscard]] std::string_view of(std::uint64_t i) const {
    return std::string_view(pool_).substr(i * 61 % (pool_.size() - bytes_), bytes_);
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  std::uint64_t bytes_;
  std::string pool_;
};

/// The numbers below n in an order that looks random, each once: a bijection over the next power of two, walked until
/// it falls below n.
class Scattered {
 public:
  explicit Scattered(std::uint64_t n) : n_(n), bits_(std::bit_width(n - 1)), mask_((std::uint64_t{1} << bits_) - 1) {}
  std::uint64_t operator()(std::uint64_t i) const {
    do {
      for (int round = 0; round < 2; ++round) {
        i = i * 0x9e3779b97f4a7c15 & mask_;
        i ^= i >> (bits_ / 2 + 1);
      }
    } while (i >= n_);
    return i;
  }

 private:
  std::uint64_t n_;
  int bits_;
  std::uint64_t mask_;
};

/// Numbers below n, few of them often (Gray et al., "Quickly generating billion-record synthetic databases", 1994), the
/// way YCSB draws them: theta 0.99.
class Zipf {
 public:
  explicit Zipf(std::uint64_t n) : n_(n), scatter_(n) {
    double two = 0;
    for (std::uint64_t i = 1; i <= n; ++i) {
      zeta_ += 1 / std::pow(static_cast<double>(i), kTheta);
      if (i == 2) two = zeta_;
    }
    eta_ = (1 - std::pow(2.0 / static_cast<double>(n), 1 - kTheta)) / (1 - two / zeta_);
  }
  /// The smallest most often.
  std::uint64_t rank(daruma::Random& random) const {
    const double u = static_cast<double>(random.next() >> 11) * 0x1p-53;
    const double uz = u * zeta_;
    if (uz < 1) return 0;
    if (uz < 1 + std::pow(0.5, kTheta)) return 1;
    const auto out =
        static_cast<std::uint64_t>(static_cast<double>(n_) * std::pow(eta_ * u - eta_ + 1, 1 / (1 - kTheta)));
    return out < n_ ? out : n_ - 1;
  }
  /// The often ones anywhere.
  std::uint64_t anywhere(daruma::Random& random) const { return scatter_(rank(random)); }

 private:
  static constexpr double kTheta = 0.99;
  std::uint64_t n_;
  Scattered scatter_;
  double zeta_ = 0, eta_ = 0;
};

}  // namespace race
