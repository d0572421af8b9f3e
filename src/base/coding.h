// SPDX-License-Identifier: Apache-2.0
//
// Little-endian integers, length-prefixed strings, and what prefixes are cut by. The Decoder never reads past its input
// and never trusts a length: after the first failed read `ok()` is false and every later read gives zero or empty.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace daruma {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file formats are little-endian and so is this code");

template <typename T>
T load(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <typename T>
void store(char* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

/// How many bytes both begin with.
inline std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const std::uint64_t differ = load<std::uint64_t>(a.data() + i) ^ load<std::uint64_t>(b.data() + i);
    if (differ != 0) return i + static_cast<std::size_t>(__builtin_ctzll(differ)) / 8;
  }
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

/// As memcpy, without a call for a few bytes.
inline void copy_few(char* to, const char* from, std::size_t n) {
  const auto both_ends = [&]<typename Word>(Word) {
    const Word first = load<Word>(from), last = load<Word>(from + n - sizeof(Word));
    store(to, first);
    store(to + n - sizeof(Word), last);
  };
  if (n > 16)
    std::memcpy(to, from, n);
  else if (n >= 8)
    both_ends(std::uint64_t{});
  else if (n >= 4)
    both_ends(std::uint32_t{});
  else
    for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

/// As string_view::compare, without a call for a few bytes.
inline int compare_keys(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < n; i += 8) {
    if (i + 8 > n) return a.substr(i).compare(b.substr(i));
    const auto left = load<std::uint64_t>(a.data() + i), right = load<std::uint64_t>(b.data() + i);
    if (left != right) return __builtin_bswap64(left) < __builtin_bswap64(right) ? -1 : 1;
  }
  return a.size() < b.size() ? -1 : a.size() > b.size();
}

inline void put_u8(std::string& out, std::uint8_t v) { out.push_back(static_cast<char>(v)); }
template <typename T>
void put_fixed(std::string& out, T v) {
  char b[sizeof v];
  store(b, v);
  out.append(b, sizeof b);
}
inline void put_u16(std::string& out, std::uint16_t v) { put_fixed(out, v); }
inline void put_u32(std::string& out, std::uint32_t v) { put_fixed(out, v); }
inline void put_u64(std::string& out, std::uint64_t v) { put_fixed(out, v); }

inline constexpr std::size_t kMaxVarintBytes = 10;
/// LEB128 into `p` (room for kMaxVarintBytes); returns one past the last byte written.
inline char* encode_varint(char* p, std::uint64_t v) {
  while (v >= 0x80) {
    *p++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *p++ = static_cast<char>(v);
  return p;
}
inline std::size_t varint_size(std::uint64_t v) {
  std::size_t n = 1;
  while (v >= 0x80) {
    v >>= 7;
    ++n;
  }
  return n;
}
inline void put_varint(std::string& out, std::uint64_t v) {
  char b[kMaxVarintBytes];
  out.append(b, static_cast<std::size_t>(encode_varint(b, v) - b));
}
inline void put_bytes(std::string& out, std::string_view s) {
  put_varint(out, s.size());
  out.append(s);
}
/// Decodes LEB128 at [p, end); returns one past it, or nullptr when cut short or over 64 bits.
inline const char* decode_varint(const char* p, const char* end, std::uint64_t* v) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(*p++);
    if (shift == 63 && byte > 1) return nullptr;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *v = value;
      return p;
    }
  }
  return nullptr;
}

class Decoder {
 public:
  explicit Decoder(std::string_view in) : p_(in.data()), end_(in.data() + in.size()) {}

  [[nodiscard]] bool ok() const { return ok_; }
  /// True when every byte was consumed and none was missing.
  [[nodiscard]] bool done() const { return ok_ && p_ == end_; }
  [[nodiscard]] std::size_t remaining() const { return static_cast<std::size_t>(end_ - p_); }
  [[nodiscard]] const char* position() const { return p_; }

  template <typename T>
  T fixed() {
    if (remaining() < sizeof(T)) {
      fail();
      return T{};
    }
    T v = load<T>(p_);
    p_ += sizeof(T);
    return v;
  }
  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  std::uint16_t u16() { return fixed<std::uint16_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    const char* next = ok_ ? decode_varint(p_, end_, &v) : nullptr;
    if (!next) {
      fail();
      return 0;
    }
    p_ = next;
    return v;
  }
  std::string_view raw(std::uint64_t n) {
    if (n > remaining()) {
      fail();
      return {};
    }
    std::string_view s(p_, static_cast<std::size_t>(n));
    p_ += n;
    return s;
  }
  std::string_view bytes() {
    const std::uint64_t n = varint();
    return ok_ ? raw(n) : std::string_view();
  }

 private:
  void fail() {
    ok_ = false;
    p_ = end_;
  }
  const char* p_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace daruma
