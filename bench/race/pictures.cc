// SPDX-License-Identifier: Apache-2.0
#include "race/pictures.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "race/figures.h"
#include "race/rows.h"

namespace race {
namespace {

constexpr double kMargin = 12, kLine = 21;
constexpr const char* kMadeBy = "Made by tools/dev bench race.";

/// Where a figure stands on an axis of powers of ten; what lies outside stands at its end.
class Axis {
 public:
  Axis(double least, double most, double from, double to) : least_(least), most_(most), from_(from), to_(to) {}
  [[nodiscard]] double of(double value) const {
    return from_ + (to_ - from_) * std::log10(std::clamp(value, least_, most_) / least_) / std::log10(most_ / least_);
  }
  /// The powers of ten on it.
  [[nodiscard]] std::vector<double> marks() const {
    std::vector<double> out;
    for (double mark = least_; mark < most_ * 1.01; mark *= 10) out.push_back(mark);
    return out;
  }

 private:
  double least_, most_, from_, to_;
};

/// Stores keep their colours from one picture to the next; Daruma's is red. Light and dark, as the reader's system is.
class Drawing {
 public:
  explicit Drawing(const Results& results) : names_(columns(results)) {
    for (const Racer& racer : results.racers()) {
      if (racer.name != kUs && racer.name != kReference)
        versions_ += (versions_.empty() ? "" : ", ") + racer.name + " " + racer.version;
    }
  }
  [[nodiscard]] const std::vector<std::string>& stores() const { return names_; }

  void words(double x, double y, const char* style, const std::string& what, const char* anchor = "start") {
    body_ << "<text x=\"" << text("%.1f", x) << "\" y=\"" << text("%.1f", y) << "\" class=\"" << style
          << "\" text-anchor=\"" << anchor << "\">" << what << "</text>\n";
  }
  void dot(double x, double y, const std::string& store, const std::string& title) {
    body_ << "<circle cx=\"" << text("%.1f", x) << "\" cy=\"" << text("%.1f", y) << "\" r=\""
          << (store == kUs ? "5.5" : "3.5") << "\" class=\"" << style_of(store) << "\"><title>" << title
          << "</title></circle>\n";
  }
  void rule(double x1, double y1, double x2, double y2, const char* style = "rule") {
    body_ << "<line x1=\"" << text("%.1f", x1) << "\" y1=\"" << text("%.1f", y1) << "\" x2=\"" << text("%.1f", x2)
          << "\" y2=\"" << text("%.1f", y2) << "\" class=\"" << style << "\"/>\n";
  }
  void line(const std::vector<std::pair<double, double>>& points, const std::string& store) {
    body_ << "<polyline class=\"line " << style_of(store) << "\" points=\"";
    for (const auto& [x, y] : points) body_ << text("%.1f,", x) << text("%.1f ", y);
    body_ << "\"/>\n";
  }
  void legend(double y) {
    double x = kMargin + 6;
    for (const std::string& name : names_) {
      dot(x, y - 4, name, name);
      words(x + 10, y, name == kUs ? "head" : "", name);
      x += 34 + 6.6 * static_cast<double>(name.size());
    }
  }

