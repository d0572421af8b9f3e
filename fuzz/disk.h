// SPDX-License-Identifier: Apache-2.0
// What entry points put their input on.
#pragma once

#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/checksum.h"
#include "io/storage.h"

namespace daruma::fuzz {

/// The store of the golden files of the log.
inline constexpr StoreId kStore{0x1122334455667788ULL, 0x99aabbccddeeff00ULL};

inline void put_file(Storage& disk, const std::string& path, std::string_view bytes) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    DARUMA_ASSERT(disk.make_directory(path.substr(0, slash)).ok());
  Result<std::unique_ptr<File>> file = disk.open(path, OpenMode::kCreate);
  DARUMA_ASSERT(file.ok());
  DARUMA_ASSERT((*file)->write(0, bytes).ok());
}

}  // namespace daruma::fuzz
