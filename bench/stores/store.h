// SPDX-License-Identifier: Apache-2.0
//
// What the race and the survival matrix ask of each store: the same calls for all, each by the fastest way that store
// has. How it is set up is the business of who opens it.
//
// What must stay true: an error of the store is handed on as one, never swallowed and never the end of the process;
// whoever opens an existing store gets what the killed process left; no view is copied where the store gives one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stores {

struct Change {
  std::string_view key;
  std::optional<std::string_view> value;  ///< nothing: the key is deleted
};

enum class Answer : std::uint8_t { kValue, kAbsent, kError };

struct Range {
  std::string_view from{};           ///< first key, going forward; empty: the first there is
  std::uint64_t limit = UINT64_MAX;  ///< most records
  bool backward = false;             ///< from the last key down; `from` is not looked at
};

/// Views are good for the call.
using Visit = std::function<void(std::string_view key, std::string_view value)>;

/// One thread's way into a store, made on that thread. Writes are acknowledged as the store was opened to do it.
class Session {
 public:
  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  virtual ~Session() = default;
  virtual bool put(std::string_view key, std::string_view value) = 0;
  virtual bool erase(std::string_view key) = 0;
  /// One transaction.
  virtual bool write(std::span<const Change> changes) = 0;
  /// `value`: until the next call.
  virtual Answer get(std::string_view key, std::string_view& value) = 0;
  /// Calls `each` with those that are there.
  virtual bool multi_get(std::span<const std::string_view> keys, const Visit& each) {
    std::string_view value;
    for (const std::string_view key : keys) {
      const Answer answer = get(key, value);
      if (answer == Answer::kError) return false;
      if (answer == Answer::kValue) each(key, value);
    }
    return true;
  }
  /// False: it ended with an error.
  virtual bool scan(const Range& range, const Visit& each) = 0;
  /// A put that survives loss of power once `sync` has returned for its ticket. 0: failed, or the store has no such
  /// call.
  virtual std::uint64_t put_early(std::string_view key, std::string_view value) {
    static_cast<void>(key), static_cast<void>(value);
    return 0;
  }
  virtual bool sync(std::uint64_t ticket = UINT64_MAX) {
    static_cast<void>(ticket);
    return false;
  }
};

/// Gives record `i` of a load; any thread. The key is good until the same thread asks again, the value to the end.
using Source = std::function<std::pair<std::string_view, std::string_view>(std::uint64_t i)>;

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;
  /// Nothing: it cannot.
  virtual std::unique_ptr<Session> session() = 0;
  /// All so far out of the log, into tables.
  virtual bool flush() = 0;
  /// All in its resting place: flushed, merged, nothing left to do in the background.
  virtual bool settle() { return flush(); }
  /// Records that come sorted, into an empty store, by the fastest way there is; durable at the end.
  virtual bool bulk_load(std::uint64_t records, const Source& source);
  /// The start said by itself that data is lost.
  [[nodiscard]] virtual bool told_of_loss() const { return false; }
};

/// Batches of a thousand.
inline bool Store::bulk_load(std::uint64_t records, const Source& source) {
  static constexpr std::uint64_t kBatch = 1000;
  const std::unique_ptr<Session> session = this->session();
  std::vector<std::string> keys(kBatch);
  std::vector<Change> batch;
  for (std::uint64_t i = 0; i < records; ++i) {
    const auto [key, value] = source(i);
    keys[batch.size()] = key;
    batch.push_back({keys[batch.size()], value});
    if (batch.size() < kBatch && i + 1 < records) continue;
    if (!session->write(batch)) return false;
    batch.clear();
  }
  return session->sync() || flush();
}

}  // namespace stores
