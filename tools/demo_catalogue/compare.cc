// SPDX-License-Identifier: Apache-2.0
#include "demo_catalogue/compare.h"

namespace demo {
namespace {

using daruma::Code;
using daruma::Keyspace;
using daruma::Result;
using daruma::Status;

void note(Comparison& sum, std::uint64_t& counter, unsigned room, std::string_view key, std::string_view what) {
  ++counter;
  if (!sum.first_problem.empty()) return;
  sum.first_problem.append(kRoomNames[room]).append(", key '").append(key).append("': ").append(what);
}

}  // namespace

Comparison compare_each(const daruma::Store& store, const Contents& expected, const Keys& damaged) {
  Comparison sum;
  for (unsigned room = 0; room < kRooms; ++room) {
    const Result<Keyspace> keyspace = store.keyspace(kRoomNames[room]);
    for (const auto& [key, value] : expected[room]) {
      const Result<std::string> got =
          keyspace.ok() ? store.get(*keyspace, key) : Result<std::string>(keyspace.status());
      const bool hurt = damaged.contains({static_cast<Room>(room), key});
      if (!got.ok() && hurt && got.status().is(Code::kDataLoss)) {
        ++sum.withheld;
      } else if (!got.ok()) {
        note(sum, sum.missing, room, key, got.status().to_string());
      } else if (*got != value) {
        note(sum, sum.wrong, room, key, "another value");
      } else if (hurt) {
        note(sum, sum.answered, room, key, "was damaged, and is answered");
      } else {
        ++sum.equal;
      }
    }
  }
  return sum;
}

Comparison compare_whole(const daruma::Store& store, const Contents& expected) {
  Comparison sum;
  for (unsigned room = 0; room < kRooms; ++room) {
    const Result<Keyspace> keyspace = store.keyspace(kRoomNames[room]);
    Result<daruma::Cursor> cursor = keyspace.ok() ? store.cursor(*keyspace) : Result<daruma::Cursor>(keyspace.status());
    if (!cursor.ok()) {
      note(sum, sum.missing, room, "", cursor.status().to_string());
      continue;
    }
    auto wanted = expected[room].begin();
    for (cursor->seek_first(); cursor->valid(); cursor->next()) {
      while (wanted != expected[room].end() && wanted->first < cursor->key()) {
        note(sum, sum.missing, room, wanted->first, "is not there");
        ++wanted;
      }
      if (wanted == expected[room].end() || wanted->first != cursor->key()) {
        note(sum, sum.extra, room, cursor->key(), "is not in the source");
        continue;
      }
      if (wanted->second == cursor->value()) {
        ++sum.equal;
      } else {
        note(sum, sum.wrong, room, cursor->key(), "another value");
      }
      ++wanted;
    }
    const Status ended = cursor->status();
    for (; wanted != expected[room].end(); ++wanted) {
      note(sum, sum.missing, room, wanted->first, ended.ok() ? "is not there" : ended.to_string());
    }
  }
  return sum;
}

}  // namespace demo
