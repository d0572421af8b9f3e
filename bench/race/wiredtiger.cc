// SPDX-License-Identifier: Apache-2.0
#include "stores/wiredtiger.h"

#include "race/contender.h"

#ifdef RACE_WIREDTIGER_SNAPPY
#define RACE_EXTENSION ",extensions=[" RACE_WIREDTIGER_SNAPPY "]"
#define RACE_COMPRESSOR ",block_compressor=snappy"
#define RACE_COMPRESSION "Snappy"
#else
#define RACE_EXTENSION ""
#define RACE_COMPRESSOR ""
#define RACE_COMPRESSION "no compression, since its library for Snappy is not installed"
#endif

namespace race {

Contender contender() {
  return {
      RACE_NAME,
      std::to_string(WIREDTIGER_VERSION_MAJOR) + "." + std::to_string(WIREDTIGER_VERSION_MINOR) + "." +
          std::to_string(WIREDTIGER_VERSION_PATCH),
      "B-tree table, " RACE_COMPRESSION
      ", log on (file_max 64 MB), a checkpoint every 60 s or 2 GB of it and 4 eviction threads, as MongoDB has it; "
      "transaction_sync fsync where puts survive loss of power, else none; a session and a cursor a thread; pipelined "
      "puts are made durable by log_flush; bulk load by a bulk cursor",
      [](const std::string& directory, const Settings& settings) {
        return stores::open_wiredtiger(
            directory, {.connection = "create,session_max=200,eviction=(threads_min=4,threads_max=4),cache_size=" +
                                      std::to_string(settings.cache_bytes >> 20) +
                                      "MB,log=(enabled=true,file_max=64MB),transaction_sync=(enabled=true,method=" +
                                      (settings.power ? "fsync" : "none") + ")" +
                                      (settings.tail ? "" : ",checkpoint=(wait=60,log_size=2GB)") + RACE_EXTENSION,
                        .table = "key_format=u,value_format=u" RACE_COMPRESSOR});
      }};
}

}  // namespace race
