// SPDX-License-Identifier: Apache-2.0
#include "rehearsal/compare.h"

#include "base/status_macros.h"

namespace daruma::rehearsal {
namespace {

constexpr std::uint64_t kProgressEach = 65'536;

class Walk {
 public:
  Walk(const Store& asked, Keyspace there, std::string name, Compared& out)
      : asked_(asked), there_(there), name_(std::move(name)), out_(out) {}

  Status run(Cursor& right, const std::function<void(std::uint64_t)>& progress) {
    const std::uint64_t before = out_.in_doubt + out_.silent();
    Result<Cursor> found = asked_.cursor(there_);
    if (found.ok()) found->seek_first();
    for (right.seek_first(); right.valid(); right.next()) {
      if (++out_.keys % kProgressEach == 0 && progress) progress(out_.keys);
      if (found.ok()) pass_extra(*found, right.key());
      // At damage a scan stops, or says all along that it may pass over keys: gets answer what it does not.
      const bool told = !found.ok() || !found->status().ok();
      if (found.ok() && found->valid() && found->key() == right.key()) {
        if (found->value() != right.value()) ask(right, told);
        found->next();
        continue;
      }
      ask(right, told);
      // What lies behind is asked one by one, and now and then the scan is tried to go on with.
      if (found.ok() && !found->valid() && !found->status().ok() && ++stopped_ % kTriesEach == 1) {
        const std::string behind = std::string(right.key()) + '\0';
        found->seek(behind);
      }
    }
    if (found.ok() && found->status().ok()) pass_extra(*found, std::nullopt);
    out_.keyspaces_touched += out_.in_doubt + out_.silent() != before;
    return right.status();
  }

 private:
  static constexpr std::uint64_t kTriesEach = 16;

  void pass_extra(Cursor& found, std::optional<std::string_view> below) {
    for (; found.valid() && (!below || found.key() < *below); found.next()) {
      ++out_.extra;
      tell("has a key that should not be there", found.key());
    }
  }

  void ask(const Cursor& right, bool told) {
    const Result<PinnedValue> got = asked_.get_pinned(there_, right.key());
    if (got.ok() && got->view() == right.value()) {
      if (told) return;
      ++out_.wrong;
      tell("is right for a get, and not for a scan, which says nothing", right.key());
    } else if (got.ok()) {
      ++out_.wrong;
      tell("has another value", right.key());
    } else if (got.status().is(Code::kNotFound)) {
      ++out_.missing;
      tell("is said not to be there", right.key());
    } else {
      ++out_.in_doubt;
      if (out_.first.empty()) tell(got.status().to_string(), right.key());
    }
  }

  void tell(const std::string& what, std::string_view key) {
    if (told_) return;
    told_ = true;
    out_.first = "keyspace " + name_ + ", key " + std::string(key.substr(0, 100)) + " " + what;
  }

  const Store& asked_;
  const Keyspace there_;
  const std::string name_;
  Compared& out_;
  std::uint64_t stopped_ = 0;
  bool told_ = false;
};

}  // namespace

Result<Compared> compare(const Store& right, const Store& asked, const CompareOptions& options) {
  Compared out;
  std::set<std::uint32_t> known;  // by id: one whose name is lost is served under another
  const std::vector<KeyspaceInfo> keyspaces = right.keyspaces();
  for (const KeyspaceInfo& info : keyspaces) {
    known.insert(info.keyspace.id());
    if (options.ignored.contains(info.name)) continue;
    ++out.keyspaces;
    DARUMA_TRY_ASSIGN(Cursor cursor, right.cursor(info.keyspace));
    const Result<Keyspace> there = asked.keyspace(info.name);
    if (there.ok()) {
      DARUMA_TRY(Walk(asked, *there, info.name, out).run(cursor, options.progress));
      continue;
    }
    std::uint64_t keys = 0;
    for (cursor.seek_first(); cursor.valid(); cursor.next()) ++keys;
    DARUMA_TRY(cursor.status());
    const bool silent = there.status().is(Code::kNotFound);
    out.keys += keys;
    (silent ? out.missing : out.in_doubt) += keys;
    ++out.keyspaces_touched;
    if (out.first.empty()) out.first = "keyspace " + info.name + ": " + there.status().to_string();
  }
  const std::vector<KeyspaceInfo> all = asked.keyspaces();
  for (const KeyspaceInfo& info : all) {
    if (known.contains(info.keyspace.id()) || options.ignored.contains(info.name)) continue;
    ++out.extra;
    out.first = "keyspace " + info.name + " should not be there";
  }
  return out;
}

}  // namespace daruma::rehearsal
