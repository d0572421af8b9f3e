// SPDX-License-Identifier: Apache-2.0
#include "memtable/radix_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <new>
#include <utility>

#include "base/assert.h"
#include "base/coding.h"

namespace daruma {
namespace {

// Three shapes of nodes. Packed: child bytes in order of arrival, eight to a word, compared a word at a time. Indexed:
// a table from byte to child. Direct: a child per byte. More sizes than in the paper: the step that matters most is
// that a node of 17 to 32 children, as random keys make them, does not need the table. 5 and 10 are for decimal digits.
constexpr std::size_t kCapacity[] = {5, 10, 16, 32, 64, 128, 256};
constexpr int kLastPacked = 3;
constexpr int kDirect = 6;

constexpr bool is_packed(int kind) { return kind <= kLastPacked; }
constexpr std::size_t head_bytes(int kind) {  // what stands before the children
  return is_packed(kind) ? (kCapacity[kind] + 7) / 8 * 8 : kind == kDirect ? 0 : 256;
}

constexpr std::uint64_t kLow7 = 0x7f7f7f7f7f7f7f7fULL;
constexpr std::uint64_t kEachByte = 0x0101010101010101ULL;
/// The high bit of exactly those bytes that are zero.
constexpr std::uint64_t zero_bytes(std::uint64_t x) { return ~(((x & kLow7) + kLow7) | x | kLow7); }

int byte_at(std::string_view key, std::size_t i) { return static_cast<std::uint8_t>(key[i]); }

}  // namespace

/// In memory: this struct, the words or the table, the children.
struct RadixIndex::Node {
  std::uint8_t kind;
  std::atomic<std::uint16_t> count{0};          ///< children
  std::uint32_t prefix_bytes;                   ///< that all keys here have in common, behind what led to this node
  const char* prefix;                           ///< part of one of those keys
  std::atomic<MemtableKey*> terminal{nullptr};  ///< the key that ends here

  using Slot = std::atomic<Ref>;
  using Word = std::atomic<std::uint64_t>;
  using Index = std::atomic<std::uint8_t>;  ///< 0: none, else slot + 1

  Node(int k, const char* p, std::size_t n)
      : kind(static_cast<std::uint8_t>(k)), prefix_bytes(static_cast<std::uint32_t>(n)), prefix(p) {}

  [[nodiscard]] std::size_t capacity() const { return kCapacity[kind]; }
  [[nodiscard]] char* body() const { return reinterpret_cast<char*>(const_cast<Node*>(this)) + sizeof(Node); }
  [[nodiscard]] Word* words() const { return std::launder(reinterpret_cast<Word*>(body())); }
  [[nodiscard]] Index* index() const { return std::launder(reinterpret_cast<Index*>(body())); }
  [[nodiscard]] Slot* children() const { return std::launder(reinterpret_cast<Slot*>(body() + head_bytes(kind))); }
  [[nodiscard]] bool full() const { return count.load(std::memory_order_relaxed) == capacity(); }

  /// The slot of the child at `byte`; null or empty when there is none.
  [[nodiscard]] Slot* find(int byte) const {
    if (is_packed(kind)) {
      const std::size_t n = count.load(std::memory_order_acquire);
      const std::uint64_t wanted = kEachByte * static_cast<std::uint64_t>(byte);
      for (std::size_t i = 0; i < n; i += 8) {
        std::uint64_t hits = zero_bytes(words()[i / 8].load(std::memory_order_relaxed) ^ wanted);
        if (n - i < 8) hits &= (std::uint64_t{1} << (8 * (n - i))) - 1;
        if (hits) return &children()[i + static_cast<std::size_t>(std::countr_zero(hits)) / 8];
      }
      return nullptr;
    }
    if (kind == kDirect) return &children()[byte];
    const std::uint8_t at = index()[byte].load(std::memory_order_acquire);
    return at ? &children()[at - 1] : nullptr;
  }
  [[nodiscard]] Ref child(int byte) const {
    const Slot* slot = find(byte);
    return slot ? slot->load(std::memory_order_acquire) : 0;
  }
  /// A walk is about to enter it: its children lie anywhere, and their cache misses overlap.
  void prefetch_children() const {
    constexpr std::size_t kMost = 16;
    const std::size_t n = is_packed(kind) ? std::min<std::size_t>(count.load(std::memory_order_acquire), kMost) : 0;
    for (std::size_t i = 0; i < n; ++i) {
      const Ref ref = children()[i].load(std::memory_order_relaxed);
      __builtin_prefetch(reinterpret_cast<const char*>(ref & ~Ref{1}));
      prefetch(ref);
    }
  }
  [[nodiscard]] int packed_byte(std::size_t i) const {
    return static_cast<std::uint8_t>(words()[i / 8].load(std::memory_order_relaxed) >> (8 * (i % 8)));
  }

