// SPDX-License-Identifier: Apache-2.0
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "daruma/store.h"
#include "io/posix_storage.h"

namespace daruma {
namespace {

Status not_there_yet(Storage& storage, const std::string& directory, const char* hint) {
  const Result<std::vector<DirectoryEntry>> entries = storage.list(directory);
  if (entries.status().is(Code::kNotFound)) return {};
  DARUMA_TRY(entries.status());
  return {Code::kExists, "something is there already", {.file = directory}, hint};
}

/// A range that is lost would be missing in the copy without a word.
Status copy_keyspace(const Store& from, Keyspace keyspace, Store& to, Keyspace copy, Restored& done) {
  DARUMA_TRY_ASSIGN(Cursor cursor, from.cursor(keyspace));
  cursor.seek_first();
  bool begun = false;
  const RecordSource source = [&](std::string_view& key, std::string_view& value) -> Result<bool> {
    if (begun) cursor.next();
    begun = true;
    DARUMA_TRY(cursor.status());
    if (!cursor.valid()) return false;
    key = cursor.key();
    value = cursor.value();
    ++done.keys;
    done.bytes += key.size() + value.size();
    return true;
  };
  return to.bulk_load(copy, source).status();
}

Status copy_store(const Store& from, const std::string& directory, Options options, Restored& done) {
  options.read_only = false;
  options.create_if_missing = true;
  DARUMA_TRY_ASSIGN(Store::Opened opened, Store::open(directory, options));
  for (const KeyspaceInfo& keyspace : from.keyspaces()) {
    Result<Keyspace> copy = opened.store.create_keyspace(keyspace.name);
    if (copy.status().is(Code::kExists)) copy = opened.store.keyspace(keyspace.name);
    DARUMA_TRY(copy.status());
    DARUMA_TRY(copy_keyspace(from, keyspace.keyspace, opened.store, *copy, done));
    ++done.keyspaces;
  }
  return opened.store.sync();
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Result<Restored> restore_now(const std::string& from, const RecoveryTarget& target, std::string to,
                             const Options& options, const StateCheck& check, IfInvalid if_invalid) {
  while (to.size() > 1 && to.back() == '/') to.pop_back();
  const std::shared_ptr<Storage> storage = make_posix_storage({.use_io_uring = options.use_io_uring});
  const std::string building = to + ".restoring";
  DARUMA_TRY(not_there_yet(*storage, to, "give the directory of a store that is not there yet"));
  DARUMA_TRY(not_there_yet(*storage, building, "a restore was killed here: remove what it left"));
  DARUMA_TRY_ASSIGN(Store::Opened past, Store::open_at(from, target, options, check, if_invalid));
  Restored done;
  done.sequence = past.report.last_sequence;
  DARUMA_TRY(copy_store(past.store, building, options, done));
  DARUMA_TRY(storage->rename(building, to));
  DARUMA_TRY(storage->sync_directory(parent_of(to)));
  return done;
}

}  // namespace

Result<Restored> restore(const std::string& from, const RecoveryTarget& target, const std::string& to,
                         const Options& options, const StateCheck& check, IfInvalid if_invalid) {
  return or_out_of_memory([&] { return restore_now(from, target, to, options, check, if_invalid); });
}

}  // namespace daruma
