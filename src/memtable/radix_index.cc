// SPDX-License-Identifier: Apache-2.0
#include "memtable/radix_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <new>

#include "base/assert.h"

namespace daruma {
namespace {

// Three shapes of nodes. Packed: child bytes in order of arrival, eight to a word, compared a word at a time. Indexed:
// a table from byte to child. Direct: a child per byte. More sizes than in the paper: the step that matters most is
// that a node of 17 to 32 children, as random keys make them, does not need the table.
constexpr std::size_t kCapacity[] = {4, 8, 16, 32, 64, 128, 256};
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

std::size_t common_bytes(const char* a, const char* b, std::size_t limit) {
  return static_cast<std::size_t>(std::mismatch(a, a + limit, b).first - a);
}
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
  [[nodiscard]] int packed_byte(std::size_t i) const {
    return static_cast<std::uint8_t>(words()[i / 8].load(std::memory_order_relaxed) >> (8 * (i % 8)));
  }

  /// The child at the greatest byte below `byte` (256: the last child), 0 when there is none.
  [[nodiscard]] Ref child_below(int byte) const {
    if (is_packed(kind)) {
      int best = -1;
      std::size_t at = 0;
      const std::size_t n = count.load(std::memory_order_acquire);
      for (std::size_t i = 0; i < n; ++i) {
        if (const int b = packed_byte(i); b < byte && b > best) {
          best = b;
          at = i;
        }
      }
      return best < 0 ? 0 : children()[at].load(std::memory_order_acquire);
    }
    for (int b = byte - 1; b >= 0; --b) {
      if (const Ref ref = child(b)) return ref;
    }
    return 0;
  }
  /// The child at the least byte above `byte` (-1: the first child), 0 when there is none.
  [[nodiscard]] Ref child_above(int byte) const {
    if (is_packed(kind)) {
      int best = 256;
      std::size_t at = 0;
      const std::size_t n = count.load(std::memory_order_acquire);
      for (std::size_t i = 0; i < n; ++i) {
        if (const int b = packed_byte(i); b > byte && b < best) {
          best = b;
          at = i;
        }
      }
      return best > 255 ? 0 : children()[at].load(std::memory_order_acquire);
    }
    for (int b = byte + 1; b < 256; ++b) {
      if (const Ref ref = child(b)) return ref;
    }
    return 0;
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

MemtableKey* RadixIndex::leftmost(Ref ref) {
  while (!is_key(ref)) {
    const Node& node = *as_node(ref);
    if (MemtableKey* key = node.terminal.load(std::memory_order_acquire)) return key;
    ref = node.child_above(-1);
    DARUMA_ASSERT(ref);
  }
  return as_key(ref);
}

MemtableKey* RadixIndex::rightmost(Ref ref) {
  while (!is_key(ref)) {
    ref = as_node(ref)->child_below(256);
    DARUMA_ASSERT(ref);  // a node has a child at least, beside a terminal or another child
  }
  return as_key(ref);
}

/// `prev` may be null: `key` is then the first.
void RadixIndex::link_behind(MemtableKey* key, MemtableKey* prev) {
  MemtableKey* next = (prev ? prev->next_ : first_).load(std::memory_order_relaxed);
  key->next_.store(next, std::memory_order_relaxed);
  key->prev_.store(prev, std::memory_order_relaxed);
  (prev ? prev->next_ : first_).store(key, std::memory_order_release);
  (next ? next->prev_ : last_).store(key, std::memory_order_release);
}
void RadixIndex::link_before(MemtableKey* key, MemtableKey* next) {
  link_behind(key, next->prev_.load(std::memory_order_relaxed));
}

MemtableKey* RadixIndex::add(std::string_view key, Sequence sequence, EntryKind kind, std::string_view value) {
  const auto make = [&] { return MemtableKey::make(arena_, key, sequence, kind, value); };
  std::atomic<Ref>* slot = &root_;
  for (std::size_t depth = 0;;) {
    const Ref ref = slot->load(std::memory_order_relaxed);
    if (ref == 0) {  // the first key of all
      MemtableKey* made = make();
      link_behind(made, nullptr);
      slot->store(ref_to(made), std::memory_order_release);
      return nullptr;
    }

    if (is_key(ref)) {
      MemtableKey* there = as_key(ref);
      const std::string_view other = there->key();
      const std::size_t limit = std::min(key.size(), other.size()) - depth;
      const std::size_t common = common_bytes(key.data() + depth, other.data() + depth, limit);
      if (common == limit && key.size() == other.size()) return there;
      MemtableKey* made = make();
      Node* node = make_node(0, made->key().data() + depth, common);
      attach(*node, there, depth + common);
      attach(*node, made, depth + common);
      if (key < other)
        link_before(made, there);
      else
        link_behind(made, there);
      slot->store(ref_to(node), std::memory_order_release);
      return nullptr;
    }

    Node& node = *as_node(ref);
    const std::size_t limit = std::min<std::size_t>(node.prefix_bytes, key.size() - depth);
    const std::size_t common = limit == 0 ? 0 : common_bytes(key.data() + depth, node.prefix, limit);
    if (common < node.prefix_bytes) {  // leaves the way inside the prefix: a node there, the old one below it
      MemtableKey* made = make();
      Node* above = make_node(0, node.prefix, common);
      Node* below = copy_node(node, node.kind, node.prefix + common + 1, node.prefix_bytes - common - 1);
      const int byte = static_cast<std::uint8_t>(node.prefix[common]);
      above->add(byte, ref_to(below));
      depth += common;
      attach(*above, made, depth);
      if (key.size() == depth || byte_at(key, depth) < byte) {
        link_before(made, leftmost(ref));
      } else {
        link_behind(made, rightmost(ref));
      }
      slot->store(ref_to(above), std::memory_order_release);
      return nullptr;
    }

    depth += node.prefix_bytes;
    if (key.size() == depth) {
      if (MemtableKey* there = node.terminal.load(std::memory_order_relaxed)) return there;
      MemtableKey* made = make();
      link_before(made, leftmost(ref));
      node.terminal.store(made, std::memory_order_release);
      return nullptr;
    }

    const int byte = byte_at(key, depth);
    if (std::atomic<Ref>* next = node.find(byte); next && next->load(std::memory_order_relaxed) != 0) {
      slot = next;
      ++depth;
      continue;
    }
    // All that may fail comes first: a key that is in the list and not in the tree would be added twice.
    MemtableKey* made = make();
    Node* larger = node.full() ? copy_node(node, node.kind + 1, node.prefix, node.prefix_bytes) : nullptr;
    if (const Ref left = node.child_below(byte)) {
      link_behind(made, rightmost(left));
    } else if (MemtableKey* terminal = node.terminal.load(std::memory_order_relaxed)) {
      link_behind(made, terminal);
    } else {
      link_before(made, leftmost(node.child_above(byte)));
    }
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
      if (is_key(way.ref)) {  // where it is, or next to it: a new key is linked between this one and its neighbours
        const MemtableKey& key = *as_key(way.ref);
        __builtin_prefetch(key.next());
        __builtin_prefetch(key.prev());
        way.ref = 0;
        continue;
      }
      const Node& node = *as_node(way.ref);
      way.depth += node.prefix_bytes;
      way.ref = 0;
      if (way.depth >= keys[i].size()) continue;
      const int byte = byte_at(keys[i], way.depth++);
      const Ref next = node.child(byte);
      way.ref = next ? next : node.child_below(byte);
      if (!next) way.depth = keys[i].size();  // the key is not there: its neighbour is what is left to fetch
      if (way.ref == 0) continue;
      const char* at = is_key(way.ref) ? reinterpret_cast<const char*>(as_key(way.ref))
                                       : reinterpret_cast<const char*>(as_node(way.ref));
      __builtin_prefetch(at);
      __builtin_prefetch(at + 64);
      if (!is_key(way.ref)) __builtin_prefetch(at + 128);
    }
  }
}

const MemtableKey* RadixIndex::lower_bound(std::string_view key) const {
  Ref ref = root_.load(std::memory_order_acquire);
  const MemtableKey* near = nullptr;
  for (std::size_t depth = 0; !near;) {
    if (ref == 0) return nullptr;  // no key at all
    if (is_key(ref)) {
      near = as_key(ref);
      break;
    }
    const Node& node = *as_node(ref);
    const std::size_t limit = std::min<std::size_t>(node.prefix_bytes, key.size() - depth);
    const std::size_t common = limit == 0 ? 0 : common_bytes(key.data() + depth, node.prefix, limit);
    depth += common;
    if (common < node.prefix_bytes) {
      const bool before = key.size() == depth || byte_at(key, depth) < static_cast<std::uint8_t>(node.prefix[common]);
      near = before ? leftmost(ref) : rightmost(ref);
      break;
    }
    if (key.size() == depth) {
      near = leftmost(ref);
      break;
    }
    const int byte = byte_at(key, depth);
    if (const Ref next = node.child(byte)) {
      ref = next;
      ++depth;
    } else if (const Ref left = node.child_below(byte)) {
      near = rightmost(left);
    } else if (const MemtableKey* terminal = node.terminal.load(std::memory_order_acquire)) {
      near = terminal;
    } else {
      near = leftmost(node.child_above(byte));
    }
  }
  // Keys may have come between since. From a key below `key` on, the list says what the first one at or above it is.
  while (near && near->key() >= key) near = near->prev();
  near = near ? near->next() : first();
  while (near && near->key() < key) near = near->next();
  return near;
}

}  // namespace daruma
