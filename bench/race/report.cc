// SPDX-License-Identifier: Apache-2.0
#include "race/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "race/rows.h"

namespace race {
namespace {

constexpr const char* kUs = "daruma";

std::string text(const char* format, double value) {
  char room[64];
  std::snprintf(room, sizeof room, format, value);
  return room;
}

std::string figure(double v) {
  if (v >= 1e6) return text("%.2f M", v / 1e6);
  if (v >= 1e4) return text("%.0f k", v / 1e3);
  if (v >= 100) return text("%.0f", v);
  return text(v >= 10 ? "%.1f" : "%.2f", v);
}

std::string spread(const Sample& sample) {
  if (sample.count < 2) return "";
  return text(" ±%.0f %%", 100 * (sample.most - sample.least) / 2 / sample.middle);
}

std::string ratio_text(double ratio) { return text(ratio >= 100 ? "%.0f" : ratio >= 10 ? "%.1f" : "%.2f", ratio); }

std::vector<std::string> columns(const Results& results) {
  std::vector<std::string> names;
  for (const Racer& racer : results.racers()) {
    if (racer.name != kReference) names.push_back(racer.name);
  }
  return names;
}

/// What Daruma is held against; count 0: there is nothing.
Sample opponent(const Results& results, const Row& row) {
  const std::string& trial = row.against_trial.empty() ? row.trial : row.against_trial;
  Sample best;
  for (const Racer& racer : results.racers()) {
    if (racer.name == kUs || !racer.name.starts_with(row.against)) continue;
    if (racer.name == kReference && row.against != kReference) continue;
    const Sample sample = results.sample(racer.name, trial, row.figure);
    const bool better = row.more_is_better() ? sample.middle > best.middle : sample.middle < best.middle;
    if (sample.count > 0 && (best.count == 0 || better)) best = sample;
  }
  return best;
}

/// Above 1: Daruma is ahead. 0: nothing to compare.
double ratio(const Row& row, const Sample& ours, const Sample& theirs) {
  if (ours.count == 0 || theirs.count == 0 || ours.middle == 0 || theirs.middle == 0) return 0;
  return row.more_is_better() ? ours.middle / theirs.middle : theirs.middle / ours.middle;
}

/// The notes under a table, each once.
class Notes {
 public:
  std::string mark(const std::string& words) {
    auto at = std::find(words_.begin(), words_.end(), words);
    if (at == words_.end()) at = words_.insert(at, words);
    return "[" + std::to_string(at - words_.begin() + 1) + "]";
  }
  [[nodiscard]] std::string list() const {
    std::string out;
    for (std::size_t i = 0; i < words_.size(); ++i) out += std::to_string(i + 1) + ". " + words_[i] + "\n";
    return out;
  }

