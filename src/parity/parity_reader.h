// SPDX-License-Identifier: Apache-2.0
//
// Reads the sectors of a file with parity, healing what can be healed.
//
// What must stay true: a sector is given out only when its checksum in the table verifies, as read or as healed.
// Nothing is written: whoever wants the file whole again writes a new one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parity/parity_format.h"

namespace daruma {

enum class SectorState : std::uint8_t {
  kIntact,  ///< verifies as read
  kHealed,  ///< did not, and was put together from its stripe
  kLost,    ///< two of its stripe are damaged, or the table cannot say what it should be
};

/// One thread. Reads through `read`, which fills one sector and is false when the device refuses it.
class ParityReader {
 public:
  using Read = std::function<bool(std::uint64_t sector, std::span<char> out)>;
  ParityReader(const ParityPlace& place, const ParityLayout& layout, Read read);

  /// Data sector `index` into `out`, of one sector. Its contents are unspecified when lost.
  SectorState fetch(std::uint64_t index, std::span<char> out);

  /// Whether sector `part` of the table verifies, as read or as healed.
  bool has_table(std::uint64_t part) { return hash_of(part * kTableHashes).has_value(); }

  struct Damage {
    std::uint64_t sector = 0;  ///< of the file
    SectorState state = SectorState::kLost;
  };
  /// Every sector that is not as it was written, parity included (healed: it can be made anew), rising. Reads the file
  /// once, and the stripes of what is damaged once more.
  std::vector<Damage> check_all();

 private:
  [[nodiscard]] bool is_table(std::uint64_t sector) const { return sector >= layout_.data_sectors; }
  SectorState fetch_protected(std::uint64_t sector, std::span<char> out);
  bool verifies(std::uint64_t sector, std::string_view bytes);
  bool rebuild(std::uint64_t sector, std::span<char> out);
  /// The hash that the table has for a data sector; nothing when its part of the table is lost.
  std::optional<std::uint64_t> hash_of(std::uint64_t sector);

  const ParityPlace place_;
  const ParityLayout layout_;
  const Read read_;
  enum class Part : std::uint8_t { kUnread, kGood, kLost };
  std::vector<Part> parts_;  // of the table, by sector
  std::string table_;        // the good ones
  std::string scratch_;
};

}  // namespace daruma
