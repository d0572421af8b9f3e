// SPDX-License-Identifier: Apache-2.0
#include "daruma/status.h"

#include <array>

#include "base/out_of_memory.h"

namespace daruma {

std::string_view code_name(Code code) {
  static constexpr std::array<std::string_view, 14> kNames = {
      "ok",   "not_found",   "data_loss",   "corruption", "io_error", "no_space", "invalid_argument",
      "busy", "unavailable", "unsupported", "read_only",  "exists",   "aborted",  "out_of_memory"};
  const auto i = static_cast<std::size_t>(code);
  return i < kNames.size() ? kNames[i] : "unknown";
}

Status::Status(Code code, std::string message, Where where, std::string hint) {
  if (code != Code::kOk) {
    detail_ = std::make_shared<const Detail>(Detail{code, std::move(message), std::move(where), std::move(hint)});
  }
}

namespace {
const std::string kEmpty;
const Where kNowhere;
const Status kOutOfMemoryStatus(Code::kOutOfMemory, "there is not enough memory", {},
                                "free some or raise the limit, then try again");
}  // namespace

const Status& out_of_memory() { return kOutOfMemoryStatus; }

const std::string& Status::message() const { return detail_ ? detail_->message : kEmpty; }
const Where& Status::where() const { return detail_ ? detail_->where : kNowhere; }
const std::string& Status::hint() const { return detail_ ? detail_->hint : kEmpty; }

std::string Status::to_string() const {
  std::string out(code_name(code()));
  if (ok()) return out;
  out += ": " + detail_->message;
  const Where& w = detail_->where;
  std::string place = w.file;
  if (w.offset) place += ":" + std::to_string(*w.offset);
  if (w.sequence) place += (place.empty() ? "sequence " : ", sequence ") + std::to_string(*w.sequence);
  if (!place.empty()) out += " (" + place + ")";
  if (!detail_->hint.empty()) out += "; " + detail_->hint;
  return out;
}

}  // namespace daruma
