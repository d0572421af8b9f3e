// SPDX-License-Identifier: Apache-2.0
#include "kvctl/drawings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kvctl/html.h"
#include "wal/wal_reader.h"

namespace daruma::kvctl {

std::string_view colour_of(std::string_view verdict) {
  if (verdict == "healed") return "heal";
  if (verdict == "torn") return "torn";
  if (verdict == "corrupt" || verdict == "undecided" || verdict == "poisoned") return "bad";
  return verdict == "intact" ? "ok" : "idle";
}

// --- timeline --------------------------------------------------------------------------------------------------------

std::string timeline(std::vector<Moment> moments, std::int64_t zero) {
  std::stable_sort(moments.begin(), moments.end(),
                   [](const Moment& a, const Moment& b) { return a.wall_ns < b.wall_ns; });
  std::string items;
  for (const Moment& m : moments) {
    const std::int64_t from = m.wall_ns - zero;
    const std::string when = fmt::format(
        "{}  {}", time_text(m.wall_ns),
        from == 0 ? "" : fmt::format("({}{})", from > 0 ? "+" : "-", duration_text(from > 0 ? from : -from)));
    items += element("li", fmt::format("class=\"{}\"", m.colour), text_in("time", when) + text_in("span", m.what));
  }
  return element("ol", "class=\"time\"", items);
}

// --- bars ------------------------------------------------------------------------------------------------------------

std::string bars(const std::vector<Bar>& all) {
  std::int64_t total = 1;
  for (const Bar& bar : all) total = std::max(total, bar.began_ns + bar.took_ns);
  const auto share = [&](std::int64_t ns) { return 1000.0 * static_cast<double>(ns) / static_cast<double>(total); };
  std::string rows;
  for (const Bar& bar : all) {
    const double width = std::max(share(bar.took_ns), 2.0);
    const double left = std::min(share(bar.began_ns), 1000 - width);
    const std::string rect = fmt::format("<rect class=\"{}\" x=\"{:.2f}\" y=\"0\" width=\"{:.2f}\" height=\"10\"/>",
                                         bar.colour, left, width);
    std::string row = text_in("span", bar.name);
    row += element("svg", "viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\"",
                   text_in("title", fmt::format("{}: {}", bar.name, duration_text(bar.took_ns))) + rect);
    row += text_in("span", duration_text(bar.took_ns) + (bar.note.empty() ? "" : ", " + bar.note), "class=\"n\"");
    rows += element("div", "", row);
  }
  return element("div", "class=\"bars\"", rows);
}

// --- the log ---------------------------------------------------------------------------------------------------------

bool is_log(const RecoveryFinding& f) {
  return (f.file.starts_with("wal/") || f.file.starts_with("wal-copy/")) && f.file.ends_with(".log");
}

namespace {

constexpr std::size_t kStripsShown = 24;

struct Stretch {
  std::uint64_t begin = 0, end = 0;
  std::string_view colour;
  std::string what;
};

struct Strip {
  std::string file;
  std::uint64_t bytes = 0;
  std::string note;
  std::vector<Stretch> stretches;  ///< later ones lie over earlier ones
};

std::string draw(const Strip& strip) {
  const double scale = 1000.0 / static_cast<double>(std::max<std::uint64_t>(strip.bytes, 1));
  std::string rects;
  for (const Stretch& s : strip.stretches) {
    const double width = std::max(static_cast<double>(s.end - s.begin) * scale, 2.5);
    const double left = std::clamp(static_cast<double>(s.begin) * scale, 0.0, 1000 - width);
    rects += fmt::format("<rect class=\"{}\" x=\"{:.2f}\" y=\"0\" width=\"{:.2f}\" height=\"10\">{}</rect>", s.colour,
                         left, width, text_in("title", s.what));
  }
  return element("div", "class=\"strip\"",
                 element("div", "", text_in("code", strip.file) + text_in("span", strip.note, "class=\"dim\"")) +
                     element("svg", "viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\"", rects));
}

/// Segments as they stand, as far as this start could see them, and its findings over them.
std::vector<Strip> strips_of(const StoreFiles& files, const RecoveryReport& report) {
  std::map<std::string, Strip> strips;
  std::vector<Problem> ignored;
  for (const SegmentFile& segment : files.segments(ignored)) {
    const bool of_later = segment.header && segment.header->wall_ns > report.started_wall_ns;
    if (!segment.header || of_later) continue;
    Strip& strip = strips[segment.file()];
    strip.file = segment.file();
    strip.bytes = segment.bytes;
    std::uint64_t frames = 0;
    (void)read_segment(files.storage(), files.path(segment.file()), files.store(), [&](const FrameView& frame) {
      const FrameHeader& h = frame.header;
      ++frames;
      const std::uint64_t end = h.offset + h.frame_bytes;
      if (!strip.stretches.empty() && strip.stretches.back().end == h.offset) {
        strip.stretches.back().end = end;
      } else {
        strip.stretches.push_back({h.offset, end, "ok", "frames that verify"});
      }
    });
    strip.note = fmt::format("{}, {}", bytes_text(segment.bytes), plural(frames, "frame verifies", "frames verify"));
  }
  for (const RecoveryFinding& f : report.findings) {
    if (!is_log(f)) continue;
    Strip& strip = strips[f.file];
    if (strip.file.empty()) {
      strip.file = f.file;
      const bool there = files.storage().open(files.path(f.file), OpenMode::kRead).ok();
      strip.note = there ? "no header of it verifies" : "no longer there: nothing needs it any more";
    }
    strip.bytes = std::max({strip.bytes, f.offset + f.bytes, f.offset + 4096});
    strip.stretches.push_back({f.offset, f.offset + std::max<std::uint64_t>(f.bytes, 1), colour_of(f.verdict),
                               fmt::format("{}, {} at {}", f.case_name, f.verdict, f.offset)});
  }
  std::vector<Strip> all;
  all.reserve(strips.size());
  for (auto& [name, strip] : strips) all.push_back(std::move(strip));
  return all;
}

}  // namespace

std::string log_map(const StoreFiles& files, const RecoveryReport& report) {
  const std::vector<Strip> strips = strips_of(files, report);
  if (strips.empty()) return text_in("p", "No log file of that time is left, and none was hurt.", "class=\"dim\"");
  std::string content;
  const auto key = [](std::string_view colour, std::string_view what) {
    return element("span", "", element("i", fmt::format("class=\"{}\"", colour), "") + html(what));
  };
  content += element("p", "class=\"legend dim\"",
                     key("ok", "applied") + key("heal", "healed") + key("torn", "torn, never acknowledged") +
                         key("bad", "lost or in doubt") + key("idle", "means nothing"));
  for (std::size_t i = 0; i < std::min(strips.size(), kStripsShown); ++i) content += draw(strips[i]);
  if (strips.size() > kStripsShown)
    content += text_in("p", fmt::format("and {} more files", strips.size() - kStripsShown), "class=\"dim\"");
  return content;
}

}  // namespace daruma::kvctl
