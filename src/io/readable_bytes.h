// SPDX-License-Identifier: Apache-2.0
// Reads a file as far as it can be read: a bad sector hides nothing but itself.
#pragma once

#include <string>

#include "io/storage.h"

namespace daruma {

enum class ReadFrom : std::uint8_t {
  kCache,   ///< as quick as can be
  kDevice,  ///< past the page cache where the platform can: what the device holds, not what was written
};

struct ReadableBytes {
  std::string bytes;  ///< to the end of the file, or to the limit
  Status unreadable;  ///< of the first sector that cannot be read
};

/// The first `limit` bytes; what cannot be read comes as `instead`. Errors: of the process, and that of File::size.
Result<ReadableBytes> readable_bytes(File& file, std::uint64_t limit, ReadFrom from, char instead = '\0');

}  // namespace daruma
