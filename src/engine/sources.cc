// SPDX-License-Identifier: Apache-2.0
#include "engine/sources.h"

#include <optional>

namespace daruma {
namespace {

template <typename Inner>
class Source final : public EntrySource {
 public:
  explicit Source(Inner cursor) : cursor_(std::move(cursor)) {}
  void seek_first() override {
    move([this] { cursor_.seek_first(); });
  }
  void seek_last() override {
    move([this] { cursor_.seek_last_key(); });
  }
  void aim(std::string_view key) override {
    if constexpr (requires { cursor_.aim(key); }) cursor_.aim(key);
  }
  void arrive(std::string_view key) override {
    move([&] {
      if constexpr (requires { cursor_.arrive(key); })
        cursor_.arrive(key);
      else
        cursor_.seek(key);
    });
  }
  void next() override {
    move([this] { cursor_.next(); });
  }
  void next_key() override {
    move([this] { cursor_.next_key(); });
  }
  void prev_key() override {
    move([this] { cursor_.prev_key(); });
  }
  bool at_or_below(Sequence at) override {
    bool found = false;
    move([&] { found = cursor_.at_or_below(at); });
    return found;
  }
  [[nodiscard]] Status status() const override {
    if constexpr (requires { cursor_.status(); }) return cursor_.status();
    return {};
  }

 private:
  template <typename Move>
  void move(const Move& there) {
    there();
    stand_at(cursor_);
  }
  Inner cursor_;
};

class LevelSource final : public EntrySource {
 public:
  explicit LevelSource(const RunSet::Level& level) : level_(level) {}
  void seek_first() override {
    enter(0);
    if (cursor_) cursor_->seek_first();
    skip_forward();
  }
  void seek_last() override {
    enter(level_.runs.size() - 1);
    if (cursor_) cursor_->seek_last_key();
    skip_backward();
  }
  void aim(std::string_view key) override {
    const auto it = std::lower_bound(level_.runs.begin(), level_.runs.end(), key,
                                     [](const auto& run, std::string_view k) { return run->info.largest_key < k; });
    enter(static_cast<std::size_t>(it - level_.runs.begin()));
    if (cursor_) cursor_->aim(key);
  }
  void arrive(std::string_view key) override {
    if (cursor_) cursor_->arrive(key);
    skip_forward();
  }
  void next() override {
    cursor_->next();
    skip_forward();
  }
  void next_key() override {
    cursor_->next_key();
    skip_forward();
  }
  void prev_key() override {
    cursor_->prev_key();
    skip_backward();
  }
  bool at_or_below(Sequence at) override {
    const bool found = cursor_->at_or_below(at);
    stand();
    return found;
  }
  [[nodiscard]] Status status() const override { return cursor_ ? cursor_->status() : Status(); }

 private:
  void enter(std::size_t run) {
    if (cursor_ && at_ == run) return;  // it keeps the block that it stands in
    at_ = run;
    cursor_.reset();
    if (run < level_.runs.size()) cursor_.emplace(level_.runs[run]->reader->cursor());
  }
  // A run that ends without an error is left for its neighbour; one with range erases only has no entry at all.
  void skip_forward() {
    while (cursor_ && !cursor_->valid() && cursor_->status().ok()) {
      enter(at_ + 1);
      if (cursor_) cursor_->seek_first();
    }
    stand();
  }
  void skip_backward() {
    while (cursor_ && !cursor_->valid() && cursor_->status().ok()) {
      if (at_ == 0) {
        cursor_.reset();
      } else {
        enter(at_ - 1);
        cursor_->seek_last_key();
      }
    }
    stand();
  }
  void stand() {
    if (cursor_)
      stand_at(*cursor_);
    else
      stand_at_end();
  }

  const RunSet::Level& level_;
  std::size_t at_ = 0;
  std::optional<RunReader::Cursor> cursor_;
};

}  // namespace

std::unique_ptr<EntrySource> level_source(const RunSet::Level& level) { return std::make_unique<LevelSource>(level); }

std::unique_ptr<EntrySource> memtable_source(const Memtable& memtable) {
  return std::make_unique<Source<Memtable::Cursor>>(memtable.cursor());
}

std::unique_ptr<EntrySource> run_source(const RunReader& reader) {
  return std::make_unique<Source<RunReader::Cursor>>(reader.cursor());
}

}  // namespace daruma
