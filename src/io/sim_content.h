// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one simulated file: what the platter holds, what the page cache holds, and every version in between.
//
// What must stay true:
//   - `current` is what a read sees; a sector with unsynced versions has the newest of them as current.
//   - A sector without unsynced versions loses its current page to the durable one at a power cut (they differ only
//   after a
//     failed sync: the page reads new, is clean, and dies with the power).
//   - Bytes at and past the size read as zero when the file grows again.
//   - Pages are never changed once made, so copies of a content share them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace daruma {

using SimPage = std::shared_ptr<const char[]>;  ///< one sector; null: zeros

class SimContent {
 public:
  explicit SimContent(std::uint32_t sector_bytes) : sector_bytes_(sector_bytes) {}

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::size_t read(std::uint64_t offset, std::span<char> out) const;

  // --- the page cache; durable after a sync ---
  void write(std::uint64_t offset, std::string_view data, Random& random);
  void resize(std::uint64_t bytes, Random& random);
  /// Whether bytes [0, bytes.size()) read otherwise; `absorb` makes new versions of the sectors that do.
  [[nodiscard]] bool differs(std::span<const char> bytes) const;
  void absorb(std::span<const char> bytes, Random& random);

  void sync();
  void sync_some(Random& random);  ///< each dirty sector, and the size, or not
  void forget_dirty();             ///< a sync failed: clean, but not durable
  void drop_dirty();               ///< a sync failed: clean, and reads what is durable

  // --- past the page cache; whole sectors (the last one padded with zeros past the end of `sector`) ---
  void put_durable(std::uint64_t index, std::string_view sector);
  void put_undurable(std::uint64_t index, std::string_view sector);  ///< reads new, clean, dies with the power
  void grow_durable(std::uint64_t bytes);
  void grow_undurable(std::uint64_t bytes);

  /// Of the sectors that survive, `shorn_percent` were being written.
  void power_cut(unsigned survive_percent, unsigned shorn_percent, Random& random);
  [[nodiscard]] std::string shorn_sector(Random& random) const;  ///< noise or zeros

  // --- damage, in every version alike ---
  void flip(std::uint64_t offset, unsigned bit);
  void overwrite(std::uint64_t offset, std::string_view bytes);
  void truncate(std::uint64_t bytes);
  void lose(std::uint64_t offset);  ///< the sector there cannot be read until it is written anew
  [[nodiscard]] bool lost(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  using Pages = std::vector<SimPage>;  ///< shorter than the file where its end was never written
  template <typename Change>
  void change_every_version(std::uint64_t index, Change change);
  [[nodiscard]] SimPage make_page(const SimPage& old, std::size_t at, std::string_view bytes) const;
  void put_current(std::uint64_t index, SimPage page, Random& random);
  static void put(Pages& pages, std::uint64_t index, SimPage page);
  static const SimPage& get(const Pages& pages, std::uint64_t index);
  void trim(Pages& pages, std::uint64_t bytes) const;
  void set_size(std::uint64_t bytes, Random& random);

  std::uint32_t sector_bytes_;
  Pages durable_, current_;
  std::uint64_t durable_size_ = 0, size_ = 0;
  std::map<std::uint64_t, Pages> unsynced_;  ///< versions since the last sync, newest last
  std::vector<std::uint64_t> unsynced_sizes_;
  std::set<std::uint64_t> lost_;  ///< sectors
  bool undurable_ = false;        ///< current differs from durable somewhere that is not unsynced
};

}  // namespace daruma
