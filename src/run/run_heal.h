// SPDX-License-Identifier: Apache-2.0
//
// Makes a damaged run whole: a new file with the bytes that parity gives back, published under the same name.
//
// What must stay true: nothing is patched in place. The new file is what was once written, byte for byte, and has been
// read back from the device and verified before it takes the name; until then the damaged one stays as it is.
#pragma once

#include <string>

#include "io/storage.h"
#include "run/run_format.h"

namespace daruma {

/// Writes run `number` of `directory` anew as ….run.tmp, from parity where it must. Readers of the old file go on with
/// it. Errors: kCorruption (parity cannot give everything back; names the first sector that is lost), kIoError,
/// kNoSpace; nothing is left behind.
Status prepare_healed_run(Storage& storage, const std::string& directory, const StoreId& store, std::uint64_t number);
/// The whole way: prepare and publish.
Status heal_run(Storage& storage, const std::string& directory, const StoreId& store, std::uint64_t number);

}  // namespace daruma
