// SPDX-License-Identifier: Apache-2.0
#include "stores/leveldb.h"
#include "survive/contender.h"

namespace survive {
namespace {

::leveldb::Options options_of(bool careful) {
  ::leveldb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 512 << 10;
  options.max_file_size = 1 << 20;
  options.paranoid_checks = careful;
  return options;
}

std::unique_ptr<Store> open(const std::string& directory, bool careful) {
  return stores::open_leveldb(directory, options_of(careful), {.sync = true, .verify = careful});
}

}  // namespace

Contender leveldb() {
  const auto plain = [](const std::string& directory) { return open(directory, false); };
  const std::string sizes = "write_buffer_size 512 KiB, max_file_size 1 MiB";
  return {"leveldb",
          std::to_string(::leveldb::kMajorVersion) + "." + std::to_string(::leveldb::kMinorVersion),
          {files("log", "log", "[0-9]+\\.log"), files("table", "table", "[0-9]+\\.ldb"),
           files("manifest", "root", "MANIFEST-.*"), files("current", "root", "CURRENT"),
           files("info log", "other", "LOG(\\.old)?"), files("lock", "other", "LOCK")},
          {{"default", sizes, plain},
           {.name = "careful",
            .settings = sizes + ", paranoid_checks, verify_checksums",
            .open = [](const std::string& directory) { return open(directory, true); },
            .careful_base = true},
           {"repaired", "default, after RepairDB", plain,
            [](const std::string& directory) { return ::leveldb::RepairDB(directory, options_of(false)).ok(); }}}};
}

}  // namespace survive
