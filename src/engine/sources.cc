// SPDX-License-Identifier: Apache-2.0
#include "engine/sources.h"

namespace daruma {
namespace {

template <typename Inner>
class Source final : public EntrySource {
 public:
  explicit Source(Inner cursor) : cursor_(std::move(cursor)) {}
  void seek_first() override { cursor_.seek_first(); }
  void seek_last() override { cursor_.seek_last(); }
  void seek(std::string_view key) override { cursor_.seek(key); }
  void next() override { cursor_.next(); }
  void prev() override { cursor_.prev(); }
  [[nodiscard]] bool valid() const override { return cursor_.valid(); }
  [[nodiscard]] std::string_view key() const override { return cursor_.key(); }
  [[nodiscard]] Sequence sequence() const override { return cursor_.sequence(); }
  [[nodiscard]] EntryKind kind() const override { return cursor_.kind(); }
  [[nodiscard]] std::string_view value() const override { return cursor_.value(); }
  [[nodiscard]] Status status() const override {
    if constexpr (requires { cursor_.status(); }) return cursor_.status();
    return {};
  }

 private:
  Inner cursor_;
};

}  // namespace

std::unique_ptr<EntrySource> memtable_source(const Memtable& memtable) {
  return std::make_unique<Source<Memtable::Cursor>>(memtable.cursor());
}

std::unique_ptr<EntrySource> run_source(const RunReader& reader) {
  return std::make_unique<Source<RunReader::Cursor>>(reader.cursor());
}

}  // namespace daruma