  /// The whole, with what it is made of below.
  [[nodiscard]] std::string finish(double width, double bottom, const std::string& label, const std::string& note) {
    words(kMargin, bottom + 26, "faint", note);
    words(kMargin, bottom + 42, "faint", versions_);
    std::ostringstream out;
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << " " << text("%.0f", bottom + 56)
        << "\" role=\"img\" aria-label=\"" << label
        << "\">\n<style>\n"
           "text { font: 12px system-ui, sans-serif; fill: #1f2328 }\n"
           ".title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 } .faint { fill: #6e7781; font-size: "
           "11px }\n"
           ".back { fill: #ffffff } .rule { stroke: #d8dee4; stroke-width: 1 } .one { stroke: #1f2328; stroke-width: "
           "1.5 }\n.line { fill: none; stroke-width: 1.5 } .us.line { stroke-width: 2.5 }\n";
    colours(out, "#cf222e", {"#0969da", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#0a7b83", "#bc4c00"});
    out << "@media (prefers-color-scheme: dark) {\n"
           "text { fill: #e6edf3 } .faint { fill: #8d96a0 } .back { fill: #0d1117 } .rule { stroke: #30363d } .one { "
           "stroke: #e6edf3 }\n";
    colours(out, "#f85149", {"#58a6ff", "#3fb950", "#d29922", "#bc8cff", "#8b949e", "#39c5cf", "#f0883e"});
    out << "}\n</style>\n<rect class=\"back\" width=\"" << width << "\" height=\"" << text("%.0f", bottom + 56)
        << "\" rx=\"6\"/>\n"
        << body_.str() << "</svg>\n";
    return out.str();
  }

 private:
  [[nodiscard]] std::string style_of(const std::string& store) const {
    if (store == kUs) return "us";
    return "c" + std::to_string(std::find(names_.begin(), names_.end(), store) - names_.begin());
  }
  void colours(std::ostringstream& out, const char* ours, const std::vector<const char*>& theirs) const {
    std::size_t next = 0;
    for (const std::string& name : names_) {
      const std::string style = style_of(name);
      const char* colour = name == kUs ? ours : theirs[next++ % theirs.size()];
      out << "circle." << style << " { fill: " << colour << " } polyline." << style << " { stroke: " << colour
          << " }\n";
    }
  }

  const std::vector<std::string> names_;
  std::string versions_;
  std::ostringstream body_;
};

}  // namespace

std::string ratios(const Results& results) {
  constexpr double kLabel = 250, kPlot = 520, kRight = 120, kTop = 76;
  const Axis axis(1e-3, 100, kLabel, kLabel + kPlot);
  Drawing out(results);
  out.words(kMargin, 30, "title", "Daruma beside the best of the others, on each row of the race");
  out.legend(52);
  double bottom = kTop + 8;
  for (const Section& section : sections()) {
    bool headed = false;
    for (const Row& row : section.rows) {
      const Sample ours = results.sample(kUs, row.trial, row.figure);
      const double best = ratio(row, ours, opponent(results, row));
      if (!row.pictured || best == 0) continue;
      if (!headed) out.words(kMargin, bottom += kLine, "head", section.title);
      headed = true;
      const double y = (bottom += kLine) - 4;
      out.words(2 * kMargin, bottom, "", row.title);
      out.rule(kLabel, y, kLabel + kPlot, y);
      for (const std::string& store : out.stores()) {
        const Sample sample = results.sample(store, row.trial, row.figure);
        if (store == kUs || sample.count == 0) continue;
        out.dot(axis.of(best / ratio(row, ours, sample)), y, store,
                store + ": " + figure(sample.middle) + " " + row.unit);
      }
      out.dot(axis.of(best), y, kUs, std::string(kUs) + ": " + figure(ours.middle) + " " + row.unit);
      out.words(kLabel + kPlot + 14, bottom, best >= 1 ? "head" : "", ratio_text(best) + "×");
    }
  }
  for (const double mark : axis.marks()) {
    out.rule(axis.of(mark), kTop, axis.of(mark), bottom + 6, std::abs(mark - 1) < 0.1 ? "one" : "rule");
    out.words(axis.of(mark), kTop - 4, "faint", text("%g×", mark), "middle");
  }
  return out.finish(
      kLabel + kPlot + kRight, bottom, "Daruma beside other stores, ratio by row",
      std::string("1× is the best of the others, in the last group RocksDB; to the right is better. ") + kMadeBy);
}

std::string curves(const Results& results) {
  constexpr double kWidth = 225, kHeight = 140, kLeft = 44, kAcross = 4;
  Drawing out(results);
  out.words(kMargin, 30, "title", "What becomes of it as there is more to do");
  out.legend(52);
  double top = 56, bottom = top;
  for (const Section& section : growth()) {
    double across = 0;
    out.words(kMargin, top += 30, "head", section.title);
    for (auto row = section.rows.begin(); row != section.rows.end();) {
      const auto end = std::find_if(row, section.rows.end(), [&](const Row& r) { return r.title != row->title; });
      const std::vector<Row> rows(row, end);
      row = end;
      double least = 0, most = 0;
      for (const Row& one : rows) {
        for (const std::string& store : out.stores()) {
          const Sample sample = results.sample(store, one.trial, one.figure);
          if (sample.count == 0) continue;
          least = least == 0 ? sample.middle : std::min(least, sample.middle);
          most = std::max(most, sample.middle);
        }
      }
      if (most == 0) continue;
      if (across == kAcross) across = 0, top = bottom;
      const double left = kMargin + across++ * kWidth + kLeft, right = left + kWidth - kLeft - 24;
      const double above = top + 32, below = above + kHeight;
      bottom = below + 26;
      const Axis axis(std::pow(10, std::floor(std::log10(least))), std::pow(10, std::ceil(std::log10(most * 1.01))),
                      below, above);
      out.words(left, above - 10, "", rows.front().title + ", " + rows.front().unit);
      for (const double mark : axis.marks()) {
        out.rule(left, axis.of(mark), right, axis.of(mark));
        out.words(left - 6, axis.of(mark) + 4, "faint", round_figure(mark), "end");
      }
      const auto x_of = [&](std::size_t i) {
        return left + 14 + (right - left - 28) * static_cast<double>(i) / static_cast<double>(rows.size() - 1);
      };
      for (std::size_t i = 0; i < rows.size(); ++i)
        out.words(x_of(i), below + 16, "faint", at_text(results, section, rows[i]), "middle");
      for (const std::string& store : out.stores()) {
        std::vector<std::pair<double, double>> points;
        for (std::size_t i = 0; i < rows.size(); ++i) {
          const Sample sample = results.sample(store, rows[i].trial, rows[i].figure);
          if (sample.count == 0) continue;
          points.emplace_back(x_of(i), axis.of(sample.middle));
          out.dot(points.back().first, points.back().second, store,
                  store + ": " + figure(sample.middle) + " " + rows[i].unit);
        }
        out.line(points, store);
      }
    }
    top = bottom;
  }
  return out.finish(2 * kMargin + kAcross * kWidth, bottom, "Daruma and other stores, as threads and keys grow",
                    kMadeBy);
}

}  // namespace race
