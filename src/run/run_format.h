// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a run file around its blocks' contents; docs/format_run.md gives each with an example.
//
//   header sector | data blocks | erase blocks | filter blocks | 0… | footer, properties | index blocks | 0… |
//   properties, footer | sector checksums, parity
//
// What must stay true:
//   - Every checksum is seeded with the store, the run's number and the offset: what belongs elsewhere never verifies.
//   - A block tells its length, kind and number under a check of their own, so that all blocks can be found again by
//   walking
//     the file, and the end of a block whose contents are damaged is still known.
//   - Everything but the blocks stands twice, far apart. Nothing decoded here is believed before its checksum holds.
//   - All of it, the body, is protected by interleaved parity (parity/parity_format.h), whose place follows from the
//     file's size and kRunBurstParity.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/checksum.h"
#include "daruma/limits.h"
#include "daruma/status.h"
#include "parity/parity_format.h"

namespace daruma {

inline constexpr std::string_view kRunMagic = "DRMRUN01";
inline constexpr std::string_view kRunFooterMagic = "DRMRUNFT";
inline constexpr std::uint32_t kRunVersion = 1;
inline constexpr std::uint64_t kRunPaddedBlocks = 1;  ///< required feature: zeros may stand at the end of a block
inline constexpr std::uint64_t kRunBurstParity = 2;   ///< required feature: ParityRule::kBurst, else kMirrored
/// Required features that this code can read.
inline constexpr std::uint64_t kRunKnownFeatures = kRunPaddedBlocks | kRunBurstParity;
inline constexpr std::uint64_t kRunOptionalParity = 1;  ///< optional feature: parity follows the body
inline constexpr std::size_t kBlockHeaderBytes = 32;
inline constexpr std::uint32_t kBlockMagic = 0x4c425244;  ///< "DRBL"
inline constexpr std::size_t kBlockMagicAt = 8;
/// Bound of decompression: one entry of the greatest size and its framing.
inline constexpr std::uint64_t kMaxBlockRawBytes = kMaxKeyBytes + kMaxValueBytes + 4096;
/// Of a whole block with its header and padding.
inline constexpr std::uint64_t kMaxBlockBytes = kBlockHeaderBytes + kMaxBlockRawBytes + kSectorBytes;
inline constexpr std::uint64_t kMaxRunNumber =
    (std::uint64_t{1} << 56) - 1;  ///< the byte above tells kinds of file apart

/// "0000000000000007.run".
std::string run_name(std::uint64_t number);
/// The number in such a name; nullopt for any other name.
std::optional<std::uint64_t> run_number(std::string_view name);

/// What seeds the checksums of one run.
struct RunPlace {
  StoreId store;
  std::uint64_t number = 0;
  [[nodiscard]] std::uint64_t seed(std::uint64_t offset) const {
    return place_seed(store, (std::uint64_t{'R'} << 56) | number, offset);
  }
  [[nodiscard]] ParityPlace parity() const { return {store, (std::uint64_t{'P'} << 56) | number}; }
};

struct RunHeader {
  std::uint64_t required_features = 0;
  std::uint64_t optional_features = 0;
  RunPlace place;
  std::uint32_t keyspace = 0;
  std::uint32_t level = 0;
  std::uint64_t job_id = 0;
  std::uint32_t job_index = 0;
  std::int64_t created_wall_ns = 0;
};

/// Where everything is. Sections follow each other in this order; ends are exclusive.
struct RunFooter {
  RunHeader header;        ///< a copy
  std::uint32_t copy = 0;  ///< 0: before the index; 1: the body's last sector
  std::uint32_t data_blocks = 0;
  std::uint32_t erase_blocks = 0;
  std::uint32_t filter_blocks = 0;
  std::uint32_t index_blocks = 0;
  std::uint64_t filter_lines = 0;
  std::uint64_t data_end = 0;
  std::uint64_t erase_end = 0;
  std::uint64_t filter_end = 0;
  std::uint64_t properties_bytes = 0;
  std::uint64_t index_end = 0;
  std::uint64_t body_bytes = 0;           ///< of the file without its parity
  std::uint64_t properties_checksum = 0;  ///< of this copy's properties with their padding

  /// Of the whole file.
  [[nodiscard]] ParityLayout layout() const {
    const bool burst = (header.required_features & kRunBurstParity) != 0;
    return parity_layout(body_bytes / kSectorBytes, burst ? ParityRule::kBurst : ParityRule::kMirrored);
  }
  [[nodiscard]] std::uint64_t properties_room() const { return round_up(properties_bytes, kSectorBytes); }
  [[nodiscard]] std::uint64_t first_footer_at() const { return round_up(filter_end, kSectorBytes); }
  [[nodiscard]] std::uint64_t index_at() const { return first_footer_at() + kSectorBytes + properties_room(); }
  [[nodiscard]] std::uint64_t footer_at() const { return copy == 0 ? first_footer_at() : body_bytes - kSectorBytes; }
  [[nodiscard]] std::uint64_t properties_at() const {
    return copy == 0 ? first_footer_at() + kSectorBytes : body_bytes - kSectorBytes - properties_room();
  }
};

std::string encode_run_header(const RunHeader& header);
/// Errors: kCorruption (does not verify, or is not run `number` of `store` where that is known), kUnsupported (from the
/// future).
Result<RunHeader> decode_run_header(std::string_view sector, const std::optional<StoreId>& store, std::uint64_t number);
std::string encode_run_footer(const RunFooter& footer);
/// As for the header; `at` is the sector's offset. Ok means that all sections lie in order within `body_bytes`.
Result<RunFooter> decode_run_footer(std::string_view sector, std::uint64_t at, const std::optional<StoreId>& store,
                                    std::uint64_t number);

enum class BlockKind : std::uint8_t { kData = 1, kErases = 2, kFilter = 3, kIndex = 4 };

struct BlockHeader {
  std::uint64_t checksum = 0;
  BlockKind kind = BlockKind::kData;
  bool lz4 = false;
  std::uint32_t stored_bytes = 0;
  std::uint32_t raw_bytes = 0;
  std::uint32_t number = 0;   ///< counts all blocks of the file from 0
  std::uint32_t padding = 0;  ///< zeros behind the stored bytes, less than a sector
  [[nodiscard]] std::uint64_t frame_bytes() const { return kBlockHeaderBytes + std::uint64_t{stored_bytes} + padding; }
};

/// Appends the block as it will stand at `offset`; LZ4 when asked for and when that saves an eighth. With zeros to the
/// end of its last sector where `padding` are enough for that.
BlockHeader append_block(std::string& out, const RunPlace& place, std::uint64_t offset, BlockKind kind,
                         std::uint32_t number, std::string_view raw, bool compress, std::uint64_t padding = 0);
/// The header at `offset` when it verifies there and makes sense; its contents may still be damaged.
std::optional<BlockHeader> decode_block_header(std::string_view bytes, const RunPlace& place, std::uint64_t offset);
/// The header of a whole block whose contents verify too; `frame` is exactly the block.
std::optional<BlockHeader> decode_block(std::string_view frame, const RunPlace& place, std::uint64_t offset);
/// Contents of a block that decode_block took, into `out` of header.raw_bytes. False when LZ4 refuses them.
bool unpack_block(const BlockHeader& header, std::string_view frame, char* out);

}  // namespace daruma
