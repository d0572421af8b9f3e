// SPDX-License-Identifier: Apache-2.0
#include "run/run_heal.h"

#include <algorithm>

#include "base/status_macros.h"
#include "parity/parity_builder.h"
#include "run/run_contents.h"
#include "run/run_reader.h"

namespace daruma {
namespace {

constexpr std::uint64_t kChunkSectors = 128;

Status copy_healed(File& from, File& to, const RunPlace& place) {
  DARUMA_TRY_ASSIGN(const std::uint64_t size, from.size());
  RunBytes bytes(from, size, place, RunBytes::From::kParity);
  if (!bytes.layout()) return run_damage("the file has lost its end, and its parity with it", from.path(), size);
  ParityReader reader = bytes.parity_reader(*bytes.layout());
  ParityBuilder parity(place.parity(), *bytes.layout());
  std::string chunk;
  for (std::uint64_t at = 0; at < bytes.layout()->data_sectors;) {
    const std::uint64_t sectors = std::min(kChunkSectors, bytes.layout()->data_sectors - at);
    chunk.resize(sectors * kSectorBytes);
    for (std::uint64_t i = 0; i < sectors; ++i) {
      if (reader.fetch(at + i, {chunk.data() + i * kSectorBytes, kSectorBytes}) != SectorState::kLost) continue;
      return run_damage("sector is damaged beyond what its stripe can heal", from.path(), (at + i) * kSectorBytes);
    }
    DARUMA_TRY(to.write(at * kSectorBytes, chunk));
    parity.add(chunk);
    at += sectors;
  }
  DARUMA_TRY(to.write(bytes.body_bytes(), parity.finish()));
  return to.sync();
}

Status write_and_verify(Storage& storage, const std::string& path, const std::string& healed, const RunPlace& place) {
  {
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> from, storage.open(path, OpenMode::kRead));
    DARUMA_TRY_ASSIGN(std::unique_ptr<File> to, storage.open(healed, OpenMode::kCreate));
    DARUMA_TRY(copy_healed(*from, *to, place));
  }
  DARUMA_TRY_ASSIGN(std::unique_ptr<RunReader> reader,
                    RunReader::open(storage, healed, place.store, place.number, nullptr));
  DARUMA_TRY_ASSIGN(const RunReader::Verified verified, reader->verify());
  return verified.status();
}

}  // namespace

Status prepare_healed_run(Storage& storage, const std::string& directory, const StoreId& store, std::uint64_t number) {
  const std::string path = directory + "/" + run_name(number);
  const std::string healed = path + std::string(kTemporarySuffix);
  // A crash may have left the temporary name on the very file that it is to replace: never empty it, make a new one.
  if (Status removed = storage.remove(healed); !removed.ok() && !removed.is(Code::kNotFound)) return removed;
  Status status = write_and_verify(storage, path, healed, {store, number});
  if (!status.ok()) (void)storage.remove(healed);  // means nothing anyway
  return status;
}

Status heal_run(Storage& storage, const std::string& directory, const StoreId& store, std::uint64_t number) {
  DARUMA_TRY(prepare_healed_run(storage, directory, store, number));
  return publish_prepared(storage, directory, run_name(number));
}

}  // namespace daruma
