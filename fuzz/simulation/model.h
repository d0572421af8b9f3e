// SPDX-License-Identifier: Apache-2.0
//
// The model: which answers of the store are legal.
//
// The truth is one line of numbered events, since one thread writes. Each is
//   - acknowledged for power, for the process, or not (in flight, or an error came after it was visible);
//   - not there at all, when the store refused it before it was visible.
// A running store answers with all of them. After a death the state is a *prefix* of the line:
//   - it reaches the last event acknowledged for what happened (a kill, a power cut), and does not go beyond the last
//     event that was asked for;
//   - a bulk load that the process died in has come or not, though its number is there;
//   - where it ends is what the report says (`last_sequence`), and every key agrees with that one prefix: batches
//   whole,
//     nothing refused comes back.
// What a start has served is kept from then on: the prefix becomes the beginning of the next line.
//
// Damage widens this only so far. A key answers as the prefix says, or with an error that tells of damage; never with
// anything else. The limits are those of docs/recovery.md: where power failed *and* the log was hurt by more
// than a sector, any number of frames can vanish unseen, and so can a run that is lost with all manifests that name it;
// then the only demand left on a value is that its key once had it.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daruma/options.h"
#include "daruma/status.h"
#include "simulation/contents.h"

namespace daruma::simulation {

class Model {
 public:
  struct Event {
    Sequence sequence = 0;
    Changes changes;
  };

  // --- a running store ---
  [[nodiscard]] const Contents& now() const { return now_; }
  /// The newest event that is visible, and so the number of the next.
  [[nodiscard]] Sequence newest() const { return newest_; }
  void happened(const Changes& changes);
  /// Of the call that the process died in: it may turn up, or not.
  void asked_for(const Changes& changes) { in_flight_ = changes; }
  /// As above, of a bulk load, which is two events: an empty one, whose number its records have, and one that names it.
  /// Both may turn up without it. Who looks says whether it came.
  void asked_for_load(const Changes& changes) {
    happened({});
    in_flight_ = changes;
    load_ = true;
  }
  [[nodiscard]] const Changes* load_in_doubt() const { return load_ ? &in_flight_ : nullptr; }
  void load_came(bool came) { came_ = came; }
  /// An id that could not be foreseen, since lost events gave others: the keyspace that was asked for last got it.
  void created(const Contents& found);
  void acknowledged(Sequence through, Durability durability);

  // --- a death, and the start after it ---
  void died(bool power);
  [[nodiscard]] Sequence lowest() const { return lowest_; }
  [[nodiscard]] Sequence highest() const { return newest_ + (in_flight_.empty() ? 0 : 1); }
  /// The state after the events up to `through`.
  [[nodiscard]] Contents at(Sequence through) const;
  /// Calls with the state after each event from lowest() on.
  void each_legal(const std::function<void(const Contents&)>& visit) const;
  /// A start that can write served this: it is durable. `as_the_line_says`: the event that it is the state after.
  void settle(Contents found, Sequence last, std::optional<Sequence> as_the_line_says);
  /// Found in place of what the line says, where damage or a person's decision allow it.
  void correct(Contents found);
  /// Whether the states after `through`, and after all later events, are known, settled ones included.
  [[nodiscard]] bool remembers(Sequence through) const { return through >= known_from_; }
  /// Calls with these states until one is taken; the event that it is after.
  std::optional<Sequence> first_since(Sequence through, const std::function<bool(const Contents&)>& take) const;

 private:
  Contents base_;  // the line begins here
  std::vector<Event> line_;
  Contents now_;  // base_ with all of line_
  Sequence newest_ = 0;
  Changes in_flight_;
  bool load_ = false;                 // that is what is in flight
  bool came_ = true;                  // if so
  Sequence power_ = 0, process_ = 0;  // acknowledged
  Sequence lowest_ = 0;
  Contents known_base_;  // the state after known_from_
  Sequence known_from_ = 0;
  std::vector<Event> known_;  // settled since
};

}  // namespace daruma::simulation
