// SPDX-License-Identifier: Apache-2.0
// Blameless postmortems: what happened, what it cost and what was decided why, for somebody who was not there.
#pragma once

#include <string>

#include "kvctl/inspect.h"

namespace daruma::kvctl {

/// Of one start; of one incident. The whole page.
std::string start_page(const StoreFiles& files, const RecoveryReport& report);
std::string incident_page(const StoreFiles& files, const IncidentFile& file);
/// The one sentence on top of each, as plain text.
std::string summary_of(const RecoveryReport& report);
std::string summary_of(const IncidentFile& file);
/// Why a finding was decided as it was: what its verdict says, and what follows.
std::string reason_of(const RecoveryFinding& finding);

}  // namespace daruma::kvctl
