// SPDX-License-Identifier: Apache-2.0
//
// Operating errors are values. A Status says what went wrong, where (file, offset, sequence) and
// what to do next; a Result<T> is a T or such a Status. No exception crosses this API, but for std::bad_alloc from the
// few calls whose answer has no room for an error; they say so.
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#define DARUMA_API [[gnu::visibility("default")]]

namespace daruma {

/// Number of an event (one committed batch). Total order; the first event of a store is 1, 0 is "before all".
using Sequence = std::uint64_t;
inline constexpr Sequence kMaxSequence = (Sequence{1} << 56) - 1;

/// What kind of error. Stable: kvctl's exit codes and JSON use these names.
enum class Code : std::uint8_t {
  kOk = 0,
  kNotFound,         ///< the key, keyspace or file is not there
  kDataLoss,         ///< the answer may lie in a damaged range; nothing wrong is returned
  kCorruption,       ///< bytes on disk do not verify
  kIoError,          ///< the operating system refused a read, write or sync
  kNoSpace,          ///< the device or quota is full
  kInvalidArgument,  ///< an option, key, value or path is outside its stated limits
  kBusy,             ///< locked by another process, or a concurrency limit is reached
  kUnavailable,      ///< a component is down for now; the message says why and what brings it back
  kUnsupported,      ///< a format or feature from the future
  kReadOnly,         ///< the store was opened, or had to be made, read-only
  kExists,           ///< it is already there
  kAborted,          ///< stopped by a callback or by a simulated crash
  kOutOfMemory,      ///< not done for want of memory; the same call may succeed later
};

/// The code's stable name: "ok", "not_found", "data_loss", …
DARUMA_API std::string_view code_name(Code code);

/// Where an error happened; fields that are not known stay empty.
struct Where {
  std::string file{};                     ///< path as given to the operating system
  std::optional<std::uint64_t> offset{};  ///< bytes from the start of `file`
  std::optional<Sequence> sequence{};     ///< event concerned
};

/// Outcome of an operation. Copying is cheap when ok (no allocation). Thread: a value type.
class [[nodiscard]] DARUMA_API Status {
 public:
  Status() = default;  ///< ok
  Status(Code code, std::string message, Where where = {}, std::string hint = {});

  [[nodiscard]] bool ok() const { return !detail_; }
  [[nodiscard]] Code code() const { return detail_ ? detail_->code : Code::kOk; }
  [[nodiscard]] bool is(Code code) const { return this->code() == code; }
  /// What happened, one sentence without trailing stop. Empty when ok.
  [[nodiscard]] const std::string& message() const;
  [[nodiscard]] const Where& where() const;
  /// What the user can do next; may be empty.
  [[nodiscard]] const std::string& hint() const;
  /// "data_loss: message (file:offset, sequence n); hint".
  [[nodiscard]] std::string to_string() const;

 private:
  struct Detail {
    Code code;
    std::string message;
    Where where;
    std::string hint;
  };
  std::shared_ptr<const Detail> detail_;
};

/// A value or the Status that says why there is none. `value()` on an error stops the process.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}        // NOLINT(google-explicit-constructor)
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (std::get<1>(state_).ok()) __builtin_trap();                            // an ok Status carries no value
  }

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] Status status() const { return ok() ? Status() : std::get<1>(state_); }
  [[nodiscard]] T& value() & {
    check();
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    check();
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    check();
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void check() const {
    if (!ok()) __builtin_trap();
  }
  std::variant<T, Status> state_;
};

}  // namespace daruma