 private:
  std::vector<std::string> words_;
};

std::string cell(const Results& results, const std::string& store, const std::string& trial, const std::string& what,
                 Notes& notes) {
  const Sample sample = results.sample(store, trial, what);
  if (sample.count > 0) return figure(sample.middle) + spread(sample);
  const std::string why = results.reason(store, trial, what);
  return why.empty() ? "" : "— " + notes.mark(why);
}

std::string header(const std::vector<std::string>& names, const std::string& more) {
  std::string out = "| |", line = "|---|";
  for (const std::string& name : names) out += " " + name + " |", line += "--:|";
  if (!more.empty()) out += more, line += "--:|--:|";
  return out + "\n" + line + "\n";
}

std::string method(const Results& results) {
  unsigned rounds = 0;
  bool unlimited = false;
  double limit_mib = 0;
  for (const Outcome& one : results.outcomes()) {
    rounds = std::max(rounds, one.round + 1);
    if (const auto found = one.figures.find("limited"); found != one.figures.end() && found->second == 0)
      unlimited = true;
    if (const auto found = one.figures.find("limit_mib"); found != one.figures.end()) limit_mib = found->second;
  }
  std::ostringstream out;
  out << results.machine() << ".\n\n"
      << "All stores do the same work in one run, in turns; each measurement is a process of its own on the same file "
         "system; median of "
      << rounds << (rounds == 1 ? " round" : " rounds")
      << ", ± half of the range between the least and the most. Keys of 16 bytes, values of 100 "
      << "of which half compresses, " << figure(1e6 * results.scale()) << " records where nothing else is said, "
      << figure(1e7 * results.scale()) << " in the big store, of which the cold rows are too"
      << (results.scale() == 1 ? "" : text(" (and %g of the length of a tail that a row names)", results.scale()))
      << "; rows by time take " << text("%g", results.seconds()) << " s, others at most "
      << text("%g", 10 * results.seconds())
      << " s, and then the rate is that of what was done. Each store has 64 MiB for what is not yet in tables and a "
         "cache of 256 MiB, where it has such things. Bytes written are what the kernel charges the process with "
         "(/proc/self/io), settling included; peak memory holds the pages of a file that is mapped.";
  if (limit_mib > 0) {
    if (unlimited)
      out << " Memory could not be limited: in cold rows the page cache was dropped before, and the stores' own caches "
             "were small.";
    else
      out << " Cold rows run in a control group with " << figure(limit_mib)
          << " MiB of memory, page cache included, a quarter of that for the store's own cache.";
  }
  out << " Cold starts come after the page cache has let go of every file of the store.\n\n";
  for (const Racer& racer : results.racers()) {
    if (racer.name != kReference) out << "- " << racer.name << " " << racer.version << ": " << racer.settings << "\n";
  }
  return out.str();
}

}  // namespace

std::string markdown(const Results& results) {
  const std::vector<std::string> names = columns(results);
  Notes notes;
  std::ostringstream out;
  out << "# Benchmarks\n\nMade by `tools/dev bench race`.\n\n" << method(results);
  out << "\nRatio: Daruma to the best of the others, or to what the row names; above 1 Daruma is ahead. Aim: what it "
         "has to be, **met** or not.\n";
  for (const Section& section : sections()) {
    out << "\n## " << section.title << "\n\n" << header(names, " ratio | aim |");
    for (const Row& row : section.rows) {
      out << "| " << row.title << ", " << row.unit << " |";
      for (const std::string& name : names) out << " " << cell(results, name, row.trial, row.figure, notes) << " |";
      const double r = ratio(row, results.sample(kUs, row.trial, row.figure), opponent(results, row));
      out << " " << (r > 0 ? ratio_text(r) : "") << " | ";
      if (row.aim > 0) out << (r >= row.aim ? "**" : "") << "≥ " << text("%g", row.aim) << (r >= row.aim ? "**" : "");
      out << " |\n";
    }
  }
  out << "\n## " << references().title << "\n\n" << header({"figure"}, "");
  for (const Row& row : references().rows) {
    out << "| " << row.title << ", " << row.unit << " | " << cell(results, kReference, row.trial, row.figure, notes)
        << " |\n";
  }
  out << "\n## Processor time, microseconds an operation\n\nOf all threads, background work included.\n\n"
      << header(names, "");
  for (const Section& section : sections()) {
    for (const Row& row : section.rows) {
      const std::string cpu = row.figure.starts_with("rate") ? "cpu_us" + row.figure.substr(4) : "";
      if (results.sample(kUs, row.trial, cpu).count == 0 || row.against != kBestPeer || !row.against_trial.empty())
        continue;
      out << "| " << section.title << ": " << row.title << " |";
      for (const std::string& name : names) out << " " << cell(results, name, row.trial, cpu, notes) << " |";
      out << "\n";
    }
  }
  if (const std::string list = notes.list(); !list.empty()) out << "\n## Where there is no figure\n\n" << list;
  return out.str();
}

std::string picture(const Results& results) {
  constexpr double kLabel = 250, kPlot = 520, kRow = 21, kRight = 120;
  constexpr double kLeast = 1e-3, kMost = 100;  // of the axis; what lies outside stands at its end
  const auto x_of = [&](double relative) {
    const double clamped = std::clamp(relative, kLeast, kMost);
    return kLabel + kPlot * std::log10(clamped / kLeast) / std::log10(kMost / kLeast);
  };
  std::ostringstream body;
  const auto words = [&](double x, double y, const char* style, const std::string& what) {
    body << "<text x=\"" << text("%.1f", x) << "\" y=\"" << text("%.1f", y) << "\" class=\"" << style << "\">" << what
         << "</text>\n";
  };
  const auto dot = [&](double x, double y, double radius, const std::string& style, const std::string& title) {
    body << "<circle cx=\"" << text("%.1f", x) << "\" cy=\"" << text("%.1f", y) << "\" r=\"" << text("%.1f", radius)
         << "\" class=\"" << style << "\"><title>" << title << "</title></circle>\n";
  };
  double y = 30;
  words(12, y, "title", "Daruma beside the best of the others, on each row of the race");
  y += 22;
  dot(18, y - 4, 5.5, "us", kUs);
  words(28, y, "", "Daruma");
  double x = 90;
  const std::vector<std::string> names = columns(results);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == kUs) continue;
    dot(x, y - 4, 3.5, "c" + std::to_string(i), names[i]);
    words(x + 8, y, "", names[i]);
    x += 26 + 6.6 * static_cast<double>(names[i].size());
  }
  y += 24;
  const double top = y;
  std::ostringstream labels;
  y += 8;
  double bottom = y;
  for (const Section& section : sections()) {
    bool headed = false;
    for (const Row& row : section.rows) {
      const Sample ours = results.sample(kUs, row.trial, row.figure);
      const double best = ratio(row, ours, opponent(results, row));
      if (!row.pictured || best == 0) continue;
      if (!headed) words(12, y += kRow, "head", section.title);
      headed = true;
      y += kRow;
      words(24, y, "", row.title);
      body << "<line x1=\"" << kLabel << "\" x2=\"" << kLabel + kPlot << "\" y1=\"" << text("%.1f", y - 4) << "\" y2=\""
           << text("%.1f", y - 4) << "\" class=\"rule\"/>\n";
      for (std::size_t i = 0; i < names.size(); ++i) {
        const Sample theirs = results.sample(names[i], row.trial, row.figure);
        if (names[i] == kUs || theirs.count == 0) continue;
        const double relative = best / ratio(row, ours, theirs);
        dot(x_of(relative), y - 4, 3.5, "c" + std::to_string(i),
            names[i] + ": " + figure(theirs.middle) + " " + row.unit);
      }
      dot(x_of(best), y - 4, 5.5, "us", std::string(kUs) + ": " + figure(ours.middle) + " " + row.unit);
      words(kLabel + kPlot + 14, y, best >= 1 ? "head" : "", ratio_text(best) + "×");
      bottom = y;
    }
  }
  for (const double mark : {0.001, 0.01, 0.1, 1.0, 10.0, 100.0}) {
    labels << "<line x1=\"" << text("%.1f", x_of(mark)) << "\" x2=\"" << text("%.1f", x_of(mark)) << "\" y1=\"" << top
           << "\" y2=\"" << text("%.1f", bottom + 6) << "\" class=\"" << (mark == 1 ? "one" : "rule") << "\"/>\n"
           << "<text x=\"" << text("%.1f", x_of(mark)) << "\" y=\"" << text("%.1f", top - 4)
           << "\" class=\"faint\" text-anchor=\"middle\">" << text("%g×", mark) << "</text>\n";
  }
  y = bottom + 26;
  std::string versions;
  for (const Racer& racer : results.racers()) {
    if (racer.name != kUs && racer.name != kReference)
      versions += (versions.empty() ? "" : ", ") + racer.name + " " + racer.version;
  }
  words(
      12, y, "faint",
      "1× is the best of the others, in the last group RocksDB; to the right is better. Made by tools/dev bench race.");
  words(12, y += 16, "faint", versions);
  const double width = kLabel + kPlot + kRight, height = y + 14;
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << " " << text("%.0f", height)
      << "\" role=\"img\" aria-label=\"Daruma beside other stores, ratio by row\">\n<style>\n"
         "text { font: 12px system-ui, sans-serif; fill: #1f2328 }\n"
         ".title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 } .faint { fill: #6e7781; font-size: "
         "11px }\n"
         ".back { fill: #ffffff } .rule { stroke: #d8dee4; stroke-width: 1 } .one { stroke: #1f2328; stroke-width: 1.5 "
         "}\n.us { fill: #cf222e }\n";
  static constexpr const char* kLight[] = {"#0969da", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#0a7b83", "#bc4c00"};
  static constexpr const char* kDark[] = {"#58a6ff", "#3fb950", "#d29922", "#bc8cff", "#8b949e", "#39c5cf", "#f0883e"};
  const auto colours = [&](const auto& of) {
    for (std::size_t i = 0; i < names.size(); ++i) out << ".c" << i << " { fill: " << of[i % std::size(of)] << " } ";
    out << "\n";
  };
  colours(kLight);
  out << "@media (prefers-color-scheme: dark) {\n"
         "text { fill: #e6edf3 } .faint { fill: #8d96a0 } .back { fill: #0d1117 } .rule { stroke: #30363d } .one { "
         "stroke: #e6edf3 } .us { fill: #f85149 }\n";
  colours(kDark);
  out << "}\n</style>\n<rect class=\"back\" width=\"" << width << "\" height=\"" << text("%.0f", height)
      << "\" rx=\"6\"/>\n"
      << labels.str() << body.str() << "</svg>\n";
  return out.str();
}

}  // namespace race
