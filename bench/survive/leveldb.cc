// SPDX-License-Identifier: Apache-2.0
#include <leveldb/db.h>
#include <leveldb/iterator.h>
#include <leveldb/write_batch.h>

#include "survive/contender.h"

namespace survive {
namespace {

::leveldb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }

::leveldb::Options options_of(bool careful) {
  ::leveldb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 512 << 10;
  options.max_file_size = 1 << 20;
  options.paranoid_checks = careful;
  return options;
}

class LevelDb final : public Store {
 public:
  static std::unique_ptr<Store> open(const std::string& directory, bool careful) {
    ::leveldb::DB* db = nullptr;
    if (!::leveldb::DB::Open(options_of(careful), directory, &db).ok()) return nullptr;
    return std::make_unique<LevelDb>(db, careful);
  }
  LevelDb(::leveldb::DB* db, bool careful) : db_(db) { read_.verify_checksums = careful; }
  bool write(std::span<const Change> changes) override {
    ::leveldb::WriteBatch batch;
    for (const Change& change : changes) {
      if (change.value)
        batch.Put(change.key, *change.value);
      else
        batch.Delete(change.key);
    }
    ::leveldb::WriteOptions options;
    options.sync = true;
    return db_->Write(options, &batch).ok();
  }
  bool flush() override {
    db_->CompactRange(nullptr, nullptr);
    return true;
  }
  Answer get(std::string_view key, std::string& value) override {
    const ::leveldb::Status status = db_->Get(read_, slice(key), &value);
    if (status.ok()) return Answer::kValue;
    return status.IsNotFound() ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const std::function<void(std::string_view, std::string_view)>& each) override {
    const std::unique_ptr<::leveldb::Iterator> it(db_->NewIterator(read_));
    for (it->SeekToFirst(); it->Valid(); it->Next())
      each({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()});
    return it->status().ok();
  }

 private:
  const std::unique_ptr<::leveldb::DB> db_;
  ::leveldb::ReadOptions read_;
};

}  // namespace

Contender leveldb() {
  const auto plain = [](const std::string& directory) { return LevelDb::open(directory, false); };
  const std::string sizes = "write_buffer_size 512 KiB, max_file_size 1 MiB";
  return {"leveldb",
          std::to_string(::leveldb::kMajorVersion) + "." + std::to_string(::leveldb::kMinorVersion),
          {files("log", "log", "[0-9]+\\.log"), files("table", "table", "[0-9]+\\.ldb"),
           files("manifest", "root", "MANIFEST-.*"), files("current", "root", "CURRENT"),
           files("info log", "other", "LOG(\\.old)?"), files("lock", "other", "LOCK")},
          {{"default", sizes, plain},
           {.name = "careful",
            .settings = sizes + ", paranoid_checks, verify_checksums",
            .open = [](const std::string& directory) { return LevelDb::open(directory, true); },
            .careful_base = true},
           {"repaired", "default, after RepairDB", plain,
            [](const std::string& directory) { return ::leveldb::RepairDB(directory, options_of(false)).ok(); }}}};
}

}  // namespace survive
