// SPDX-License-Identifier: Apache-2.0
#include <rocksdb/db.h>
#include <rocksdb/file_checksum.h>
#include <rocksdb/version.h>

#include "stores/rocksdb.h"
#include "survive/contender.h"

namespace survive {
namespace {

::rocksdb::Options options_of(bool careful) {
  ::rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 512 << 10;
  options.target_file_size_base = 512 << 10;
  options.max_bytes_for_level_base = 2 << 20;
  if (careful) {
    options.paranoid_checks = true;
    options.paranoid_file_checks = true;
    options.wal_recovery_mode = ::rocksdb::WALRecoveryMode::kAbsoluteConsistency;
    options.track_and_verify_wals_in_manifest = true;
    options.verify_sst_unique_id_in_manifest = true;
    options.file_checksum_gen_factory = ::rocksdb::GetFileChecksumGenCrc32cFactory();
  }
  return options;
}

std::unique_ptr<Store> open(const std::string& directory, bool careful) {
  return stores::open_rocksdb(directory, options_of(careful), true);
}

}  // namespace

Contender rocksdb() {
  const auto plain = [](const std::string& directory) { return open(directory, false); };
  const std::string sizes = "write_buffer_size and target_file_size_base 512 KiB, max_bytes_for_level_base 2 MiB";
  return {"rocksdb",
          std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." + std::to_string(ROCKSDB_PATCH),
          {files("log", "log", "[0-9]+\\.log"), files("table", "table", "[0-9]+\\.sst"),
           files("manifest", "root", "MANIFEST-.*"), files("current", "root", "CURRENT"),
           files("options", "other", "OPTIONS-.*"), files("identity", "other", "IDENTITY"),
           files("info log", "other", "LOG.*"), files("lock", "other", "LOCK")},
          {{"default", sizes + " (paranoid_checks and verify_checksums are on)", plain},
           {.name = "careful",
            .settings = sizes + ", paranoid_file_checks, kAbsoluteConsistency, track_and_verify_wals_in_manifest, "
                                "verify_sst_unique_id_in_manifest, file checksums",
            .open = [](const std::string& directory) { return open(directory, true); },
            .careful_base = true},
           {"repaired", "default, after RepairDB", plain,
            [](const std::string& directory) { return ::rocksdb::RepairDB(directory, options_of(false)).ok(); }}}};
}

}  // namespace survive
