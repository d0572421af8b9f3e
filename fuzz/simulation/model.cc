// SPDX-License-Identifier: Apache-2.0
#include "simulation/model.h"

#include <algorithm>
#include <iterator>

namespace daruma::simulation {

void Model::happened(const Changes& changes) {
  now_.apply(changes);
  line_.push_back({++newest_, changes});
}

void Model::acknowledged(Sequence through, Durability durability) {
  process_ = std::max(process_, through);
  if (durability == Durability::kPower) power_ = std::max(power_, through);
}

void Model::created(const Contents& found) {
  if (in_flight_.empty() || in_flight_.front().kind != Change::Kind::kCreate) return;
  for (const auto& [id, keyspace] : found.keyspaces) {
    if (keyspace.name == in_flight_.front().key && !now_.keyspaces.contains(id)) in_flight_.front().keyspace = id;
  }
}

/// A second death before any start served anything can only take more: power, after a kill.
void Model::died(bool power) { lowest_ = std::min(lowest_, power ? power_ : process_); }

Contents Model::at(Sequence through) const {
  Contents contents = base_;
  for (const Event& event : line_) {
    if (event.sequence <= through) contents.apply(event.changes);
  }
  if (through > newest_ && came_) contents.apply(in_flight_);
  return contents;
}

void Model::each_legal(const std::function<void(const Contents&)>& visit) const {
  Contents contents = at(lowest());
  visit(contents);
  for (const Event& event : line_) {
    if (event.sequence <= lowest()) continue;
    contents.apply(event.changes);
    visit(contents);
  }
  if (in_flight_.empty() || !came_) return;
  contents.apply(in_flight_);
  visit(contents);
}

void Model::settle(Contents found, Sequence last, std::optional<Sequence> as_the_line_says) {
  if (as_the_line_says) {
    if (!in_flight_.empty()) line_.push_back({newest_ + 1, came_ ? in_flight_ : Changes()});
    std::move(line_.begin(), line_.end(), std::back_inserter(known_));
    std::erase_if(known_, [&](const Event& event) { return event.sequence > *as_the_line_says; });
  } else {
    known_.clear();
    known_base_ = found;
    known_from_ = last;
  }
  base_ = std::move(found);
  now_ = base_;
  line_.clear();
  in_flight_.clear();
  load_ = false;
  came_ = true;
  newest_ = power_ = process_ = last;
  lowest_ = kMaxSequence;
}

void Model::correct(Contents found) { settle(std::move(found), newest_, std::nullopt); }

std::optional<Sequence> Model::first_since(Sequence through, const std::function<bool(const Contents&)>& take) const {
  Contents contents = known_base_;
  Sequence at = known_from_;
  const auto go_on = [&](Sequence sequence, const Changes& changes) {
    if (sequence > through && take(contents)) return false;
    contents.apply(changes);
    at = sequence;
    return true;
  };
  for (const auto* events : {&known_, &line_}) {
    for (const Event& event : *events) {
      if (!go_on(event.sequence, event.changes)) return at;
    }
  }
  if (!in_flight_.empty() && !go_on(newest_ + 1, came_ ? in_flight_ : Changes())) return at;
  return take(contents) ? std::optional(at) : std::nullopt;
}

}  // namespace daruma::simulation
