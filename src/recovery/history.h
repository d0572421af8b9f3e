// SPDX-License-Identifier: Apache-2.0
//
// The flight recorder read back: reports of starts and incidents from `recoveries/`, and the sums over all of them.
//
// What must stay true:
//   - Sums are carried from report to report, so that they only grow, however few reports are kept, and need no file
//     and no sync of their own. The newest report that can be read has them; incidents that are newer are added.
//   - An incident is counted once: by the life it happened in, or by the start after it, and never by both
//     (`last_incident`).
//   - Whatever stands in the directory, reading it fails nobody: what cannot be read is not counted.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "daruma/playbook.h"
#include "daruma/recovery_report.h"
#include "io/storage.h"

namespace daruma {

/// A start that came to its end.
void count(RecoveryHistory& history, const RecoveryReport& report);
/// An incident whose playbook has ended, or whose process has (no outcome). One that a person asked for is none.
void count(RecoveryHistory& history, const Incident& incident);

/// The cause of `report`, from what it found; its other members are as the start left them.
std::string cause_of(const RecoveryReport& report);

/// What `directory` (STORE/recoveries) tells of the starts before number `below` and of the incidents there are.
struct PastRecoveries {
  RecoveryHistory history;
  std::int64_t last_seen_wall_ns = 0;  ///< newest time that any of them names
};
PastRecoveries read_past(Storage& storage, const std::string& directory, std::uint64_t below = ~std::uint64_t{0});

/// "0000000000000007.json"; its number, where `name` is such a name.
std::string report_name(std::uint64_t start_number);
std::optional<std::uint64_t> report_number(std::string_view name);
inline constexpr std::uint64_t kReportBytesMax = 64 << 20;

// What to_json of each wrote. kCorruption, with the offset where the text does not parse. Members that are missing stay
// as they are by default.
Result<RecoveryReport> parse_report(std::string_view json);
Result<Incident> parse_incident(std::string_view json);

// For documents that hold these.
void write(JsonWriter& json, std::string_view name, const RecoveryHistory& history);
void write(JsonWriter& json, std::string_view name, const BlastRadius& radius);
void write(JsonWriter& json, std::string_view name, const RecoveryLoss& loss);
RecoveryHistory history_of(const JsonValue& json);
BlastRadius blast_radius_of(const JsonValue& json);
/// What write_error wrote.
Status status_of(const JsonValue& json);

}  // namespace daruma
