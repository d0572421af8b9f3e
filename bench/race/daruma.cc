// SPDX-License-Identifier: Apache-2.0
#include "stores/daruma.h"

#include "race/contender.h"

namespace race {

Contender contender() {
  return {"daruma", "this tree",
          "defaults (memtable 64 MiB, LZ4 blocks, filter 10 bits a key, log written by io_uring); settled by compact "
          "and trim",
          [](const std::string& directory, const Settings& settings) -> std::unique_ptr<stores::Store> {
            ::daruma::Options options;
            options.memtable_bytes = kMemtableBytes;
            if (settings.tail) {  // all of it stays to be replayed
              options.memtable_bytes = std::uint64_t{4} << 30;
              options.recovery_budget = std::chrono::minutes(1);
            }
            options.cache_bytes = settings.cache_bytes;
            auto opened = ::daruma::Store::open(directory, options);
            if (!opened.ok()) return nullptr;
            return stores::of_daruma(*std::move(opened),
                                     settings.power ? ::daruma::Durability::kPower : ::daruma::Durability::kProcess);
          }};
}

}  // namespace race
