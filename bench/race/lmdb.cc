// SPDX-License-Identifier: Apache-2.0
#include "stores/lmdb.h"

#include "race/contender.h"

namespace race {

Contender contender() {
  const std::string no_sync = "MDB_NOSYNC, which lets a put return before it is durable, can lose the whole map";
  return {RACE_NAME,
          stores::lmdb_version(),
          "MDB_NORDAHEAD, MDB_NOTLS; puts that need not survive loss of power with MDB_WRITEMAP and MDB_NOSYNC; one "
          "transaction a put, one renewed transaction a get; no cache of its own; bulk load in one transaction with "
          "MDB_APPEND",
          [](const std::string& directory, const Settings& settings) {
            const unsigned flags = MDB_NORDAHEAD | MDB_NOTLS | (settings.power ? 0u : MDB_WRITEMAP | MDB_NOSYNC);
            return stores::open_lmdb(directory, flags, std::size_t{64} << 30);
          },
          {{"pipelined", no_sync}, {"replay_256.rate", "it has no log to replay"}}};
}

}  // namespace race
