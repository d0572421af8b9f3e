// SPDX-License-Identifier: Apache-2.0
#include "snapshot/run_loss.h"

#include "snapshot/placed_run.h"

namespace daruma {

KeyRange keys_of(const RunInfo& info) { return {info.smallest_key, info.largest_key + '\0'}; }

RunLoss all_lost(const RunInfo& info, Status why) {
  RunLoss loss;
  if (!is_marker(info)) loss.keys.push_back(keys_of(info));
  loss.erases = info.erases > 0;
  loss.refused = why.is(Code::kIoError);
  loss.why = std::move(why);
  return loss;
}

RunLoss loss_of_run(const RunReader& reader, const RunInfo& info) {
  RunLoss loss;
  const auto note = [&](const Status& why) {
    if (loss.why.ok()) loss.why = why;
    loss.refused = loss.refused || why.is(Code::kIoError);
  };
  RunReader::Cursor cursor = reader.cursor();
  cursor.seek_first();
  for (;;) {
    while (cursor.valid()) cursor.next();
    if (cursor.status().ok()) break;
    if (!cursor.damaged()) return all_lost(info, cursor.status());
    note(cursor.status());
    const DamagedKeys& damaged = *cursor.damaged();
    loss.keys.push_back({damaged.after_included ? damaged.after : damaged.after + '\0', damaged.through + '\0'});
    loss.extents.push_back({damaged.offset, damaged.bytes});
    cursor.step_over();
  }
  if (info.erases > 0) {
    if (const Result<std::vector<RangeErase>> erases = reader.range_erases(); !erases.ok()) {
      note(erases.status());
      loss.erases = true;
      loss.keys = {keys_of(info)};
    }
  }
  loss.keys = joined(std::move(loss.keys));
  return loss;
}

}  // namespace daruma
