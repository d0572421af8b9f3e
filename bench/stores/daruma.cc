// SPDX-License-Identifier: Apache-2.0
#include "stores/daruma.h"

#include <tuple>

namespace stores {
namespace {

class DarumaSession final : public Session {
 public:
  DarumaSession(::daruma::Store& store, ::daruma::Keyspace in, ::daruma::Durability durability)
      : store_(store), in_(in), how_{durability} {}
  bool put(std::string_view key, std::string_view value) override { return store_.put(in_, key, value, how_).ok(); }
  bool erase(std::string_view key) override { return store_.erase(in_, key, how_).ok(); }
  bool write(std::span<const Change> changes) override {
    ::daruma::Batch batch;
    for (const Change& change : changes) {
      if (change.value)
        batch.put(in_, change.key, *change.value);
      else
        batch.erase(in_, change.key);
    }
    return store_.write(batch, how_).ok();
  }
  Answer get(std::string_view key, std::string_view& value) override {
    auto got = store_.get_pinned(in_, key);
    if (got.ok()) {
      pinned_ = *std::move(got);
      value = pinned_->view();
      return Answer::kValue;
    }
    // No keyspace at all is an answer about each of its keys only while nothing is said to be in doubt.
    const ::daruma::Status why = in_ == ::daruma::Keyspace() ? store_.keyspace("kv").status() : got.status();
    return why.is(::daruma::Code::kNotFound) ? Answer::kAbsent : Answer::kError;
  }
  bool multi_get(std::span<const std::string_view> keys, const Visit& each) override {
    const auto got = store_.multi_get(in_, {keys.begin(), keys.end()});
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (got[i].ok())
        each(keys[i], *got[i]);
      else if (!got[i].status().is(::daruma::Code::kNotFound))
        return false;
    }
    return true;
  }
  bool scan(const Range& range, const Visit& each) override {
    auto cursor = store_.cursor(in_);
    if (!cursor.ok()) return false;
    if (range.backward)
      cursor->seek_last();
    else if (range.from.empty())
      cursor->seek_first();
    else
      cursor->seek(range.from);
    for (std::uint64_t n = 0; n < range.limit && cursor->valid(); ++n) {
      each(cursor->key(), cursor->value());
      if (range.backward)
        cursor->prev();
      else
        cursor->next();
    }
    return cursor->status().ok();
  }
  std::uint64_t put_early(std::string_view key, std::string_view value) override {
    one_.clear();
    one_.put(in_, key, value);
    const auto sequence = store_.write_async(one_);
    return sequence.ok() ? *sequence : 0;
  }
  bool sync(std::uint64_t ticket) override { return store_.sync(std::min(ticket, ::daruma::kMaxSequence)).ok(); }

 private:
  ::daruma::Store& store_;
  const ::daruma::Keyspace in_;
  const ::daruma::WriteOptions how_;
  ::daruma::Batch one_;
  std::optional<::daruma::PinnedValue> pinned_;
};

class Daruma final : public Store {
 public:
  Daruma(::daruma::Store::Opened opened, ::daruma::Durability durability)
      : store_(std::move(opened.store)), durability_(durability), told_(!opened.report.clean()) {
    if (opened.report.created) static_cast<void>(store_.create_keyspace("kv"));
    if (const auto there = store_.keyspace("kv"); there.ok()) in_ = *there;
  }
  std::unique_ptr<Session> session() override { return std::make_unique<DarumaSession>(store_, in_, durability_); }
  bool flush() override { return store_.checkpoint().ok(); }
  bool bulk_load(std::uint64_t records, const Source& source) override {
    const auto next = [&, i = std::uint64_t{0}](std::string_view& key,
                                                std::string_view& value) mutable -> ::daruma::Result<bool> {
      if (i == records) return false;
      std::tie(key, value) = source(i++);
      return true;
    };
    return store_.bulk_load(in_, next).ok();
  }
  bool settle() override { return store_.compact(in_).ok() && store_.trim().ok(); }
  [[nodiscard]] bool told_of_loss() const override { return told_; }

 private:
  ::daruma::Store store_;
  ::daruma::Keyspace in_;
  const ::daruma::Durability durability_;
  const bool told_;
};

}  // namespace

std::unique_ptr<Store> of_daruma(::daruma::Store::Opened opened, ::daruma::Durability durability) {
  return std::make_unique<Daruma>(std::move(opened), durability);
}

}  // namespace stores