  /// Branches in the order of their keys: the terminal, then the children.
  struct Branch {
    int byte = 0;
    Ref ref = 0;  ///< 0: none
  };
  static constexpr int kBeforeAll = -2, kTerminal = -1, kBehindAll = 256;
  [[nodiscard]] Branch above(int byte) const {
    if (byte < kTerminal) {
      if (MemtableKey* key = terminal.load(std::memory_order_acquire)) return {kTerminal, ref_to(key)};
      byte = kTerminal;
    }
    if (is_packed(kind)) return packed_branch([byte](int b, int best) { return b > byte && b < best; }, kBehindAll);
    for (int b = byte + 1; b < kBehindAll; ++b) {
      if (const Ref ref = child(b)) return {b, ref};
    }
    return {};
  }
  [[nodiscard]] Branch below(int byte) const {
    Branch found;
    if (is_packed(kind)) {
      found = packed_branch([byte](int b, int best) { return b < byte && b > best; }, kTerminal);
    } else {
      for (int b = byte - 1; b >= 0 && found.ref == 0; --b) found = {b, child(b)};
    }
    if (found.ref != 0 || byte <= kTerminal) return found;
    MemtableKey* key = terminal.load(std::memory_order_acquire);
    return {kTerminal, key ? ref_to(key) : 0};
  }
  template <typename Better>
  [[nodiscard]] Branch packed_branch(const Better& better, int best) const {
    const std::size_t n = count.load(std::memory_order_acquire);
    std::size_t at = n;
    for (std::size_t i = 0; i < n; ++i) {
      if (const int b = packed_byte(i); better(b, best)) {
        best = b;
        at = i;
      }
    }
    return at == n ? Branch{} : Branch{best, children()[at].load(std::memory_order_acquire)};
  }

  /// Its header is fetched by whoever reads it; this is for what stands behind.
  static void prefetch(Ref ref) {
    const auto at = [ref](std::size_t offset) { return reinterpret_cast<const char*>((ref & ~Ref{1}) + offset); };
    __builtin_prefetch(at(64));  // an address, not a pointer: nothing may stand there
    if (!is_key(ref)) __builtin_prefetch(at(128));
  }

  /// Writer only; there is room, and no child at `byte` yet.
  void add(int byte, Ref ref) {
    const std::uint16_t n = count.load(std::memory_order_relaxed);
    DARUMA_ASSERT(n < capacity());
    if (is_packed(kind)) {
      children()[n].store(ref, std::memory_order_relaxed);
      Word& word = words()[n / 8];
      word.store(word.load(std::memory_order_relaxed) | static_cast<std::uint64_t>(byte) << (8 * (n % 8)),
                 std::memory_order_relaxed);
      count.store(static_cast<std::uint16_t>(n + 1), std::memory_order_release);  // uncovers both
      return;
    }
    if (kind == kDirect) {
      children()[byte].store(ref, std::memory_order_release);
    } else {
      children()[n].store(ref, std::memory_order_relaxed);
      index()[byte].store(static_cast<std::uint8_t>(n + 1), std::memory_order_release);
    }
    count.store(static_cast<std::uint16_t>(n + 1), std::memory_order_relaxed);
  }
};

RadixIndex::Node* RadixIndex::make_node(int kind, const char* prefix, std::size_t prefix_bytes) {
  char* at = arena_.allocate(sizeof(Node) + head_bytes(kind) + kCapacity[kind] * sizeof(Node::Slot));
  auto* node = ::new (at) Node(kind, prefix, prefix_bytes);
  at += sizeof(Node);
  if (is_packed(kind)) {
    std::uninitialized_value_construct_n(reinterpret_cast<Node::Word*>(at), head_bytes(kind) / sizeof(Node::Word));
  } else {
    std::uninitialized_value_construct_n(reinterpret_cast<Node::Index*>(at), head_bytes(kind));
  }
  std::uninitialized_value_construct_n(reinterpret_cast<Node::Slot*>(at + head_bytes(kind)), kCapacity[kind]);
  return node;
}

RadixIndex::Node* RadixIndex::copy_node(const Node& node, int kind, const char* prefix, std::size_t prefix_bytes) {
  Node* copy = make_node(kind, prefix, prefix_bytes);
  copy->terminal.store(node.terminal.load(std::memory_order_relaxed), std::memory_order_relaxed);
  if (is_packed(node.kind)) {
    const std::size_t n = node.count.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < n; ++i)
      copy->add(node.packed_byte(i), node.children()[i].load(std::memory_order_relaxed));
  } else {
    for (int b = 0; b < 256; ++b) {
      if (const Ref ref = node.child(b)) copy->add(b, ref);
    }
  }
  return copy;
}

