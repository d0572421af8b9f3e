// SPDX-License-Identifier: Apache-2.0
#include "base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace daruma {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t key_hash(std::uint32_t keyspace, std::string_view key) {
  return hash64(key, 0x6b65795f68617368ULL ^ (std::uint64_t{keyspace} << 32));
}

}  // namespace daruma
