// SPDX-License-Identifier: Apache-2.0
#include "stores/wiredtiger.h"

#include <filesystem>

namespace stores {
namespace {

WT_ITEM item(std::string_view s) {
  WT_ITEM out{};
  out.data = s.data();
  out.size = s.size();
  return out;
}
std::string_view view(const WT_ITEM& i) { return {static_cast<const char*>(i.data), i.size}; }

class WiredTigerSession final : public Session {
 public:
  static std::unique_ptr<WiredTigerSession> open(WT_CONNECTION* connection) {
    auto out = std::make_unique<WiredTigerSession>();
    if (connection->open_session(connection, nullptr, nullptr, &out->session_) != 0) return nullptr;
    WT_SESSION* const session = out->session_;
    if (session->open_cursor(session, kWiredTigerTable, nullptr, nullptr, &out->cursor_) != 0) return nullptr;
    return out;
  }
  ~WiredTigerSession() override {
    if (session_ != nullptr) session_->close(session_, nullptr);
  }
  bool put(std::string_view key, std::string_view value) override { return change({key, value}); }
  bool erase(std::string_view key) override { return change({key, std::nullopt}); }
  bool write(std::span<const Change> changes) override {
    if (session_->begin_transaction(session_, nullptr) != 0) return false;
    for (const Change& one : changes) {
      if (change(one)) continue;
      session_->rollback_transaction(session_, nullptr);
      return false;
    }
    cursor_->reset(cursor_);
    return session_->commit_transaction(session_, nullptr) == 0;
  }
  Answer get(std::string_view key, std::string_view& value) override {
    const WT_ITEM k = item(key);
    WT_ITEM v{};
    cursor_->set_key(cursor_, &k);
    int error = cursor_->search(cursor_);
    if (error == 0 && (error = cursor_->get_value(cursor_, &v)) == 0) {
      value = view(v);
      return Answer::kValue;
    }
    const bool reset = cursor_->reset(cursor_) == 0;
    return error == WT_NOTFOUND && reset ? Answer::kAbsent : Answer::kError;
  }
  bool scan(const Range& range, const Visit& each) override {
    cursor_->reset(cursor_);
    int error = 0;
    if (range.backward) {
      error = cursor_->prev(cursor_);
    } else if (range.from.empty()) {
      error = cursor_->next(cursor_);
    } else {
      const WT_ITEM from = item(range.from);
      int exact = 0;
      cursor_->set_key(cursor_, &from);
      error = cursor_->search_near(cursor_, &exact);
      if (error == 0 && exact < 0) error = cursor_->next(cursor_);
    }
    WT_ITEM k{}, v{};
    for (std::uint64_t n = 0; error == 0;) {
      if (cursor_->get_key(cursor_, &k) != 0 || cursor_->get_value(cursor_, &v) != 0) return false;
      each(view(k), view(v));
      if (++n >= range.limit) break;
      error = range.backward ? cursor_->prev(cursor_) : cursor_->next(cursor_);
    }
    return cursor_->reset(cursor_) == 0 && (error == 0 || error == WT_NOTFOUND);
  }
  std::uint64_t put_early(std::string_view key, std::string_view value) override {
    if (session_->begin_transaction(session_, nullptr) != 0) return 0;
    if (!change({key, value})) return 0;
    return session_->commit_transaction(session_, "sync=off") == 0 ? ++put_ : 0;
  }
  bool sync(std::uint64_t ticket) override {
    if (ticket <= synced_) return true;
    synced_ = put_;
    return session_->log_flush(session_, "sync=on") == 0;
  }

 private:
  bool change(const Change& change) {
    const WT_ITEM key = item(change.key);
    cursor_->set_key(cursor_, &key);
    if (!change.value) {
      const int error = cursor_->remove(cursor_);
      return error == 0 || error == WT_NOTFOUND;
    }
    const WT_ITEM value = item(*change.value);
    cursor_->set_value(cursor_, &value);
    return cursor_->insert(cursor_) == 0;
  }
  WT_SESSION* session_ = nullptr;
  WT_CURSOR* cursor_ = nullptr;
  std::uint64_t put_ = 0, synced_ = 0;
};

class WiredTiger final : public Store {
 public:
  explicit WiredTiger(WT_CONNECTION* connection) : connection_(connection) {}
  ~WiredTiger() override { connection_->close(connection_, nullptr); }
  std::unique_ptr<Session> session() override { return WiredTigerSession::open(connection_); }
  bool flush() override {
    WT_SESSION* session = nullptr;
    if (connection_->open_session(connection_, nullptr, nullptr, &session) != 0) return false;
    const bool good = session->checkpoint(session, nullptr) == 0;
    return session->close(session, nullptr) == 0 && good;
  }
  bool bulk_load(std::uint64_t records, const Source& source) override {
    WT_SESSION* session = nullptr;
    WT_CURSOR* cursor = nullptr;
    if (connection_->open_session(connection_, nullptr, nullptr, &session) != 0) return false;
    bool good = session->open_cursor(session, kWiredTigerTable, nullptr, "bulk", &cursor) == 0;
    for (std::uint64_t i = 0; good && i < records; ++i) {
      const auto [key, value] = source(i);
      const WT_ITEM k = item(key), v = item(value);
      cursor->set_key(cursor, &k);
      cursor->set_value(cursor, &v);
      good = cursor->insert(cursor) == 0;
    }
    good = good && cursor->close(cursor) == 0 && session->checkpoint(session, nullptr) == 0;
    return session->close(session, nullptr) == 0 && good;
  }

 private:
  WT_CONNECTION* const connection_;
};

}  // namespace

std::unique_ptr<Store> open_wiredtiger(const std::string& directory, const WiredTigerUse& use) {
  std::filesystem::create_directories(directory);
  WT_CONNECTION* connection = nullptr;
  if (wiredtiger_open(directory.c_str(), nullptr, use.connection.c_str(), &connection) != 0) return nullptr;
  WT_SESSION* session = nullptr;
  if (connection->open_session(connection, nullptr, nullptr, &session) != 0) return nullptr;
  if (session->create(session, kWiredTigerTable, use.table.c_str()) != 0) return nullptr;
  if (use.verify && session->verify(session, kWiredTigerTable, nullptr) != 0) return nullptr;
  if (session->close(session, nullptr) != 0) return nullptr;
  return std::make_unique<WiredTiger>(connection);
}

}  // namespace stores
