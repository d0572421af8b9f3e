// SPDX-License-Identifier: Apache-2.0
//
// Fills RecoveryReport. What must stay true: every assessment that is noted is in exactly one of the sums its verdict
// belongs to, also when the list of findings is full; names in the report are the table's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "daruma/recovery_report.h"
#include "recovery/verdict.h"

namespace daruma {

/// A store with a damaged sector in each of a million frames must still be able to say so.
inline constexpr std::size_t kMaxFindings = 10'000;

/// Where the bytes of an assessment stand and where they went.
struct FindingPlace {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::string quarantine_id;
  std::uint64_t damage_id = 0;
  std::string detail;
};

/// Adds what `a` says to the sums and, unless all is well (applied, clean end), a finding.
void note(RecoveryReport& report, const Assessment& a, FindingPlace place);

/// Adds a finding of another room (a run's block, a snapshot, a ledger entry), in the same words.
void note(RecoveryReport& report, RecoveryFinding finding);

}  // namespace daruma
