// SPDX-License-Identifier: Apache-2.0
#include "simulation/contents.h"

#include <cstring>

#include "base/assert.h"
#include "base/coding.h"
#include "base/random.h"

namespace daruma::simulation {

std::string Value::text() const {
  std::string text(bytes, '\0');
  std::memcpy(text.data(), &stamp, sizeof stamp);
  Random filler(stamp);
  for (std::size_t at = sizeof stamp; at < text.size(); at += sizeof stamp) {
    // Every other word is zero, so that values compress a little, as those of users do.
    const std::uint64_t word = at % 16 == 0 ? filler.next() : 0;
    std::memcpy(text.data() + at, &word, std::min(sizeof word, text.size() - at));
  }
  return text;
}

bool Value::is(std::string_view found) const {
  return found.size() == bytes && load<std::uint64_t>(found.data()) == stamp && text() == found;
}

void Contents::apply(const Changes& changes) {
  for (const Change& change : changes) {
    if (change.kind == Change::Kind::kCreate) {
      keyspaces[change.keyspace].name = change.key;
      next_id = std::max(next_id, change.keyspace + 1);
      continue;
    }
    const auto at = keyspaces.find(change.keyspace);
    if (at == keyspaces.end()) continue;
    const auto erase_range = [&](auto& keys) {
      keys.erase(keys.lower_bound(change.key), change.end.empty() ? keys.end() : keys.lower_bound(change.end));
    };
    switch (change.kind) {
      case Change::Kind::kPut: learn(change.keyspace, change.key, &change.value); break;
      case Change::Kind::kErase: learn(change.keyspace, change.key, nullptr); break;
      case Change::Kind::kEraseRange:
        if (!change.end.empty() && change.end <= change.key) break;
        erase_range(at->second.values);
        erase_range(at->second.unknown);
        break;
      case Change::Kind::kRename: at->second.name = change.key; break;
      case Change::Kind::kDrop: keyspaces.erase(at); break;
      case Change::Kind::kCreate: break;
    }
  }
}

const Value* Contents::find(std::uint32_t keyspace, std::string_view key) const {
  const auto in = keyspaces.find(keyspace);
  if (in == keyspaces.end()) return nullptr;
  const auto at = in->second.values.find(key);
  return at == in->second.values.end() ? nullptr : &at->second;
}

bool Contents::unknown(std::uint32_t keyspace, std::string_view key) const {
  const auto in = keyspaces.find(keyspace);
  return in != keyspaces.end() && in->second.unknown.contains(key);
}

void Contents::learn(std::uint32_t keyspace, const std::string& key, const Value* value) {
  KeyspaceContents& in = keyspaces.at(keyspace);
  in.unknown.erase(key);
  if (value) {
    in.values.insert_or_assign(key, *value);
  } else {
    in.values.erase(key);
  }
}

Value Writings::make(std::uint32_t keyspace, std::string_view key, std::uint32_t bytes) {
  DARUMA_ASSERT(bytes >= kValueBytesMin);
  all_.push_back({keyspace, std::string(key), {all_.size(), bytes}});
  return all_.back().value;
}

const Value* Writings::genuine(std::uint32_t keyspace, std::string_view key, std::string_view found) const {
  if (found.size() < kValueBytesMin) return nullptr;
  const auto stamp = load<std::uint64_t>(found.data());
  if (stamp >= all_.size()) return nullptr;
  const Written& written = all_[stamp];
  return written.keyspace == keyspace && written.key == key && written.value.is(found) ? &written.value : nullptr;
}

std::string describe(const Changes& changes) {
  std::string text;
  for (const Change& change : changes) {
    const std::string in = std::to_string(change.keyspace) + ":";
    text += text.empty() ? "" : ", ";
    switch (change.kind) {
      case Change::Kind::kPut:
        text += "put " + in + change.key + " #" + std::to_string(change.value.stamp) + " (" +
                std::to_string(change.value.bytes) + " bytes)";
        break;
      case Change::Kind::kErase: text += "erase " + in + change.key; break;
      case Change::Kind::kEraseRange:
        text += "erase " + in + "[" + change.key + ", " + (change.end.empty() ? "end" : change.end) + ")";
        break;
      case Change::Kind::kCreate: text += "create " + in + change.key; break;
      case Change::Kind::kRename: text += "rename " + in + " to " + change.key; break;
      case Change::Kind::kDrop: text += "drop " + in; break;
    }
  }
  return text;
}

std::string first_difference(const Contents& found, const Contents& expected) {
  const auto text = [](const Value* value) { return value ? "#" + std::to_string(value->stamp) : std::string("none"); };
  for (const auto& [id, want] : expected.keyspaces) {
    const std::string where = "keyspace " + std::to_string(id);
    const auto in = found.keyspaces.find(id);
    if (in == found.keyspaces.end()) return where + " is not there";
    if (in->second.name != want.name) return where + " is called " + in->second.name + " in place of " + want.name;
    for (const auto* one : {&want, &in->second}) {
      for (const auto& [key, value] : one->values) {
        const Value* here = found.find(id, key);
        const Value* there = expected.find(id, key);
        if (here ? !there || *here != *there : there != nullptr)
          return where + " key " + key + " has " + text(here) + " in place of " + text(there);
      }
    }
  }
  return "a keyspace too many";
}

}  // namespace daruma::simulation
