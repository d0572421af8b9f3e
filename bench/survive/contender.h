// SPDX-License-Identifier: Apache-2.0
//
// What bench/survive.cc knows of each store: the ways to open it, all of whose writes survive loss of power once they
// are acknowledged, and the files that may be hurt.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stores/store.h"

namespace survive {

using stores::Answer;
using stores::Session;
using stores::Store;

/// Files of one kind, or one part of a file.
struct FileClass {
  std::string name;
  std::string group;  ///< what the comparison calls it: log, table, root, other
  /// Out of all files, as paths below the store, in order of their names.
  std::function<std::vector<std::string>(const std::vector<std::string>&)> pick;
  std::uint64_t begin = 0, end = UINT64_MAX;  ///< bytes of the file that belong to the class
};

struct Mode {
  std::string name;                                                          ///< default, careful, repaired, …
  std::string settings;                                                      ///< in words, for the output
  std::function<std::unique_ptr<Store>(const std::string& directory)> open;  ///< nothing: refused
  /// Runs after the damage and before the open; false: it refused, and the open is tried all the same.
  std::function<bool(const std::string& directory)> before_open = nullptr;
  bool careful_base = false;  ///< the store is written with these settings too, not with those of the first mode
  bool rested = false;        ///< only stores that had stood still for a while when they were killed
};

struct Contender {
  std::string name;
  std::string version;
  std::vector<FileClass> classes;
  std::vector<Mode> modes;
  /// Where the bytes in use of a file end that is longer than they are; nothing: behind its last byte that is not zero.
  std::function<std::optional<std::uint64_t>(const std::string& path)> live_end = nullptr;
};

/// `settings`: more options for this store, NAME=VALUE with commas between.
Contender daruma(const std::string& settings);
Contender leveldb();
Contender rocksdb();
Contender lmdb();
Contender sqlite();
Contender wiredtiger();

enum class Which : std::uint8_t { kAll, kNewest, kOlder };
/// The paths that match the whole of `pattern`, a regular expression; the newest has the last name.
FileClass files(std::string name, std::string group, const std::string& pattern, Which which = Which::kAll);
FileClass part(FileClass of, std::uint64_t begin, std::uint64_t end);

}  // namespace survive
