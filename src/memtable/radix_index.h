// SPDX-License-Identifier: Apache-2.0
//
// Adaptive radix tree over the keys of a memtable (Leis, Kemper, Neumann, "The adaptive radix tree", ICDE 2013), with
// lock-free readers beside one writer as in ROWEX (Leis et al., "The ART of practical synchronization", DaMoN 2016).
// Nothing is ever removed, which makes it much simpler than either.
//
// What must stay true:
//   - Readers go by acquire loads only. Each change becomes visible by one release store: of a child slot, of a
//     terminal, or of the count that uncovers a slot. Before and after it the tree is right.
//   - A node that is too small, or whose prefix must be cut, is copied; the copy takes its place. The old node is never
//     changed again, and readers still in it find all that was there when they came.
//   - No recursion: the depth is bound by the length of keys, and those may be 64 KiB.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "memtable/arena.h"
#include "memtable/memtable_key.h"

namespace daruma {

class RadixIndex {
 public:
  explicit RadixIndex(Arena& arena) : arena_(arena) {}
  RadixIndex(const RadixIndex&) = delete;
  RadixIndex& operator=(const RadixIndex&) = delete;

  /// Writer only. Adds the key with this first version and returns null; when the key is there already, returns it,
  /// untouched.
  MemtableKey* add(std::string_view key, Sequence sequence, EntryKind kind, std::string_view value);

  [[nodiscard]] const MemtableKey* find(std::string_view key) const;
  /// Brings what `add` or `find` of these keys will touch into the processor's cache, for all of them at once: a tree
  /// of millions costs one cache miss a level, and misses of different keys overlap. Changes nothing.
  void prefetch(std::span<const std::string_view> keys) const;
  static constexpr std::size_t kPrefetchKeys = 16;  ///< at once; more are cut short

  class Cursor;

 private:
  struct Node;
  /// A node, or a key (lowest bit set), or nothing (0).
  using Ref = std::uintptr_t;

  static bool is_key(Ref ref) { return (ref & 1) != 0; }
  static MemtableKey* as_key(Ref ref) { return reinterpret_cast<MemtableKey*>(ref & ~Ref{1}); }
  static Node* as_node(Ref ref) { return reinterpret_cast<Node*>(ref); }
  static Ref ref_to(MemtableKey* key) { return reinterpret_cast<Ref>(key) | 1; }
  static Ref ref_to(Node* node) { return reinterpret_cast<Ref>(node); }

  Node* make_node(int kind, const char* prefix, std::size_t prefix_bytes);
  Node* copy_node(const Node& node, int kind, const char* prefix, std::size_t prefix_bytes);
  static void attach(Node& node, MemtableKey* key, std::size_t depth);

  Arena& arena_;
  std::atomic<Ref> root_{0};
};

/// A place among the keys, in their order; starts nowhere. It meets every key that was there when it was positioned,
/// and perhaps newer ones. It allocates nothing: of a long way from the root it keeps the lower end, and walks it once
/// more where that does not do, or where it turns round.
class RadixIndex::Cursor {
 public:
  explicit Cursor(const RadixIndex& index) : index_(&index) {}

  void seek_first();
  void seek_last();
  /// To the first key >= `key`.
  void seek(std::string_view key);
  // On a key only.
  void next();
  void prev();

  /// Null: nowhere, or past either end.
  [[nodiscard]] const MemtableKey* key() const { return key_; }

 private:
  struct Step {
    const Node* node = nullptr;
    int byte = 0;  ///< of the branch that was taken
  };
  static constexpr std::size_t kSteps = 16;

  void begin(bool forward);
  void push(const Node& node, int byte);
  void descend(Ref ref);
  void turn(std::string_view from);
  void find_turns(std::string_view from);

  const RadixIndex* index_;
  const MemtableKey* key_ = nullptr;
  bool forward_ = true;
  std::size_t depth_ = 0;           ///< of the way to `key_`, without nodes that offer no turn in this direction
  std::size_t kept_from_ = 0;       ///< the steps below that are overwritten
  std::array<Step, kSteps> steps_;  ///< step i at i mod kSteps
};

}  // namespace daruma
