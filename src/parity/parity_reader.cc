// SPDX-License-Identifier: Apache-2.0
#include "parity/parity_reader.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {

ParityReader::ParityReader(const ParityPlace& place, const ParityLayout& layout, Read read)
    : place_(place),
      layout_(layout),
      read_(std::move(read)),
      parts_(layout.table_sectors, Part::kUnread),
      table_(layout.table_sectors * kSectorBytes, '\0'),
      scratch_(kSectorBytes, '\0') {}

SectorState ParityReader::fetch(std::uint64_t index, std::span<char> out) {
  DARUMA_ASSERT(index < layout_.data_sectors && out.size() == kSectorBytes);
  return fetch_protected(index, out);
}

SectorState ParityReader::fetch_protected(std::uint64_t sector, std::span<char> out) {
  if (read_(sector, out) && verifies(sector, {out.data(), out.size()})) return SectorState::kIntact;
  return rebuild(sector, out) && verifies(sector, {out.data(), out.size()}) ? SectorState::kHealed : SectorState::kLost;
}

bool ParityReader::verifies(std::uint64_t sector, std::string_view bytes) {
  if (is_table(sector)) return table_sector_verifies(layout_, place_, sector - layout_.data_sectors, bytes);
  const std::optional<std::uint64_t> expected = hash_of(sector);
  return expected && checksum_holds(*expected, place_.hash(bytes, sector));
}

std::optional<std::uint64_t> ParityReader::hash_of(std::uint64_t sector) {
  const std::uint64_t part = sector / kTableHashes;
  if (parts_[part] == Part::kUnread) {
    const std::span<char> out(table_.data() + part * kSectorBytes, kSectorBytes);
    parts_[part] = fetch_protected(layout_.data_sectors + part, out) == SectorState::kLost ? Part::kLost : Part::kGood;
  }
  if (parts_[part] == Part::kLost) return std::nullopt;
  return load<std::uint64_t>(table_.data() + part * kSectorBytes + sector % kTableHashes * 8);
}

/// The XOR of all others of the stripe. False when one of them cannot be read; whether they are right, the checksum
/// tells.
bool ParityReader::rebuild(std::uint64_t sector, std::span<char> out) {
  const std::uint64_t stripe = sector % layout_.stripes;
  if (!read_(layout_.parity_at(stripe), out)) return false;
  for (std::uint64_t other = stripe; other < layout_.protected_sectors(); other += layout_.stripes) {
    if (other == sector) continue;
    if (!read_(other, scratch_)) return false;
    xor_into(out, scratch_);
  }
  return true;
}

std::vector<ParityReader::Damage> ParityReader::check_all() {
  std::vector<Damage> damage;
  std::vector<bool> stripe_hurt(layout_.stripes, false);
  std::string parity(layout_.stripes * kSectorBytes, '\0');
  std::string sector(kSectorBytes, '\0');
  for (std::uint64_t at = 0; at < layout_.protected_sectors(); ++at) {
    const SectorState state = fetch_protected(at, sector);
    if (state != SectorState::kIntact) damage.push_back({at, state});
    const std::uint64_t stripe = at % layout_.stripes;
    if (state == SectorState::kLost) stripe_hurt[stripe] = true;
    xor_into({parity.data() + stripe * kSectorBytes, kSectorBytes}, sector);
  }
  for (std::uint64_t at = layout_.protected_sectors(); at < layout_.file_sectors(); ++at) {
    const std::uint64_t stripe = at % layout_.stripes;
    const std::string_view expected(parity.data() + stripe * kSectorBytes, kSectorBytes);
    if (read_(at, sector) && (stripe_hurt[stripe] || sector == expected)) continue;
    damage.push_back({at, stripe_hurt[stripe] ? SectorState::kLost : SectorState::kHealed});
  }
  return damage;
}

}  // namespace daruma
