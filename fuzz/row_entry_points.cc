// SPDX-License-Identifier: Apache-2.0
#include "row_entry_points.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/assert.h"
#include "kvctl/rows.h"

namespace daruma::fuzz {

void rows(std::string_view input) {
  using namespace kvctl;
  if (input.empty()) return;
  const auto format = static_cast<RowFormat>(static_cast<std::uint8_t>(input[0]) % 5);
  const std::string_view text = input.substr(1);
  const int fd = ::memfd_create("rows", MFD_CLOEXEC);
  DARUMA_ASSERT(fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  std::unique_ptr<LineReader> lines = *LineReader::open(path);
  ::close(fd);
  if (Result<std::unique_ptr<RowReader>> reader = open_rows(*lines, format, std::nullopt, std::nullopt); reader.ok()) {
    for (;;) {
      Result<std::optional<Row>> row = (*reader)->next();
      if (!row.ok()) DARUMA_ASSERT(row.status().to_string().find("line ") != std::string::npos);
      if (!row.ok() || !row->has_value()) break;
    }
  }
  for (const Encoding encoding : {Encoding::kUtf8, Encoding::kHex, Encoding::kBase64, Encoding::kEscaped}) {
    Result<std::string> back = decode(encoding, encode(encoding, text));
    DARUMA_ASSERT(back.ok() && *back == text);
    if (Result<std::string> bytes = decode(encoding, text); bytes.ok())
      DARUMA_ASSERT(*decode(encoding, encode(encoding, *bytes)) == *bytes);
  }
}

}  // namespace daruma::fuzz