/// Puts `key` into a node that no reader sees yet, and whose keys have `depth` bytes in common.
void RadixIndex::attach(Node& node, MemtableKey* key, std::size_t depth) {
  if (key->key().size() == depth) {
    node.terminal.store(key, std::memory_order_relaxed);
  } else {
    node.add(byte_at(key->key(), depth), ref_to(key));
  }
}

MemtableKey* RadixIndex::add(std::string_view key, Sequence sequence, EntryKind kind, std::string_view value) {
  const auto make = [&] { return MemtableKey::make(arena_, key, sequence, kind, value); };
  std::atomic<Ref>* slot = &root_;
  for (std::size_t depth = 0;;) {
    const Ref ref = slot->load(std::memory_order_relaxed);
    if (ref == 0) {  // the first key of all
      slot->store(ref_to(make()), std::memory_order_release);
      return nullptr;
    }

    if (is_key(ref)) {
      MemtableKey* there = as_key(ref);
      const std::string_view other = there->key();
      const std::size_t common = common_prefix(key.substr(depth), other.substr(depth));
      if (depth + common == key.size() && key.size() == other.size()) return there;
      MemtableKey* made = make();
      Node* node = make_node(0, made->key().data() + depth, common);
      attach(*node, there, depth + common);
      attach(*node, made, depth + common);
      slot->store(ref_to(node), std::memory_order_release);
      return nullptr;
    }

    Node& node = *as_node(ref);
    const std::size_t common = common_prefix(key.substr(depth), {node.prefix, node.prefix_bytes});
    if (common < node.prefix_bytes) {  // leaves the way inside the prefix: a node there, the old one below it
      MemtableKey* made = make();
      Node* above = make_node(0, node.prefix, common);
      Node* below = copy_node(node, node.kind, node.prefix + common + 1, node.prefix_bytes - common - 1);
      const int byte = static_cast<std::uint8_t>(node.prefix[common]);
      above->add(byte, ref_to(below));
      depth += common;
      attach(*above, made, depth);
      slot->store(ref_to(above), std::memory_order_release);
      return nullptr;
    }

    depth += node.prefix_bytes;
    if (key.size() == depth) {
      if (MemtableKey* there = node.terminal.load(std::memory_order_relaxed)) return there;
      node.terminal.store(make(), std::memory_order_release);
      return nullptr;
    }

    const int byte = byte_at(key, depth);
    if (std::atomic<Ref>* next = node.find(byte); next && next->load(std::memory_order_relaxed) != 0) {
      Node::prefetch(next->load(std::memory_order_relaxed));
      slot = next;
      ++depth;
      continue;
    }
    MemtableKey* made = make();
    Node* larger = node.full() ? copy_node(node, node.kind + 1, node.prefix, node.prefix_bytes) : nullptr;
    if (!larger) {
      node.add(byte, ref_to(made));
    } else {
      larger->add(byte, ref_to(made));
      slot->store(ref_to(larger), std::memory_order_release);
    }
    return nullptr;
  }
}

const MemtableKey* RadixIndex::find(std::string_view key) const {
  Ref ref = root_.load(std::memory_order_acquire);
  const MemtableKey* there = nullptr;
  // Prefixes are skipped, not compared: that would often be another cache miss. The key at the end is compared whole.
  for (std::size_t depth = 0; ref != 0; ++depth) {
    if (is_key(ref)) {
      there = as_key(ref);
      break;
    }
    const Node& node = *as_node(ref);
    depth += node.prefix_bytes;
    if (depth > key.size()) return nullptr;
    if (depth == key.size()) {
      there = node.terminal.load(std::memory_order_acquire);
      break;
    }
    ref = node.child(byte_at(key, depth));
    Node::prefetch(ref);
  }
  return there && there->key() == key ? there : nullptr;
}

