// SPDX-License-Identifier: Apache-2.0
#include "stores/wiredtiger.h"
#include "survive/contender.h"

namespace survive {
namespace {

const std::string kConnection =
    "create,cache_size=64MB,log=(enabled=true,file_max=1MB),transaction_sync=(enabled=true,method=fsync)";

std::unique_ptr<Store> open(const std::string& directory) {
  return stores::open_wiredtiger(directory, {.connection = kConnection});
}

bool salvage(const std::string& directory) {
  WT_CONNECTION* connection = nullptr;
  if (wiredtiger_open(directory.c_str(), nullptr, (kConnection + ",salvage=true").c_str(), &connection) != 0)
    return false;
  WT_SESSION* session = nullptr;
  if (connection->open_session(connection, nullptr, nullptr, &session) != 0) return false;
  const bool good = session->salvage(session, stores::kWiredTigerTable, nullptr) == 0;
  return connection->close(connection, nullptr) == 0 && good;
}

}  // namespace

Contender wiredtiger() {
  const std::string base = "log on (file_max 1 MB), transaction_sync fsync, cache 64 MB";
  return {
      "wiredtiger",
      std::to_string(WIREDTIGER_VERSION_MAJOR) + "." + std::to_string(WIREDTIGER_VERSION_MINOR) + "." +
          std::to_string(WIREDTIGER_VERSION_PATCH),
      {files("log", "log", "WiredTigerLog\\.[0-9]+"), files("table", "table", "kv\\.wt"),
       files("metadata", "root", "WiredTiger\\.wt"), files("turtle", "root", "WiredTiger\\.turtle"),
       files("version", "other", "WiredTiger"), files("basecfg", "other", "WiredTiger\\.basecfg"),
       files("lookaside", "other", "WiredTigerLAS\\.wt"), files("lock", "other", "WiredTiger\\.lock")},
      {{"default", base, open},
       {.name = "careful",
        .settings = base + ", checksum=on, session.verify at open",
        .open =
            [](const std::string& directory) {
              return stores::open_wiredtiger(directory, {kConnection, "key_format=u,value_format=u,checksum=on", true});
            },
        .careful_base = true},
       {"repaired", "default, after wiredtiger_open with salvage=true and session.salvage", open, salvage}}};
}

}  // namespace survive
