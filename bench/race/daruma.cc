// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <thread>

#include "daruma/store.h"
#include "race/contender.h"

namespace race {
namespace {

class Daruma final : public Store {
 public:
  Daruma(const std::string& directory, const Settings& settings)
      : store_(open(directory, settings)),
        write_({settings.power ? daruma::Durability::kPower : daruma::Durability::kProcess}) {
    auto there = store_.keyspace("race");
    if (!there.ok()) there = store_.create_keyspace("race");
    must(there.status(), "daruma: keyspace");
    in_ = *there;
  }
  void put(std::string_view key, std::string_view value) override {
    must(store_.put(in_, key, value, write_), "daruma: put");
  }
  void put_batch(Records records) override {
    daruma::Batch batch;
    for (const auto& [key, value] : records) batch.put(in_, key, value);
    must(store_.write(batch, write_).status(), "daruma: write");
  }
  std::int64_t get(std::string_view key) override {
    const auto value = store_.get_pinned(in_, key);
    if (value.ok()) return static_cast<std::int64_t>(value->view().size());
    if (!value.status().is(daruma::Code::kNotFound)) must(value.status(), "daruma: get");
    return -1;
  }
  Scanned scan() override {
    Scanned all;
    auto cursor = store_.cursor(in_);
    must(cursor.status(), "daruma: cursor");
    for (cursor->seek_first(); cursor->valid(); cursor->next()) {
      ++all.records;
      all.bytes += cursor->key().size() + cursor->value().size();
    }
    must(cursor->status(), "daruma: scan");
    return all;
  }
  void settle() override { must(store_.compact(in_), "daruma: compact"); }

 private:
  static daruma::Store open(const std::string& directory, const Settings& settings) {
    daruma::Options options;
    options.memtable_bytes = settings.memtable_bytes;
    options.cache_bytes = settings.cache_bytes;
    auto opened = daruma::Store::open(directory, options);
    must(opened.status(), "daruma: open");
    if (std::getenv("RACE_REPORT")) std::fputs(opened->report.to_text().c_str(), stderr);
    return std::move(opened->store);
  }
  daruma::Store store_;
  daruma::Keyspace in_;
  daruma::WriteOptions write_;
};

}  // namespace

Contender daruma() {
  return {"daruma", "this tree", "defaults; LZ4 blocks, filter 10 bits a key",
          [](const std::string& directory, const Settings& settings) -> std::unique_ptr<Store> {
            return std::make_unique<Daruma>(directory, settings);
          }};
}

}  // namespace race