void RadixIndex::prefetch(std::span<const std::string_view> keys) const {
  struct Way {
    Ref ref = 0;
    std::size_t depth = 0;
  };
  std::array<Way, kPrefetchKeys> ways;
  const std::size_t n = std::min(keys.size(), ways.size());
  const Ref root = root_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < n; ++i) ways[i].ref = root;
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < n; ++i) {
      Way& way = ways[i];
      if (way.ref == 0) continue;
      more = true;
      if (is_key(way.ref)) {
        way.ref = 0;
        continue;
      }
      const Node& node = *as_node(way.ref);
      way.depth += node.prefix_bytes;
      way.ref = way.depth < keys[i].size() ? node.child(byte_at(keys[i], way.depth++)) : 0;
      if (way.ref == 0) continue;
      __builtin_prefetch(reinterpret_cast<const char*>(way.ref & ~Ref{1}));
      Node::prefetch(way.ref);
    }
  }
}

void RadixIndex::Cursor::begin(bool forward) {
  forward_ = forward;
  depth_ = kept_from_ = 0;
  key_ = nullptr;
}

void RadixIndex::Cursor::push(const Node& node, int byte) {
  steps_[depth_ % kSteps] = {&node, byte};
  ++depth_;
  kept_from_ = std::max(kept_from_, depth_ - std::min(depth_, kSteps));
}

/// To the first key below `ref` in this direction.
void RadixIndex::Cursor::descend(Ref ref) {
  while (!is_key(ref)) {
    const Node& node = *as_node(ref);
    const Node::Branch branch = forward_ ? node.above(Node::kBeforeAll) : node.below(Node::kBehindAll);
    DARUMA_ASSERT(branch.ref);  // a node has a child at least, beside a terminal or another child
    push(node, branch.byte);
    ref = branch.ref;
  }
  key_ = as_key(ref);
}

/// To the next key beyond all that begins as the way does; `from` is what the way led to.
void RadixIndex::Cursor::turn(std::string_view from) {
  for (;;) {
    for (; depth_ > kept_from_; --depth_) {
      Step& step = steps_[(depth_ - 1) % kSteps];
      const Node::Branch branch = forward_ ? step.node->above(step.byte) : step.node->below(step.byte);
      if (branch.ref == 0) continue;
      step.byte = branch.byte;
      if (!is_key(branch.ref)) as_node(branch.ref)->prefetch_children();
      return descend(branch.ref);
    }
    if (kept_from_ == 0) break;
    find_turns(from);
  }
  key_ = nullptr;
}

/// Walks the way to `from` once more, and keeps the last turns that it offers.
void RadixIndex::Cursor::find_turns(std::string_view from) {
  depth_ = kept_from_ = 0;
  Ref ref = index_->root_.load(std::memory_order_acquire);
  for (std::size_t depth = 0; ref != 0 && !is_key(ref); ++depth) {
    const Node& node = *as_node(ref);
    if (from.size() - depth < node.prefix_bytes ||
        from.compare(depth, node.prefix_bytes, node.prefix, node.prefix_bytes) != 0)
      return;
    depth += node.prefix_bytes;
    const int byte = from.size() == depth ? Node::kTerminal : byte_at(from, depth);
    if ((forward_ ? node.above(byte) : node.below(byte)).ref != 0) push(node, byte);
    if (byte == Node::kTerminal) return;
    ref = node.child(byte);
  }
}

void RadixIndex::Cursor::seek_first() {
  begin(true);
  if (const Ref root = index_->root_.load(std::memory_order_acquire)) descend(root);
}

void RadixIndex::Cursor::seek_last() {
  begin(false);
  if (const Ref root = index_->root_.load(std::memory_order_acquire)) descend(root);
}

void RadixIndex::Cursor::seek(std::string_view key) {
  begin(true);
  Ref ref = index_->root_.load(std::memory_order_acquire);
  if (ref == 0) return;
  for (std::size_t depth = 0; !is_key(ref); ++depth) {
    const Node& node = *as_node(ref);
    const std::size_t common = common_prefix(key.substr(depth), {node.prefix, node.prefix_bytes});
    depth += common;
    if (key.size() == depth) return descend(ref);
    const int byte = byte_at(key, depth);
    if (common < node.prefix_bytes)
      return byte < static_cast<std::uint8_t>(node.prefix[common]) ? descend(ref) : turn(key);
    push(node, byte);
    ref = node.child(byte);
    if (ref == 0) {
      turn(key);
      break;
    }
  }
  if (ref != 0) key_ = as_key(ref);
  // One at most, unless keys have come between since.
  while (key_ && key_->key() < key) next();
}

void RadixIndex::Cursor::next() {
  if (!std::exchange(forward_, true)) find_turns(key_->key());
  turn(key_->key());
}

void RadixIndex::Cursor::prev() {
  if (std::exchange(forward_, false)) find_turns(key_->key());
  turn(key_->key());
}

}  // namespace daruma
