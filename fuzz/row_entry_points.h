// SPDX-License-Identifier: Apache-2.0
// As entry_points.h, for the text that `kvctl load` and `kvctl batch` read.
#pragma once

#include <string_view>

namespace daruma::fuzz {

/// `input`: u8 format, text. Rows or an error that names a line; what an encoding writes, it reads back.
void rows(std::string_view input);

}  // namespace daruma::fuzz
