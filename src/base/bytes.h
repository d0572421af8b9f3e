// SPDX-License-Identifier: Apache-2.0
// Views of bytes. Keys, values and files are std::string_view: bytes, not text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string_view>

namespace daruma {

inline constexpr std::size_t kSectorBytes = 4096;  ///< unit of alignment, tearing and healing

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit * unit; }
constexpr std::uint64_t round_down(std::uint64_t n, std::uint64_t unit) { return n / unit * unit; }

/// A heap buffer aligned to a sector, as O_DIRECT wants it. Not zeroed. Owner only; movable.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes)
      : size_(bytes),
        data_(static_cast<char*>(
            ::operator new (round_up(bytes ? bytes : 1, kSectorBytes), std::align_val_t{kSectorBytes}))) {}
  [[nodiscard]] char* data() { return data_.get(); }
  [[nodiscard]] const char* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::string_view view() const { return {data_.get(), size_}; }
  [[nodiscard]] std::span<char> span() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(char* p) const { ::operator delete (p, std::align_val_t{kSectorBytes}); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<char, Free> data_;
};

}  // namespace daruma
