// SPDX-License-Identifier: Apache-2.0
#include "kvctl/live.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/clock.h"
#include "base/prometheus_writer.h"
#include "io/posix_storage.h"
#include "recovery/history.h"

namespace daruma::kvctl {

namespace {

std::int64_t modified_ns(const std::string& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return 0;
  return info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

Result<Live> read_live(const std::string& directory) {
  const std::string lock = directory + "/lock";
  const std::string file = directory + "/recoveries/" + std::string(kLiveView);
  Live live;
  live.writer = writer_of(directory);
  if (live.writer.empty()) return Status(Code::kNotFound, "no process has the store open for writing");
  const auto untold = [&](const std::string& why) {
    return Status(Code::kBusy, fmt::format("{} has the store open, and {}", live.writer, why), {.file = file},
                  "a store tells of itself within a second of its start");
  };
  const std::shared_ptr<Storage> storage = make_posix_storage();
  const auto text = daruma::read_whole(*storage, file, kLiveViewBytesMax);
  if (!text.ok()) return untold("has told nothing of itself yet");
  const auto view = parse_live_view(*text);
  if (!view.ok()) return untold("what it told of itself cannot be read");
  // The kernel names the lock's holder only to itself; the holder wrote its own name into the lock and into the view.
  const bool same = "process " + view->holder == live.writer && view->boot == storage->boot_id();
  if (!same || modified_ns(file) < modified_ns(lock)) return untold("has told nothing of itself yet");
  live.age_ns = std::max<std::int64_t>(0, system_clock().wall_ns() - view->published_wall_ns);
  live.number = view->number;
  live.metrics = view->metrics;
  return live;
}

Result<Live> look(Context& context) {
  DARUMA_TRY(context.check_directory());
  auto live = read_live(context.directory);
  if (live.ok() || !live.status().is(Code::kNotFound)) return live;
  auto opened = context.open_for_reading();
  if (opened.status().is(Code::kBusy)) return read_live(context.directory);  // somebody has begun meanwhile
  DARUMA_TRY(opened.status());
  Live now;
  now.metrics = opened->store.metrics();
  return now;
}

std::string age_text(const Live& live) {
  if (!live.age_ns) return "read from the files now; no writer";
  return fmt::format("{} told this {} ago{}", live.writer, duration_text(*live.age_ns),
                     live.stale() ? "; it should every ten seconds: it may hang" : "");
}

void put_live(Json& json, const Live& live) {
  json["writer"] = live.writer.empty() ? Json() : Json(live.writer);
  json["age_ns"] = live.age_ns ? Json(*live.age_ns) : Json();
}

namespace {

std::string own_families(bool told, std::int64_t age_ns) {
  PrometheusWriter own;
  own.family("daruma_live", "gauge", "1: a process has the store open and tells of itself.").sample(told);
  own.family("daruma_live_view_age_seconds", "gauge", "How long ago it did.").seconds(age_ns);
  return own.take();
}

}  // namespace

std::string exposition(const Live& live) {
  return live.metrics.to_prometheus() + own_families(live.age_ns && !live.stale(), live.age_ns.value_or(0));
}

std::string exposition_of(const std::string& directory) {
  if (const auto live = read_live(directory); live.ok()) return exposition(*live);
  const std::shared_ptr<Storage> storage = make_posix_storage();
  return to_prometheus(read_past(*storage, directory + "/recoveries").history) + own_families(false, 0);
}

}  // namespace daruma::kvctl
