// SPDX-License-Identifier: Apache-2.0
#include "wal/read_ahead.h"

#include <deque>
#include <exception>
#include <system_error>
#include <thread>

#include "base/mutex.h"

namespace daruma {
namespace {

constexpr std::size_t kBytesAhead = 4 << 20;

struct OwnedFrame {
  FrameHeader header;
  std::string footprint, payload;
  std::size_t gaps_before = 0;
};

/// From the thread that reads to the one that uses.
class FrameLine {
 public:
  /// Waits for room. Once nobody takes any more, it keeps nothing.
  void put(const FrameView& frame) EXCLUDES(mutex_) {
    OwnedFrame owned{frame.header, std::string(frame.footprint), std::string(frame.payload), frame.gaps_before};
    const std::size_t bytes = owned.payload.size();
    MutexLock lock(mutex_);
    while (!abandoned_ && !frames_.empty() && bytes_ + bytes > kBytesAhead) moved_.wait(mutex_);
    if (abandoned_) return;
    frames_.push_back(std::move(owned));
    bytes_ += bytes;
    moved_.notify_one();
  }
  void end() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ended_ = true;
    moved_.notify_one();
  }

  /// The next one; nothing once the line has ended.
  std::optional<OwnedFrame> take() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (frames_.empty() && !ended_) moved_.wait(mutex_);
    if (frames_.empty()) return std::nullopt;
    std::optional<OwnedFrame> next(std::move(frames_.front()));
    frames_.pop_front();
    bytes_ -= next->payload.size();
    moved_.notify_one();
    return next;
  }
  void abandon() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    abandoned_ = true;
    moved_.notify_one();
  }

 private:
  Mutex mutex_;
  CondVar moved_;  ///< one waits at most: the other moved
  std::deque<OwnedFrame> frames_ GUARDED_BY(mutex_);
  std::size_t bytes_ GUARDED_BY(mutex_) = 0;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool abandoned_ GUARDED_BY(mutex_) = false;
};

}  // namespace

SegmentScan read_segment_ahead(Storage& storage, const SegmentFiles& paths, const std::optional<StoreId>& store,
                               const std::function<void(const FrameView&)>& on_frame, const Enough& enough,
                               const std::function<void()>& beside) {
  FrameLine line;
  SegmentScan scan;
  std::exception_ptr failure;
  const auto read = [&] {
    try {
      const auto put = [&](const FrameView& frame) {
        line.put(frame);
        if (beside) beside();
      };
      scan = read_segment(storage, paths, store, put, enough);
    } catch (...) { failure = std::current_exception(); }
    line.end();
  };
  {
    struct Reader {
      FrameLine& line;
      std::thread thread{};
      ~Reader() {
        line.abandon();
        if (thread.joinable()) thread.join();
      }
    } reader{line};
    try {
      reader.thread = std::thread(read);
    } catch (const std::system_error&) { return read_segment(storage, paths, store, on_frame, enough); }
    while (const std::optional<OwnedFrame> frame = line.take())
      on_frame({frame->header, frame->footprint, frame->payload, frame->gaps_before});
  }
  if (failure) std::rethrow_exception(failure);
  return scan;
}

}  // namespace daruma
