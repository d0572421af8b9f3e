// SPDX-License-Identifier: Apache-2.0
#include "stores/sqlite.h"

#include "race/contender.h"

namespace race {

Contender contender() {
  const std::string pages = "its log takes a page a put: more than 1 GB for each 16 MiB of a tail";
  return {
      RACE_NAME,
      sqlite3_libversion(),
      "WAL, table WITHOUT ROWID, prepared statements, a connection a thread, writers take turns by a mutex, page_size "
      "4096, mmap_size 2 GiB (0 where "
      "memory is short), wal_autocheckpoint 16384 pages; synchronous FULL where puts survive loss of power, else OFF; "
      "bulk load in one transaction",
      [](const std::string& directory, const Settings& settings) {
        return stores::open_sqlite(
            directory,
            {"synchronous=" + std::string(settings.power ? "FULL" : "OFF"),
             "cache_size=-" + std::to_string(settings.cache_bytes >> 10),
             "mmap_size=" + std::to_string(settings.cache_bytes < Settings().cache_bytes ? 0 : std::uint64_t{2} << 30),
             "wal_autocheckpoint=" + std::string(settings.tail ? "0" : "16384")});
      },
      {{"pipelined", "nothing makes its log durable but a commit or a checkpoint that is"},
       {"replay_64", pages},
       {"replay_256", pages},
       {"open_tail", pages}}};
}

}  // namespace race
