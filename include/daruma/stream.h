// SPDX-License-Identifier: Apache-2.0
//
// The change stream: every event of a store in order, from its log. What a follower, a cache or an index stands on.
// docs/stream.md has the contract and the attacks on it.
//
//   Result<Store::Followed> from = store.follow();          // a view, and all that comes after it
//   … copy what cursors over from->view give …
//   for (;;) {
//     Result<std::optional<StreamEvent>> next = from->stream.next(std::chrono::seconds(1));
//     if (next.ok() && *next) apply(**next);                // then remember from->stream.position()
//   }
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daruma/store.h"

namespace daruma {

/// One operation of an event.
struct StreamOp {
  enum class Kind : std::uint8_t {
    kPut = 1,
    kErase = 2,
    kEraseRange = 3,    ///< every key in [key, value); an empty `value` means to the last key
    kNameKeyspace = 4,  ///< the keyspace has the name in `key` from here on: it was created, or renamed
    kDropKeyspace = 5,  ///< with all that is in it; its id is never used again
  };
  Kind kind = Kind::kPut;
  Keyspace keyspace;
  std::string_view key;
  std::string_view value;
};

/// One event, or what stands for some. The views are good until the next call of `EventStream::next`.
struct StreamEvent {
  enum class Kind : std::uint8_t {
    kWrite,   ///< one batch: apply all of `ops`, in order, or none. There may be none: a number without a change
    kLoaded,  ///< a bulk load of `keyspace` is in force now, or has failed: its records are in no log, so take a new
              ///< view of that keyspace
    kLost,    ///< these events cannot be had. The store may have their effects, or may not: take a new view
  };
  Kind kind = Kind::kWrite;
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;  ///< `first_sequence`, but for kLost
  std::int64_t wall_ns = 0;    ///< since 1970, when the event went to the log; of one that a start wrote anew, that
                               ///< start. 0 for kLost
  std::vector<StreamOp> ops;   ///< of kWrite
  Keyspace keyspace;           ///< of kLoaded
  std::string cause;           ///< of kLost: the case, as in `DamageInfo`, or "log_damaged"
};

/// Reads the log's files behind what is durable in them: writers do not know of it, and it holds nothing back. So it
/// may find its next event gone, and says so. Sequences come without a gap, each once, durable ones only.
/// Keeps the store alive. Thread: one at a time.
class DARUMA_API EventStream {
 public:
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;
  ~EventStream();

  /// The next one, as soon as it is durable; nothing when there is none within `timeout`, and at once when none will
  /// come (`live`). After an error the stream stands where it stood, and the next call tries again. Errors: kNotFound
  /// (truncated: the log no longer holds it; Where::sequence is the oldest that it does), kIoError (the device refuses
  /// it), kUnavailable, kOutOfMemory.
  Result<std::optional<StreamEvent>> next(std::chrono::nanoseconds timeout = {});
  /// Where to go on, in this or a later life of the store (`Store::stream`): the sequence that `next` is about.
  [[nodiscard]] Sequence position() const;
  /// False: the store takes no writes, so nothing newer comes.
  [[nodiscard]] bool live() const;

 private:
  friend class Engine;
  class State;
  explicit EventStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct Store::Followed {
  View view;           ///< of durable events only
  EventStream stream;  ///< from the event behind it
};

}  // namespace daruma
