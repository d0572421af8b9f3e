// SPDX-License-Identifier: Apache-2.0
// Answers held against the model.
#include "simulation/simulation.h"

namespace daruma::simulation {
namespace {

std::string named(std::uint32_t keyspace, std::string_view key) {
  return "keyspace " + std::to_string(keyspace) + " key " + std::string(key);
}

}  // namespace

void Simulation::check_excused(const Status& status, const std::string& where) const {
  const bool tells = status.is(Code::kDataLoss) || status.is(Code::kCorruption) || status.is(Code::kIoError) ||
                     (status.is(Code::kUnavailable) && fault_is(FaultKind::kNoDescriptors));
  if (!tells || !in_doubt()) {
    throw Violation{wounds_.any() ? "one-fault-free" : "never-wrong",
                    where + " cannot be read for no good reason: " + status.to_string()};
  }
}

void Simulation::check_answer(const Result<std::string>& got, std::uint32_t keyspace, std::string_view key,
                              const Contents& expected) const {
  const std::string where = named(keyspace, key);
  if (!got.ok() && !got.status().is(Code::kNotFound)) return check_excused(got.status(), where);
  if (expected.unknown(keyspace, key) && (!got.ok() || writings_.genuine(keyspace, key, *got))) return;
  const Value* value = expected.find(keyspace, key);
  if (got.ok() ? value && value->is(*got) : !value) return;
  throw Violation{"never-wrong", where + (got.ok() ? " has another value than" : " is not found, in spite of") +
                                     (value ? " #" + std::to_string(value->stamp) : std::string(" none"))};
}

bool Simulation::shows(const Store& store, const Changes& puts) const {
  for (const KeyspaceInfo& info : store.keyspaces()) {
    const bool any = std::any_of(puts.begin(), puts.end(), [&](const Change& put) {
      if (put.keyspace != info.keyspace.id()) return false;
      const Result<std::string> got = store.get(info.keyspace, put.key);
      return got.ok() && put.value.is(*got);
    });
    if (any) return true;
  }
  return false;
}

void Simulation::check_get(const Store& store, std::uint32_t keyspace, std::string_view key, const Contents& expected,
                           const View* view) const {
  check_answer(view ? store.get(handle(keyspace), key, *view) : store.get(handle(keyspace), key), keyspace, key,
               expected);
}

/// All that the store holds, by cursor.
Contents Simulation::read_all(const Store& store) const {
  Contents contents;
  for (const KeyspaceInfo& info : store.keyspaces()) {
    const std::uint32_t id = info.keyspace.id();
    KeyspaceContents& in = contents.keyspaces[id];
    in.name = info.name;
    Result<Cursor> cursor = store.cursor(info.keyspace);
    if (!cursor.ok()) {
      check_excused(cursor.status(), named(id, ""));
      continue;
    }
    for (cursor->seek_first(); cursor->valid(); cursor->next()) {
      const Value* value = writings_.genuine(id, cursor->key(), cursor->value());
      if (!value)
        throw Violation{"never-wrong", named(id, cursor->key()) + " has a value that was never written to it"};
      in.values.emplace_hint(in.values.end(), cursor->key(), *value);
    }
    if (!cursor->status().ok()) check_excused(cursor->status(), named(id, "(scan)"));
  }
  return contents;
}

/// A walk through a store that is hurt shows what gets of the same start gave, and passes over none of it.
void Simulation::check_walk(const Store& store, const KeyspaceInfo& info, const std::set<std::string>& errors,
                            const std::map<std::string, const Value*>& values) const {
  Result<Cursor> cursor = store.cursor(info.keyspace);
  if (!cursor.ok()) return check_excused(cursor.status(), named(info.keyspace.id(), "(cursor)"));
  const auto wrong = [&](const std::string& what) {
    throw Violation{"never-wrong", "scan of keyspace " + std::to_string(info.keyspace.id()) + " that is hurt " + what};
  };
  auto next = values.begin();
  for (cursor->seek_first(); cursor->valid(); cursor->next(), ++next) {
    const std::string key(cursor->key());
    if (errors.contains(key)) wrong("shows " + key + ", of which a get says that it cannot be known");
    if (next == values.end() || next->first > key) wrong("finds " + key + ", and a get does not");
    if (next->first < key) wrong("passes over " + next->first + ", which a get finds");
    if (!next->second->is(cursor->value())) wrong("finds another value in " + key);
  }
  if (!cursor->status().ok()) return check_excused(cursor->status(), named(info.keyspace.id(), "(scan)"));
  if (next != values.end()) wrong("ends before " + next->first + ", which a get finds");
  if (!errors.empty()) wrong("says nothing of " + *errors.begin() + ", which a get cannot answer");
}

/// A walk over a range, either way: every key in order and none left out, up to where an error says that it ends.
void Simulation::check_scan(Random& random, std::uint32_t keyspace, const Contents& expected, const View* view) const {
  const auto& universe = key_universe();
  CursorOptions options;
  if (random.one_in(2)) options.lower = universe[random.below(universe.size())];
  if (random.one_in(2)) options.upper = universe[random.below(universe.size())];
  if (view) options.view = *view;
  Result<Cursor> cursor = store_->cursor(handle(keyspace), options);
  if (!cursor.ok()) return check_excused(cursor.status(), named(keyspace, "(cursor)"));
  const auto& values = expected.keyspaces.at(keyspace).values;
  const auto& unknown = expected.keyspaces.at(keyspace).unknown;
  auto first = values.lower_bound(options.lower);
  auto last = options.upper.empty() ? values.end() : values.lower_bound(options.upper);
  if (!options.upper.empty() && options.upper <= options.lower) last = first;
  const bool forward = random.one_in(2);
  const auto wrong = [&](const std::string& what) {
    throw Violation{"never-wrong",
                    "scan of keyspace " + std::to_string(keyspace) + (forward ? ", " : " backward, ") + what};
  };
  // Passes over what the scan did not see, if it may not have.
  const auto pass = [&](const std::string& found) {
    const std::string& key = (forward ? first++ : --last)->first;
    if (unknown.contains(key)) return;
    if (cursor->status().ok()) wrong("finds " + found + " in place of " + key);
    check_excused(cursor->status(), named(keyspace, "(scan)"));
  };
  forward ? cursor->seek_first() : cursor->seek_last();
  for (; cursor->valid(); forward ? cursor->next() : cursor->prev()) {
    const std::string key(cursor->key());
    while (first != last && (forward ? first->first < key : std::prev(last)->first > key)) pass(key);
    const bool there = first != last && (forward ? first->first : std::prev(last)->first) == key;
    const auto at = !there ? values.end() : forward ? first++ : --last;
    if (unknown.contains(key)) {
      if (!writings_.genuine(keyspace, key, cursor->value())) wrong("finds a value that was never written to " + key);
      continue;
    }
    if (!there) wrong("finds too much: " + key);
    if (!at->second.is(cursor->value())) wrong("finds another value in " + key);
  }
  if (!cursor->status().ok()) return check_excused(cursor->status(), named(keyspace, "(scan)"));
  while (first != last) pass("the end");
}

void Simulation::read(Act::Kind kind, Random& random) {
  if (kind == Act::Kind::kDropView) {
    if (!views_.empty()) views_.erase(views_.begin() + static_cast<std::ptrdiff_t>(random.below(views_.size())));
    return;
  }
  if (kind == Act::Kind::kMakeView) {
    if (views_.size() < 4) views_.push_back({store_->view(), now(), hurt()});
    return;
  }
  const HeldView* held = nullptr;
  if (kind == Act::Kind::kReadView) {
    if (views_.empty()) return;
    held = &views_[random.below(views_.size())];
    if (held->doubted) return;
    ++totals_.view_reads;
  }
  const Contents& expected = held ? held->contents : now();
  if (expected.keyspaces.empty()) return;
  const std::uint32_t id =
      std::next(expected.keyspaces.begin(), static_cast<std::ptrdiff_t>(random.below(expected.keyspaces.size())))
          ->first;
  if (!keyspaces_.contains(id)) return;
  const auto& universe = key_universe();
  const View* view = held ? &held->view : nullptr;
  if (kind == Act::Kind::kScan || (held && random.one_in(2))) return check_scan(random, id, expected, view);
  if (kind == Act::Kind::kMultiGet) {
    std::vector<std::string_view> keys;
    for (std::uint64_t n = 1 + random.below(8); n > 0; --n) keys.emplace_back(universe[random.below(universe.size())]);
    const std::vector<Result<std::string>> got = store_->multi_get(handle(id), keys);
    for (std::size_t i = 0; i < keys.size(); ++i) check_answer(got[i], id, keys[i], expected);
    return;
  }
  check_get(*store_, id, universe[random.below(universe.size())], expected, view);
}

}  // namespace daruma::simulation
