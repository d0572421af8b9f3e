// SPDX-License-Identifier: Apache-2.0
//
// All of a run but its entries, as it stands in memory, and how it is read from a file that may be damaged:
//
//   anything of it:        as it stands, else past the page cache and healed by parity; and when that does not help
//   footer and properties: the body's last sector; else the other copy, found through the footer or by looking for it
//   index:                 else rebuilt from the data blocks, with gaps where blocks are lost
//   filter:                else "may contain"
//   range erases:          else every answer that one could change is an error
//   neither footer:        if the caller knows the run (from a manifest), all of the above from the blocks alone
//
// What must stay true: whatever was given up on the way is a finding, and an answer that it could change is an error.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "run/block_cache.h"
#include "run/erase_list.h"
#include "run/run_bytes.h"
#include "run/run_filter.h"
#include "run/run_format.h"
#include "run/run_index.h"
#include "run/run_info.h"

namespace daruma {

/// Keys that stood in a damaged block: above `after` (from it on, when `after_included`) through `through`.
struct DamagedKeys {
  std::string after;
  bool after_included = false;
  std::string through;
  std::uint64_t offset = 0;  ///< of the damaged bytes in the file
  std::uint64_t bytes = 0;
  bool operator==(const DamagedKeys&) const = default;
};

enum class RunFault : std::uint8_t {
  kHeader,
  kFooter,
  kProperties,
  kIndex,
  kFilter,
  kErases,
  kData,
  kPadding,
  kLength,
  kContents,
  kParity,
};
/// "header", "footer", …
std::string_view run_fault_name(RunFault fault);

struct RunFinding {
  RunFault fault = RunFault::kHeader;
  Status status;                      ///< what, and where
  std::optional<DamagedKeys> keys{};  ///< of kData, where known
  bool healed = false;                ///< parity gave the bytes back: nothing is missing
};

struct RunContents {
  RunPlace place;
  RunInfo info;
  std::optional<RunFooter> footer;  ///< nothing when both copies are lost
  RunIndex index;
  EraseList erases;
  Status erases_lost;  ///< not ok: there were range erases that are not in `erases`
  Status refused;      ///< not ok: by the device, when blocks were looked for; what stood in the gaps may come back
  RunFilter filter;
  std::unique_ptr<BlockSlots> cached;  ///< data blocks; null without a cache
  [[nodiscard]] DamagedKeys damaged_keys(std::size_t block) const;
  /// Why the block at a gap cannot be read. `path`: of the file.
  [[nodiscard]] Status gap(std::size_t block, const std::string& path) const;
};

struct RunTail {
  RunFooter footer;
  RunInfo info;
};

/// Footer and properties, from whichever copy verifies; what does not is appended to `findings`. `store`: nullopt when
/// not known. Errors: kCorruption (no copy verifies), kUnsupported, kIoError.
Result<RunTail> load_run_tail(RunBytes& bytes, const std::optional<StoreId>& store, std::uint64_t number,
                              std::vector<RunFinding>& findings);

/// Everything. `known`: what a manifest says of the run. Errors: as load_run_tail, without `known`; kCorruption when
/// the file holds another run than `known`.
Result<std::unique_ptr<RunContents>> load_run_contents(RunBytes& bytes, const RunPlace& place,
                                                       const std::optional<RunInfo>& known,
                                                       std::vector<RunFinding>& findings);

/// Fills index and erases by walking the blocks (run_walk.cc). Blocks are looked for at every byte where one is lost.
void rebuild_from_blocks(RunBytes& bytes, RunContents& contents, std::vector<RunFinding>& findings);

/// The verified contents of the block at `offset`, unpacked into `room` when it is compressed; valid until either is
/// used again. Errors name file and offset. `header` may be null.
Result<std::string_view> read_block(RunBytes& bytes, const RunPlace& place, std::uint64_t offset,
                                    std::uint64_t frame_bytes, BlockKind kind, std::string& room, BlockHeader* header);
/// The header of the block at `offset`, whose contents may still be damaged. Errors name file and offset.
Result<BlockHeader> read_block_header(RunBytes& bytes, const RunPlace& place, std::uint64_t offset);

Status run_damage(std::string message, const std::string& path, std::uint64_t offset);

}  // namespace daruma
