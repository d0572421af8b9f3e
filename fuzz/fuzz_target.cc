// SPDX-License-Identifier: Apache-2.0
//
// One libFuzzer program: an entry point, DARUMA_FUZZ_ENTRY, and a mutator that mends.
//
// Every format here is sealed by checksums, so a changed byte alone never comes past the first of them. The mutator
// therefore puts right, most of the time, the checksums that the last input failed; what stands in the corpus is
// mended, and goes as deep in a build without any of this.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "entry_points.h"
#include "mend.h"
#include "row_entry_points.h"

namespace {

daruma::fuzz::Mender mender;  // of the last input

std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mender.listen();
  daruma::fuzz::DARUMA_FUZZ_ENTRY(text(data, size));
  return 0;
}

#ifdef DARUMA_FUZZ_MENDS  // AFL++'s driver has a mutator of its own
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  if (seed % 4 != 0 && mender.mend({reinterpret_cast<char*>(data), size})) return size;
  return LLVMFuzzerMutate(data, size, max_size);
}
#endif
