// SPDX-License-Identifier: Apache-2.0
#include <wiredtiger.h>

#include <filesystem>

#include "survive/contender.h"

namespace survive {
namespace {

constexpr const char* kTable = "table:kv";
const std::string kConnection =
    "create,cache_size=64MB,log=(enabled=true,file_max=1MB),transaction_sync=(enabled=true,method=fsync)";

WT_ITEM item(std::string_view s) {
  WT_ITEM out{};
  out.data = s.data();
  out.size = s.size();
  return out;
}
std::string_view view(const WT_ITEM& i) { return {static_cast<const char*>(i.data), i.size}; }

class WiredTiger final : public Store {
 public:
  static std::unique_ptr<Store> open(const std::string& directory, bool careful) {
    std::filesystem::create_directories(directory);
    auto store = std::make_unique<WiredTiger>();
    WT_CONNECTION* connection = nullptr;
    if (wiredtiger_open(directory.c_str(), nullptr, kConnection.c_str(), &connection) != 0) return nullptr;
    if (connection->open_session(connection, nullptr, nullptr, &store->session_) != 0) return nullptr;
    WT_SESSION* const session = store->session_;
    const char* const table = careful ? "key_format=u,value_format=u,checksum=on" : "key_format=u,value_format=u";
    if (session->create(session, kTable, table) != 0) return nullptr;
    if (careful && session->verify(session, kTable, nullptr) != 0) return nullptr;
    if (session->open_cursor(session, kTable, nullptr, nullptr, &store->cursor_) != 0) return nullptr;
    return store;
  }
  bool write(std::span<const Change> changes) override {
    if (session_->begin_transaction(session_, nullptr) != 0) return false;
    for (const Change& change : changes) {
      const WT_ITEM key = item(change.key);
      cursor_->set_key(cursor_, &key);
      int error = 0;
      if (change.value) {
        const WT_ITEM value = item(*change.value);
        cursor_->set_value(cursor_, &value);
        error = cursor_->insert(cursor_);
      } else {
        error = cursor_->remove(cursor_);
        if (error == WT_NOTFOUND) error = 0;
      }
      if (error != 0) {
        session_->rollback_transaction(session_, nullptr);
        return false;
      }
    }
    cursor_->reset(cursor_);
    return session_->commit_transaction(session_, nullptr) == 0;
  }
  bool flush() override { return session_->checkpoint(session_, nullptr) == 0; }
  Answer get(std::string_view key, std::string& value) override {
    const WT_ITEM k = item(key);
    WT_ITEM v{};
    cursor_->set_key(cursor_, &k);
    int error = cursor_->search(cursor_);
    if (error == 0 && (error = cursor_->get_value(cursor_, &v)) == 0) value = view(v);
    const bool reset = cursor_->reset(cursor_) == 0;
    if (error == 0) return Answer::kValue;
    return error == WT_NOTFOUND && reset ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const std::function<void(std::string_view, std::string_view)>& each) override {
    cursor_->reset(cursor_);
    int error = 0;
    WT_ITEM k{}, v{};
    while ((error = cursor_->next(cursor_)) == 0) {
      if (cursor_->get_key(cursor_, &k) != 0 || cursor_->get_value(cursor_, &v) != 0) return false;
      each(view(k), view(v));
    }
    return error == WT_NOTFOUND;
  }

 private:
  WT_SESSION* session_ = nullptr;
  WT_CURSOR* cursor_ = nullptr;
};

bool salvage(const std::string& directory) {
  WT_CONNECTION* connection = nullptr;
  if (wiredtiger_open(directory.c_str(), nullptr, (kConnection + ",salvage=true").c_str(), &connection) != 0)
    return false;
  WT_SESSION* session = nullptr;
  if (connection->open_session(connection, nullptr, nullptr, &session) != 0) return false;
  const bool good = session->salvage(session, kTable, nullptr) == 0;
  return connection->close(connection, nullptr) == 0 && good;
}

}  // namespace

Contender wiredtiger() {
  const auto plain = [](const std::string& directory) { return WiredTiger::open(directory, false); };
  const std::string base = "log on (file_max 1 MB), transaction_sync fsync, cache 64 MB";
  return {"wiredtiger",
          std::to_string(WIREDTIGER_VERSION_MAJOR) + "." + std::to_string(WIREDTIGER_VERSION_MINOR) + "." +
              std::to_string(WIREDTIGER_VERSION_PATCH),
          {files("log", "log", "WiredTigerLog\\.[0-9]+"), files("table", "table", "kv\\.wt"),
           files("metadata", "root", "WiredTiger\\.wt"), files("turtle", "root", "WiredTiger\\.turtle"),
           files("version", "other", "WiredTiger"), files("basecfg", "other", "WiredTiger\\.basecfg"),
           files("lookaside", "other", "WiredTigerLAS\\.wt"), files("lock", "other", "WiredTiger\\.lock")},
          {{"default", base, plain},
           {.name = "careful",
            .settings = base + ", checksum=on, session.verify at open",
            .open = [](const std::string& directory) { return WiredTiger::open(directory, true); },
            .careful_base = true},
           {"repaired", "default, after wiredtiger_open with salvage=true and session.salvage", plain, salvage}}};
}

}  // namespace survive
