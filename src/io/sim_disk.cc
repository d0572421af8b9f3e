// SPDX-License-Identifier: Apache-2.0
#include "io/sim_disk.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/assert.h"
#include "base/checksum.h"

namespace daruma {

SimDisk::SimDisk(const SimStorageOptions& o) : options(o), random(o.seed) {
  DARUMA_ASSERT(options.sector_bytes == 512 || options.sector_bytes == 4096);
  inodes_[kSimRoot].is_directory = true;
  boot = random.next();
}

SimDisk::SimDisk(const SimDisk& other, std::uint64_t seed)
    : options(other.options),
      random(seed),
      operations(other.operations),
      write_operations(other.write_operations),
      generation(other.generation),
      boot(other.boot),
      crashed(other.crashed),
      faults(other.faults),
      faults_fired(other.faults_fired),
      late_errors(other.late_errors),
      in_flight(other.in_flight),
      next_frame(other.next_frame),
      inodes_(other.inodes_),
      next_inode_(other.next_inode_),
      next_serial_(other.next_serial_) {
  options.seed = seed;
  // The copy has no process and so no mapping: what was stored through one is in its page cache.
  for (const auto& [id, weak] : other.mapped_) {
    const std::shared_ptr<SimMapped> mapped = weak.lock();
    if (mapped && inodes_.contains(id) && inode(id).content->differs(mapped->bytes()))
      content(id).absorb(mapped->bytes(), random);
  }
}

// --- crash points ---

Status SimDisk::alive(std::uint64_t of) const {
  if (crashed || of != generation) return Status(Code::kAborted, "the simulated process died");
  return {};
}

/// Everything that half an operation may change is put back, so that the life that is watched does not notice. Half an
/// operation never writes to a mapped file, whose memory could not be put back.
void SimDisk::show_crash(const std::function<void()>& half) {
  const auto image = [&](bool half_done_too, std::uint64_t seed) {
    if (!half_done_too) return std::unique_ptr<SimStorage>(new SimStorage(std::make_shared<SimDisk>(*this, seed)));
    const auto kept = std::make_tuple(options, random, faults, faults_fired, late_errors, in_flight, next_frame,
                                      open_files, inodes_, next_inode_, next_serial_);
    const auto latency = std::exchange(on_latency, {});
    random = Random(seed);
    half();
    std::unique_ptr<SimStorage> crashed_here(new SimStorage(std::make_shared<SimDisk>(*this, seed)));
    std::tie(options, random, faults, faults_fired, late_errors, in_flight, next_frame, open_files, inodes_,
             next_inode_, next_serial_) = kept;
    on_latency = latency;
    return crashed_here;
  };
  on_crash_point(operations, image);
}

Status SimDisk::pass(std::uint64_t of, bool writes, std::string_view what, const std::string& path) {
  DARUMA_TRY(alive(of));
  if (on_operation) {
    on_operation(operations, std::string(what) + " " + path);
    DARUMA_TRY(alive(of));  // the callback may kill
  }
  ++operations;
  if (writes) ++write_operations;
  return {};
}

bool SimDisk::take_crash() {
  if (armed != operations - 1) return false;
  armed = kNever;
  return true;
}

void SimDisk::stop() {
  // Stores that the code under test makes after this instant were never made: the process is dead.
  for (const auto& [id, weak] : mapped_) absorb(id);
  mapped_.clear();
  crashed = true;
}

void SimDisk::die(std::optional<unsigned> survive_percent) {
  if (!crashed) stop();
  if (survive_percent) {
    cut_names(*survive_percent);
    for (auto& [id, node] : inodes_) {
      if (node.content) content(id).power_cut(*survive_percent, options.shorn_percent, random);
    }
    boot = Random(boot ^ random.next()).next();  // also of a clone that draws what its origin drew: another boot
  }
  settle_frames(survive_percent.value_or(50), survive_percent ? options.shorn_percent : 0);
  locks.clear();
  late_errors.clear();
  open_files.clear();
  ++generation;
  crashed = false;
  collect();
}

void SimDisk::settle_frames(unsigned survive_percent, unsigned shorn_percent) {
  for (const auto& entry : in_flight) {
    const SimFrame& frame = entry.second;
    std::vector<std::uint64_t> shorn;
    apply(frame, true, [&](std::size_t at) {
      const bool survives = random.percent(survive_percent);
      if (survives && shorn_percent > 0 && random.percent(shorn_percent))
        shorn.push_back((frame.offset + at) / options.sector_bytes);
      return survives;
    });
    for (const std::uint64_t index : shorn) {
      SimContent& file = content(frame.inode);
      file.put_durable(index, file.shorn_sector(random));
    }
  }
  in_flight.clear();
}

void SimDisk::cut_names(unsigned survive_percent) {
  for (auto& [id, node] : inodes_) {
    for (auto& [text, name] : node.names) {
      name.keep = 0;
      while (name.keep < name.changes.size() && random.percent(survive_percent)) ++name.keep;
    }
  }
  // Where a rename's removal survived and its set did not, the file would be nowhere: the removal falls too. That may
  // uncover another one (a -> b -> c), so until nothing moves; `keep` only falls.
  for (bool moved = true; moved;) {
    moved = false;
    for (auto& [id, node] : inodes_) {
      for (auto& [text, name] : node.names) {
        for (std::size_t i = 0; i < name.keep; ++i) {
          const SimChange& removal = name.changes[i];
          if (removal.partner_directory == 0 || !inodes_.contains(removal.partner_directory)) continue;
          const auto& names = inode(removal.partner_directory).names;
          const auto partner = names.find(removal.partner_name);
          if (partner == names.end()) continue;
          const auto& changes = partner->second.changes;
          const auto set = std::find_if(changes.begin(), changes.end(),
                                        [&](const SimChange& c) { return c.serial == removal.serial; });
          if (set == changes.end() || static_cast<std::size_t>(set - changes.begin()) < partner->second.keep) continue;
          name.keep = i;
          moved = true;
        }
      }
    }
  }
  for (auto& [id, node] : inodes_) {
    for (auto& [text, name] : node.names) {
      if (name.keep > 0) name.durable = name.changes[name.keep - 1].target;
      name.changes.clear();
    }
    std::erase_if(node.names, [](const auto& entry) { return entry.second.durable == 0; });
  }
}

void SimDisk::collect() {
  std::set<SimInodeId> live;
  std::vector<SimInodeId> todo{kSimRoot};
  for (const auto& [id, count] : open_files) todo.push_back(id);
  for (const auto& [id, weak] : mapped_) todo.push_back(id);
  for (const auto& [id, frame] : in_flight) todo.push_back(frame.inode);
  while (!todo.empty()) {
    const SimInodeId id = todo.back();
    todo.pop_back();
    const auto found = inodes_.find(id);
    if (found == inodes_.end() || !live.insert(id).second) continue;
    for (const auto& [text, name] : found->second.names) {
      if (name.durable != 0) todo.push_back(name.durable);
      for (const SimChange& change : name.changes) {
        if (change.target != 0) todo.push_back(change.target);
      }
    }
  }
  std::erase_if(inodes_, [&](const auto& entry) { return !live.contains(entry.first); });
}

// --- names ---

SimInode& SimDisk::inode(SimInodeId id) {
  const auto it = inodes_.find(id);
  DARUMA_ASSERT(it != inodes_.end());
  return it->second;
}

const SimInode& SimDisk::inode(SimInodeId id) const {
  const auto it = inodes_.find(id);
  DARUMA_ASSERT(it != inodes_.end());
  return it->second;
}

SimInodeId SimDisk::at(const Place& place) const {
  if (place.name.empty()) return place.directory;
  const auto& names = inode(place.directory).names;
  const auto it = names.find(place.name);
  return it == names.end() ? 0 : it->second.current();
}

Result<SimDisk::Place> SimDisk::place(const std::string& path) const {
  Place here{kSimRoot, ""};
  for (std::size_t from = 0; from < path.size();) {
    const std::size_t slash = std::min(path.find('/', from), path.size());
    std::string part = path.substr(from, slash - from);
    from = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return Status(Code::kInvalidArgument, "the simulated disk takes no '..'", {.file = path});
    const SimInodeId directory = at(here);
    if (directory == 0 || !inode(directory).is_directory)
      return Status(Code::kNotFound, "no such directory", {.file = path});
    here = {directory, std::move(part)};
  }
  return here;
}

Result<SimInodeId> SimDisk::find(const std::string& path, bool directory) const {
  DARUMA_TRY_ASSIGN(const Place where, place(path));
  const SimInodeId id = at(where);
  if (id == 0) return Status(Code::kNotFound, directory ? "no such directory" : "no such file", {.file = path});
  if (inode(id).is_directory != directory)
    return Status(Code::kIoError, directory ? "not a directory" : "is a directory", {.file = path});
  return id;
}

void SimDisk::change(const Place& place, SimChange change) {
  inode(place.directory).names[place.name].changes.push_back(std::move(change));
}

SimInodeId SimDisk::create(const Place& place, bool directory) {
  const SimInodeId id = next_inode_++;
  SimInode& node = inodes_[id];
  node.is_directory = directory;
  if (!directory) node.content = std::make_shared<SimContent>(options.sector_bytes);
  change(place, {.target = id, .serial = next_serial_++});
  return id;
}

Status SimDisk::rename(const std::string& from, const std::string& to) {
  DARUMA_TRY_ASSIGN(const Place source, place(from));
  DARUMA_TRY_ASSIGN(const Place target, place(to));
  const SimInodeId id = at(source);
  if (id == 0) return Status(Code::kNotFound, "no such file", {.file = from});
  if (source.directory == target.directory && source.name == target.name) return {};
  if (source.name.empty() || target.name.empty())
    return Status(Code::kIoError, "the root cannot be renamed", {.file = from});
  if (const SimInodeId old = at(target); old != 0 && (inode(old).is_directory || inode(id).is_directory)) {
    return Status(Code::kIoError, "a directory is in the way", {.file = to});
  }
  if (inode(id).is_directory && (to + "/").starts_with(from + "/")) {
    return Status(Code::kInvalidArgument, "a directory cannot move into itself", {.file = to});
  }
  const std::uint64_t serial = next_serial_++;
  change(target, {.target = id, .serial = serial});
  change(source, {.target = 0, .serial = serial, .partner_directory = target.directory, .partner_name = target.name});
  return {};
}

Status SimDisk::remove(const std::string& path) {
  DARUMA_TRY_ASSIGN(const Place where, place(path));
  const SimInodeId id = at(where);
  if (id == 0) return Status(Code::kNotFound, "no such file", {.file = path});
  if (where.name.empty()) return Status(Code::kIoError, "the root cannot be removed", {.file = path});
  for (const auto& [text, name] : inode(id).names) {
    if (name.current() != 0) return Status(Code::kIoError, "directory not empty", {.file = path});
  }
  change(where, {.target = 0, .serial = next_serial_++});
  return {};
}

void SimDisk::commit(SimName& name, std::size_t count) {
  if (count == 0) return;
  const std::vector<SimChange> done(name.changes.begin(), name.changes.begin() + static_cast<std::ptrdiff_t>(count));
  name.changes.erase(name.changes.begin(), name.changes.begin() + static_cast<std::ptrdiff_t>(count));
  name.durable = done.back().target;
  // A removal takes the other half of its rename along, into whichever directory that went: never neither.
  for (const SimChange& removal : done) {
    const auto directory = inodes_.find(removal.partner_directory);
    if (removal.partner_directory == 0 || directory == inodes_.end()) continue;
    const auto partner = directory->second.names.find(removal.partner_name);
    if (partner == directory->second.names.end()) continue;
    const auto& changes = partner->second.changes;
    const auto set =
        std::find_if(changes.begin(), changes.end(), [&](const SimChange& c) { return c.serial == removal.serial; });
    if (set != changes.end()) commit(partner->second, static_cast<std::size_t>(set - changes.begin()) + 1);
  }
}

void SimDisk::sync_directory(SimInodeId id) {
  for (auto& [text, name] : inode(id).names) commit(name, name.changes.size());
  std::erase_if(inode(id).names,
                [](const auto& entry) { return entry.second.durable == 0 && entry.second.changes.empty(); });
  collect();
}

void SimDisk::sync_directory_some(SimInodeId id) {
  for (auto& [text, name] : inode(id).names) commit(name, random.below(name.changes.size() + 1));
}

// --- contents ---

SimContent& SimDisk::content(SimInodeId id) {
  std::shared_ptr<SimContent>& shared = inode(id).content;
  DARUMA_ASSERT(shared != nullptr);
  if (shared.use_count() > 1) shared = std::make_shared<SimContent>(*shared);
  return *shared;
}

std::shared_ptr<SimMapped> SimDisk::mapping_of(SimInodeId id) const {
  const auto it = mapped_.find(id);
  return it == mapped_.end() ? nullptr : it->second.lock();
}

std::size_t SimDisk::read(SimInodeId id, std::uint64_t offset, std::span<char> out) const {
  const std::size_t got = inode(id).content->read(offset, out);
  const std::shared_ptr<SimMapped> mapped = mapping_of(id);
  if (mapped && got > 0 && offset < mapped->size) {
    std::memcpy(out.data(), mapped->buffer.data() + offset, std::min<std::uint64_t>(got, mapped->size - offset));
  }
  return got;
}

void SimDisk::absorb(SimInodeId id) {
  const std::shared_ptr<SimMapped> mapped = mapping_of(id);
  if (mapped && inode(id).content->differs(mapped->bytes())) content(id).absorb(mapped->bytes(), random);
}

void SimDisk::refresh(SimInodeId id) {
  if (const std::shared_ptr<SimMapped> mapped = mapping_of(id))
    static_cast<void>(inode(id).content->read(0, mapped->bytes()));
}

void SimDisk::write(SimInodeId id, std::uint64_t offset, std::string_view data) {
  absorb(id);
  content(id).write(offset, data, random);
  refresh(id);
}

void SimDisk::resize(SimInodeId id, std::uint64_t bytes) {
  absorb(id);
  content(id).resize(bytes, random);
  refresh(id);
}

std::shared_ptr<SimMapped> SimDisk::map(SimInodeId id) {
  if (std::shared_ptr<SimMapped> shared = mapping_of(id))
    return shared->size == inode(id).content->size() ? shared : nullptr;
  auto mapped = std::make_shared<SimMapped>(id, inode(id).content->size());
  mapped_[id] = mapped;
  refresh(id);
  return mapped;
}

void SimDisk::unmap(std::shared_ptr<SimMapped>& mapped) {
  const auto it = mapped_.find(mapped->inode);
  // Not found, or another's: this one was detached when its process died.
  if (const bool ours = it != mapped_.end() && it->second.lock() == mapped; ours && mapped.use_count() == 1) {
    absorb(mapped->inode);
    mapped_.erase(it);
  }
  mapped.reset();
}

std::uint64_t SimDisk::used_bytes() const {
  std::set<SimInodeId> seen;
  std::vector<SimInodeId> todo{kSimRoot};
  for (const auto& [id, count] : open_files) todo.push_back(id);
  std::uint64_t bytes = 0;
  while (!todo.empty()) {
    const SimInodeId id = todo.back();
    todo.pop_back();
    if (!seen.insert(id).second) continue;
    const SimInode& node = inode(id);
    if (node.content) bytes += round_up(node.content->size(), options.sector_bytes);
    for (const auto& [text, name] : node.names) {
      if (name.current() != 0) todo.push_back(name.current());
    }
  }
  return bytes;
}

Status SimDisk::room(SimInodeId id, const std::string& path, std::uint64_t bytes) {
  const std::uint64_t size = inode(id).content->size();
  if (bytes <= size) return {};
  bool full = bytes > kSimFileBytesMax || fault(FaultKind::kNoSpace, path) || fault(FaultKind::kNoSpaceAtAll, path);
  if (!full && options.capacity_bytes != kNever) {
    full = used_bytes() + (round_up(bytes, options.sector_bytes) - round_up(size, options.sector_bytes)) >
           options.capacity_bytes;
  }
  return full ? Status(Code::kNoSpace, "the simulated disk is full", {.file = path, .offset = size}) : Status();
}

void SimDisk::mix(SimInodeId id, std::uint64_t& hash) const {
  const SimInode& node = inode(id);
  if (node.content) {
    const std::uint64_t size = node.content->size();
    hash = hash64({reinterpret_cast<const char*>(&size), sizeof size}, hash);
    char sector[kSectorBytes];
    for (std::uint64_t offset = 0; offset < size; offset += sizeof sector) {
      hash = hash64({sector, read(id, offset, sector)}, hash);
    }
  }
  for (const auto& [text, name] : node.names) {
    if (name.current() == 0) continue;
    hash = hash64(text, hash + (inode(name.current()).is_directory ? 1 : 2));
    mix(name.current(), hash);
  }
  hash = hash64("end", hash);
}

std::uint64_t SimDisk::fingerprint() const {
  std::uint64_t hash = 0;
  mix(kSimRoot, hash);
  return hash;
}

// --- faults ---

bool SimDisk::fault(FaultKind kind, const std::string& path, std::uint64_t offset, std::uint64_t bytes) {
  for (auto it = faults.begin(); it != faults.end(); ++it) {
    if (it->kind != kind || path.find(it->path_contains) == std::string::npos) continue;
    if (kind == FaultKind::kReadError) {
      const bool before = offset < it->offset && it->offset - offset >= bytes;
      const bool after = offset >= it->offset && offset - it->offset >= it->bytes;
      if (before || after) continue;
    }
    if (it->skip > 0) {
      --it->skip;
      continue;
    }
    ++faults_fired;
    if (it->times > 0 && --it->times == 0) faults.erase(it);
    return true;
  }
  return false;
}

bool SimDisk::has_fault(FaultKind kind, const std::string& path) const {
  return std::any_of(faults.begin(), faults.end(), [&](const Fault& fault) {
    return fault.kind == kind && path.find(fault.path_contains) != std::string::npos;
  });
}

Status SimDisk::may_open(std::string_view doing, const std::string& path) {
  if (fault(FaultKind::kNoDescriptors, path)) {
    return Status(Code::kUnavailable, "cannot " + std::string(doing) + ": simulated lack of descriptors",
                  {.file = path}, "raise the limit of open files");
  }
  if (fault(FaultKind::kOpenError, path))
    return Status(Code::kIoError, "cannot " + std::string(doing) + ": simulated error", {.file = path});
  return {};
}

Status SimDisk::sync_fault(SimInodeId id, const std::string& path) {
  if (fault(FaultKind::kSyncError, path)) {
    content(id).forget_dirty();
  } else if (fault(FaultKind::kSyncErrorOld, path)) {
    content(id).drop_dirty();
    refresh(id);
  } else if (late_errors.erase(id) == 0) {
    return {};
  }
  return Status(Code::kIoError, "simulated sync error", {.file = path});
}

}  // namespace daruma
