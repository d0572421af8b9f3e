// SPDX-License-Identifier: Apache-2.0
//
// A snapshot manifest: which runs hold the state up to sequence S. `docs/format.md` gives every byte.
//
// What must stay true:
//   - A manifest is a cache of what the runs say of themselves, plus what only it knows (levels after a move, the
//   damage map).
//   - The body stands twice, each copy with its own header sector; either alone suffices. So no single damaged sector,
//   and no
//     damage confined to one half, costs a generation.
//   - A manifest file is published once and never changed. The newest valid one wins; nothing points to it.
//   - The newest stands once more, under one name in recoveries/, replaced after each publish. It counts only where
//   snapshots/ has none that verifies, so one that is behind hides nothing.
//   - Every checksum is seeded with store, number and offset: a manifest under another name or of another store never
//   verifies.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "io/storage.h"
#include "snapshot/placed_run.h"

namespace daruma {

/// The newest version of a catalogue entry.
struct CatalogVersion {
  Sequence sequence = 0;
  std::optional<std::string> value{};  ///< nothing: erased
  bool operator==(const CatalogVersion&) const = default;
};
using Catalog = std::map<std::string, CatalogVersion, std::less<>>;  ///< by key

struct Manifest {
  StoreId store;
  std::uint64_t number = 0;            ///< generation; 1 is the first
  Sequence sequence = 0;               ///< S: the runs hold exactly the state up to here
  Sequence durable_sequence = 0;       ///< highest sequence known durable when this was written; >= sequence
  std::uint64_t next_file_number = 1;  ///< above every run number used so far
  std::uint64_t next_segment = 1;      ///< above every log segment number used so far
  std::int64_t created_wall_ns = 0;
  std::uint64_t previous_number = 0;  ///< 0: none
  std::uint64_t previous_hash = 0;    ///< body hash of the previous manifest
  std::vector<PlacedRun> runs;
  std::string damage;   ///< the damage map; opaque here
  std::string options;  ///< the options in force, as text, for whoever inspects the store
  /// What the runs of the catalogue say together; nothing: some could not be read, or an older version wrote this.
  std::optional<Catalog> catalog{};
  bool operator==(const Manifest&) const = default;
};

inline constexpr std::string_view kManifestMagic = "DRMSNAP1";
inline constexpr std::string_view kManifestDirectory = "snapshots";
inline constexpr std::string_view kManifestCopyDirectory = "recoveries";
inline constexpr std::string_view kManifestCopy = "manifest";
inline constexpr std::uint32_t kManifestVersion = 1;
inline constexpr std::uint64_t kManifestFileBytesMax = std::uint64_t{512} << 20;

/// "0000000000000012.snap".
std::string manifest_name(std::uint64_t number);
/// The number in such a name; nullopt for any other name.
std::optional<std::uint64_t> manifest_number(std::string_view name);

/// Ok when the fields agree with each other (levels, numbers below the next, sequences within S). Else kCorruption.
Status check_manifest(const Manifest& manifest);

/// The whole file. The manifest must pass `check_manifest` (asserted).
std::string encode_manifest(const Manifest& manifest);
/// Identifies the contents, wherever and however often they stand; what `previous_hash` holds.
std::uint64_t manifest_hash(const Manifest& manifest);

struct ManifestRead {
  Manifest manifest;
  std::string damaged;  ///< empty: both copies verify. Else why the other one does not; the caller reports it and heals
                        ///< by publishing the next generation
};
/// Decodes a file found under `number` (nullopt: it may be any). `store`: nullopt when not known yet; any other store
/// is refused. Errors: kCorruption (no copy verifies; the message names what is wrong with each), kUnsupported (from
/// the future).
Result<ManifestRead> decode_manifest(std::string_view file, std::optional<std::uint64_t> number,
                                     const std::optional<StoreId>& store);

/// Encodes and durably publishes into `directory`/snapshots. After ok every crash finds it whole.
Status publish_manifest(Storage& storage, const std::string& directory, const Manifest& manifest);
/// The newest one once more, after it was published; when that fails, none stands there rather than one that is behind.
Status copy_manifest(Storage& storage, const std::string& directory, const Manifest& newest);

}  // namespace daruma
