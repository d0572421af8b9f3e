// SPDX-License-Identifier: Apache-2.0
#include "io/sim_content.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/coding.h"

namespace daruma {
namespace {

/// Versions remembered of one sector (and of the size) between syncs. Beyond it a random older one is forgotten, so
/// that a log written in small appends costs a bounded number of pages; the newest is always there.
constexpr std::size_t kVersionsMax = 16;

template <typename T>
void push_version(std::vector<T>& versions, T value, Random& random) {
  if (versions.size() == kVersionsMax)
    versions.erase(versions.begin() + static_cast<std::ptrdiff_t>(random.below(kVersionsMax)));
  versions.push_back(std::move(value));
}

/// Which of `versions` unsynced versions the power cut leaves: 0 for the durable one, else its index + 1.
std::size_t survivor(std::size_t versions, unsigned survive_percent, Random& random) {
  if (versions == 0 || survive_percent == 0) return 0;
  if (survive_percent >= 100) return versions;
  if (!random.percent(survive_percent)) return 0;
  return random.one_in(2) ? versions : 1 + random.below(versions);
}

bool all_zero(const char* bytes, std::size_t count) {
  return count == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

}  // namespace

const SimPage& SimContent::get(const Pages& pages, std::uint64_t index) {
  static const SimPage zeros;
  return index < pages.size() ? pages[index] : zeros;
}

void SimContent::put(Pages& pages, std::uint64_t index, SimPage page) {
  if (index >= pages.size()) {
    if (!page) return;
    pages.resize(index + 1);
  }
  pages[index] = std::move(page);
}

SimPage SimContent::make_page(const SimPage& old, std::size_t at, std::string_view bytes) const {
  DARUMA_ASSERT(at + bytes.size() <= sector_bytes_);
  std::shared_ptr<char[]> page(new char[sector_bytes_]);
  if (bytes.size() != sector_bytes_) {
    if (old)
      std::memcpy(page.get(), old.get(), sector_bytes_);
    else
      std::memset(page.get(), 0, sector_bytes_);
  }
  if (!bytes.empty()) std::memcpy(page.get() + at, bytes.data(), bytes.size());
  return page;
}

void SimContent::trim(Pages& pages, std::uint64_t bytes) const {
  const std::uint64_t sectors = round_up(bytes, sector_bytes_) / sector_bytes_;
  if (pages.size() > sectors) pages.resize(sectors);
  const std::size_t tail = bytes % sector_bytes_;
  if (tail == 0 || pages.size() != sectors || !pages.back()) return;
  if (all_zero(pages.back().get() + tail, sector_bytes_ - tail)) return;
  pages.back() = make_page(nullptr, 0, {pages.back().get(), tail});
}

void SimContent::put_current(std::uint64_t index, SimPage page, Random& random) {
  lost_.erase(index);
  push_version(unsynced_[index], page, random);
  put(current_, index, std::move(page));
}

void SimContent::set_size(std::uint64_t bytes, Random& random) {
  if (bytes == size_) return;
  size_ = bytes;
  push_version(unsynced_sizes_, bytes, random);
}

std::size_t SimContent::read(std::uint64_t offset, std::span<char> out) const {
  if (offset >= size_) return 0;
  const std::size_t count = std::min<std::uint64_t>(out.size(), size_ - offset);
  for (std::size_t done = 0; done < count;) {
    const std::size_t at = (offset + done) % sector_bytes_;
    const std::size_t n = std::min<std::size_t>(sector_bytes_ - at, count - done);
    const SimPage& page = get(current_, (offset + done) / sector_bytes_);
    if (page)
      std::memcpy(out.data() + done, page.get() + at, n);
    else
      std::memset(out.data() + done, 0, n);
    done += n;
  }
  return count;
}

void SimContent::write(std::uint64_t offset, std::string_view data, Random& random) {
  if (data.empty()) return;
  for (std::size_t done = 0; done < data.size();) {
    const std::uint64_t index = (offset + done) / sector_bytes_;
    const std::size_t at = (offset + done) % sector_bytes_;
    const std::size_t n = std::min<std::size_t>(sector_bytes_ - at, data.size() - done);
    put_current(index, make_page(get(current_, index), at, data.substr(done, n)), random);
    done += n;
  }
  set_size(std::max<std::uint64_t>(size_, offset + data.size()), random);
}

void SimContent::resize(std::uint64_t bytes, Random& random) {
  const std::uint64_t sectors = round_up(bytes, sector_bytes_) / sector_bytes_;
  for (std::uint64_t index = sectors; index < current_.size(); ++index) {
    if (current_[index]) put_current(index, nullptr, random);
  }
  const std::size_t tail = bytes % sector_bytes_;
  if (bytes < size_ && tail != 0 && get(current_, sectors - 1)) {
    put_current(sectors - 1, make_page(nullptr, 0, {get(current_, sectors - 1).get(), tail}), random);
  }
  trim(current_, bytes);
  set_size(bytes, random);
}

bool SimContent::differs(std::span<const char> bytes) const {
  const std::size_t count = std::min<std::uint64_t>(bytes.size(), size_);
  for (std::size_t at = 0; at < count; at += sector_bytes_) {
    const std::size_t n = std::min<std::size_t>(sector_bytes_, count - at);
    const SimPage& page = get(current_, at / sector_bytes_);
    if (page ? std::memcmp(page.get(), bytes.data() + at, n) != 0 : !all_zero(bytes.data() + at, n)) return true;
  }
  return false;
}

void SimContent::absorb(std::span<const char> bytes, Random& random) {
  const std::size_t count = std::min<std::uint64_t>(bytes.size(), size_);
  for (std::size_t at = 0; at < count; at += sector_bytes_) {
    const std::size_t n = std::min<std::size_t>(sector_bytes_, count - at);
    const SimPage& page = get(current_, at / sector_bytes_);
    if (page ? std::memcmp(page.get(), bytes.data() + at, n) == 0 : all_zero(bytes.data() + at, n)) continue;
    put_current(at / sector_bytes_, make_page(page, 0, {bytes.data() + at, n}), random);
  }
}

void SimContent::sync() {
  for (auto& [index, versions] : unsynced_) put(durable_, index, versions.back());
  if (!unsynced_sizes_.empty()) durable_size_ = size_;
  // A size that an earlier failed sync forgot: fdatasync writes what is needed to read its sectors back.
  else if (!unsynced_.empty())
    durable_size_ = std::max(durable_size_, std::min(size_, (unsynced_.rbegin()->first + 1) * sector_bytes_));
  unsynced_.clear();
  unsynced_sizes_.clear();
  trim(durable_, durable_size_);
}

void SimContent::sync_some(Random& random) {
  for (auto it = unsynced_.begin(); it != unsynced_.end();) {
    if (random.one_in(2)) {
      ++it;
      continue;
    }
    put(durable_, it->first, it->second.back());
    it = unsynced_.erase(it);
  }
  if (!unsynced_sizes_.empty() && random.one_in(2)) {
    durable_size_ = size_;
    unsynced_sizes_.clear();
  }
}

void SimContent::forget_dirty() {
  undurable_ = undurable_ || !unsynced_.empty() || !unsynced_sizes_.empty();
  unsynced_.clear();
  unsynced_sizes_.clear();
}

void SimContent::drop_dirty() {
  for (const auto& [index, versions] : unsynced_) put(current_, index, get(durable_, index));
  undurable_ = undurable_ || !unsynced_sizes_.empty();
  unsynced_.clear();
  unsynced_sizes_.clear();
}

void SimContent::put_durable(std::uint64_t index, std::string_view sector) {
  SimPage page = make_page(nullptr, 0, sector);
  lost_.erase(index);
  unsynced_.erase(index);
  put(current_, index, page);
  put(durable_, index, std::move(page));
}

void SimContent::put_undurable(std::uint64_t index, std::string_view sector) {
  lost_.erase(index);
  unsynced_.erase(index);
  put(current_, index, make_page(nullptr, 0, sector));
  undurable_ = true;
}

void SimContent::grow_durable(std::uint64_t bytes) {
  // A smaller size still unsynced must not come back over a longer one that is acknowledged.
  if (bytes > durable_size_) durable_size_ = bytes;
  size_ = std::max(size_, bytes);
  std::erase_if(unsynced_sizes_, [&](std::uint64_t size) { return size < bytes; });
}

void SimContent::grow_undurable(std::uint64_t bytes) {
  if (bytes <= size_) return;
  size_ = bytes;
  undurable_ = true;
}

std::string SimContent::shorn_sector(Random& random) const {
  std::string sector(sector_bytes_, '\0');
  if (random.one_in(2)) return sector;
  for (std::size_t at = 0; at < sector.size(); at += sizeof(std::uint64_t)) store(sector.data() + at, random.next());
  return sector;
}

void SimContent::power_cut(unsigned survive_percent, unsigned shorn_percent, Random& random) {
  if (unsynced_.empty() && unsynced_sizes_.empty() && !undurable_) return;
  // Half of the cuts treat the file as one, since a large file would else never be found all old or all new.
  if (survive_percent > 0 && survive_percent < 100 && random.one_in(2))
    survive_percent = random.percent(survive_percent) ? 100 : 0;
  for (auto& [index, versions] : unsynced_) {
    const std::size_t which = survivor(versions.size(), survive_percent, random);
    if (which == 0) continue;
    const bool shorn = shorn_percent > 0 && random.percent(shorn_percent);
    put(durable_, index, shorn ? make_page(nullptr, 0, shorn_sector(random)) : versions[which - 1]);
  }
  const std::size_t which = survivor(unsynced_sizes_.size(), survive_percent, random);
  if (which > 0) durable_size_ = unsynced_sizes_[which - 1];
  trim(durable_, durable_size_);
  current_ = durable_;
  size_ = durable_size_;
  unsynced_.clear();
  unsynced_sizes_.clear();
  undurable_ = false;
}

template <typename Change>
void SimContent::change_every_version(std::uint64_t index, Change change) {
  put(durable_, index, change(get(durable_, index)));
  const auto it = unsynced_.find(index);
  if (it == unsynced_.end()) return put(current_, index, change(get(current_, index)));
  for (SimPage& page : it->second) page = change(page);
  put(current_, index, it->second.back());
}

void SimContent::flip(std::uint64_t offset, unsigned bit) {
  DARUMA_ASSERT(offset < size_ && bit < 8);
  const std::size_t at = offset % sector_bytes_;
  change_every_version(offset / sector_bytes_, [&](const SimPage& old) {
    const char flipped = static_cast<char>((old ? old[static_cast<std::ptrdiff_t>(at)] : 0) ^ (1 << bit));
    return make_page(old, at, {&flipped, 1});
  });
}

void SimContent::overwrite(std::uint64_t offset, std::string_view bytes) {
  DARUMA_ASSERT(offset <= size_ && bytes.size() <= size_ - offset);
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t at = (offset + done) % sector_bytes_;
    const std::size_t n = std::min<std::size_t>(sector_bytes_ - at, bytes.size() - done);
    change_every_version((offset + done) / sector_bytes_,
                         [&](const SimPage& old) { return make_page(old, at, bytes.substr(done, n)); });
    done += n;
  }
}

void SimContent::lose(std::uint64_t offset) { lost_.insert(offset / sector_bytes_); }

bool SimContent::lost(std::uint64_t offset, std::uint64_t bytes) const {
  if (lost_.empty() || bytes == 0) return false;
  const auto at = lost_.lower_bound(offset / sector_bytes_);
  return at != lost_.end() && *at * sector_bytes_ < offset + bytes;
}

void SimContent::truncate(std::uint64_t bytes) {
  const bool shrinks = bytes < size_;
  durable_size_ = shrinks ? std::min(durable_size_, bytes) : bytes;
  size_ = bytes;
  if (!shrinks) unsynced_sizes_.clear();
  for (std::uint64_t& size : unsynced_sizes_) size = std::min(size, bytes);
  const std::uint64_t sectors = round_up(bytes, sector_bytes_) / sector_bytes_;
  unsynced_.erase(unsynced_.lower_bound(sectors), unsynced_.end());
  if (const auto it = unsynced_.find(sectors - 1); sectors > 0 && it != unsynced_.end() && bytes % sector_bytes_ != 0) {
    for (SimPage& page : it->second) {
      if (page) page = make_page(nullptr, 0, {page.get(), bytes % sector_bytes_});
    }
    put(current_, sectors - 1, it->second.back());
  }
  trim(durable_, durable_size_);
  trim(current_, bytes);
}

}  // namespace daruma
