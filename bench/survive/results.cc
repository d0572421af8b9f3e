// SPDX-License-Identifier: Apache-2.0
#include "survive/results.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "rehearsal/fault.h"

namespace survive {
namespace {

using daruma::rehearsal::all_faults;
using daruma::rehearsal::Fault;

constexpr const char* kHeader =
    "store\tmode\tfault\tclass\tseed\toutcome\tasked\tright\treported\tmissing\tstale\twrong\tresurrected\tscan_"
    "silent\t"
    "scan_error\twrite_failed\ttold\trepair_failed\tms\toffset\tfile\n";

std::string line(const Trial& t) {
  std::ostringstream out;
  out << t.store << '\t' << t.mode << '\t' << t.fault << '\t' << t.file_class << '\t' << t.seed << '\t' << t.outcome;
  for (const std::uint64_t n : {t.asked, t.right, t.reported, t.missing, t.stale, t.wrong, t.resurrected, t.scan_silent,
                                t.scan_error, t.write_failed, t.told, t.repair_failed, t.ms, t.offset})
    out << '\t' << n;
  out << '\t' << t.file << '\n';
  return out.str();
}

bool parse(const std::string& text, Trial& t) {
  std::vector<std::string> fields;
  std::istringstream in(text);
  for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
  if (fields.size() < 20 || fields[0] == "store") return false;
  t.store = fields[0], t.mode = fields[1], t.fault = fields[2], t.file_class = fields[3], t.outcome = fields[5];
  t.seed = std::strtoull(fields[4].c_str(), nullptr, 10);
  std::size_t at = 6;
  for (std::uint64_t* n : {&t.asked, &t.right, &t.reported, &t.missing, &t.stale, &t.wrong, &t.resurrected,
                           &t.scan_silent, &t.scan_error, &t.write_failed, &t.told, &t.repair_failed, &t.ms, &t.offset})
    *n = std::strtoull(fields[at++].c_str(), nullptr, 10);
  if (fields.size() > at) t.file = fields[at];
  return true;
}

/// Never 100 or 0 when it is not so.
std::string percent(double part, double of) {
  if (of == 0) return "–";
  const double value = 100 * part / of;
  char text[20];
  if (value != 0 && value < 0.1)
    std::snprintf(text, sizeof text, "%.2g", value);
  else
    std::snprintf(text, sizeof text, "%.*f", value == 0 || value == 100 ? 0 : value > 99 ? 2 : 1, value);
  if (value < 100 && std::string_view(text) == "100.00") return "99.99";
  return text;
}

double n(std::uint64_t value) { return static_cast<double>(value); }

const std::vector<std::string>& group_names() {
  static const std::vector<std::string> names = {"log", "table", "root", "other"};
  return names;
}

using Cells = std::map<std::vector<std::string>, Cell>;

struct Share {
  const char* style;
  std::uint64_t trials;
};

}  // namespace

Results::Results(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  {
    std::ifstream in(path_);
    Trial trial;
    for (std::string text; std::getline(in, text);) {
      if (!in.eof() && parse(text, trial) && done_.insert(trial.key()).second) trials_.push_back(trial);
    }
  }
  // A line that a kill cut off would swallow the next one.
  const std::string whole = path_ + ".tmp";
  std::ofstream out(whole);
  out << kHeader;
  for (const Trial& trial : trials_) out << line(trial);
  out.close();
  if (!out || std::rename(whole.c_str(), path_.c_str()) != 0) {
    std::fprintf(stderr, "survive: cannot write %s\n", path_.c_str());
    std::exit(1);
  }
}

void Results::add(const Trial& trial) {
  done_.insert(trial.key());
  trials_.push_back(trial);
  if (!path_.empty()) std::ofstream(path_, std::ios::app) << line(trial);
}

void Cell::add(const Trial& trial) {
  ++trials;
  opened += trial.opened();
  refused += trial.outcome == "refused";
  crashed += trial.outcome == "crashed";
  hung += trial.outcome == "hung";
  if (!trial.opened()) return;
  silent += trial.silent();
  whole += trial.right == trial.asked && trial.scan_silent + trial.scan_error == 0;
  write_failed += trial.write_failed;
  right += n(trial.right) / n(trial.asked);
  reported += n(trial.reported) / n(trial.asked);
}

Groups groups_of(const std::vector<Contender>& contenders) {
  Groups groups;
  for (const Contender& contender : contenders) {
    for (const FileClass& of : contender.classes) groups[{contender.name, of.name}] = of.group;
  }
  return groups;
}

/// Those that have the mode, side by side; nothing when nothing was tried with it.
void add_side_by_side(std::ostream& out, const std::string& title, const std::vector<Contender>& contenders,
                      const std::string& mode, const Cells& by_group) {
  std::string head = "| files | fault |", line = "|---|---|";
  std::vector<std::string> names;
  for (const Contender& contender : contenders) {
    const auto is_it = [&](const Mode& one) { return one.name == mode; };
    if (std::none_of(contender.modes.begin(), contender.modes.end(), is_it)) continue;
    names.push_back(contender.name);
    head += " " + contender.name + " |";
    line += "--:|";
  }
  std::string rows;
  for (const std::string& group : group_names()) {
    for (const Fault fault : all_faults()) {
      std::string cells;
      bool any = false;
      for (const std::string& store : names) {
        const auto found = by_group.find({store, mode, group, name(fault)});
        any = any || found != by_group.end();
        if (found == by_group.end()) {
          cells += " – |";
          continue;
        }
        const Cell& cell = found->second;
        cells += " " + percent(n(cell.opened), n(cell.trials)) + "/" + percent(n(cell.silent), n(cell.trials)) + "/" +
                 percent(n(cell.trials) - cell.right, n(cell.trials)) + " |";
      }
      if (any) rows += "| " + group + " | " + name(fault) + " |" + cells + "\n";
    }
  }
  if (rows.empty()) return;
  out << "## " << title << "\n\nopened % / trials with any silent damage % / keys lost %\n\n"
      << head << "\n"
      << line << "\n"
      << rows << "\n";
}

std::string markdown(const std::vector<Contender>& contenders, const std::vector<Trial>& trials) {
  Cells by_group, by_class;
  const Groups groups = groups_of(contenders);
  for (const Trial& trial : trials) {
    const auto group = groups.find({trial.store, trial.file_class});
    if (trial.outcome == "none" || group == groups.end()) continue;
    by_class[{trial.store, trial.mode, trial.file_class, trial.fault}].add(trial);
    by_group[{trial.store, trial.mode, group->second, trial.fault}].add(trial);
  }
  std::ostringstream out;
  add_side_by_side(out, "All stores, default options", contenders, "default", by_group);
  add_side_by_side(out, "With their most careful options", contenders, "careful", by_group);
  add_side_by_side(out, "After their repair tools", contenders, "repaired", by_group);
  for (const Contender& contender : contenders) {
    out << "## " << contender.name << " " << contender.version << "\n\n";
    for (const Mode& mode : contender.modes) out << "- " << mode.name << ": " << mode.settings << "\n";
    out << "\nopened % / keys right % / keys reported % / trials with any silent damage %; (r refused, c crashed, h "
           "hung,"
           " w could not be written to)\n\n| files | fault | trials |";
    for (const Mode& mode : contender.modes) out << " " << mode.name << " |";
    out << "\n|---|---|--:|";
    for (std::size_t i = 0; i < contender.modes.size(); ++i) out << "--:|";
    out << "\n";
    for (const FileClass& of : contender.classes) {
      for (const Fault fault : all_faults()) {
        std::string cells;
        std::uint64_t most = 0;
        for (const Mode& mode : contender.modes) {
          const Cell cell = by_class[{contender.name, mode.name, of.name, name(fault)}];
          most = std::max(most, cell.trials);
          if (cell.trials == 0) {
            cells += " – |";
            continue;
          }
          cells += " " + percent(n(cell.opened), n(cell.trials)) + " / " + percent(cell.right, n(cell.trials)) + " / " +
                   percent(cell.reported, n(cell.trials)) + " / " + percent(n(cell.silent), n(cell.trials));
          std::string odd;
          const std::pair<char, std::uint64_t> counts[] = {
              {'r', cell.refused}, {'c', cell.crashed}, {'h', cell.hung}, {'w', cell.write_failed}};
          for (const auto& [letter, count] : counts) {
            if (count > 0) odd += (odd.empty() ? "" : " ") + (letter + std::to_string(count));
          }
          cells += (odd.empty() ? "" : " (" + odd + ")") + " |";
        }
        if (most > 0) out << "| " << of.name << " | " << name(fault) << " | " << most << " |" << cells << "\n";
      }
    }
    out << "\n";
  }
  return out.str();
}

std::string picture(const std::vector<Contender>& contenders, const std::vector<Trial>& trials) {
  Cells cells;
  const Groups groups = groups_of(contenders);
  for (const Trial& trial : trials) {
    const auto group = groups.find({trial.store, trial.file_class});
    if (trial.outcome == "none" || group == groups.end() || group->second == "other") continue;
    cells[{group->second, trial.fault, trial.store, trial.mode}].add(trial);
  }
  constexpr unsigned kLabel = 190, kColumn = 112, kBar = 100, kRow = 17, kBarHeight = 11;
  const unsigned width = kLabel + kColumn * static_cast<unsigned>(contenders.size()) + 10;
  std::ostringstream body;
  const auto text = [&](unsigned x, unsigned y, const std::string& style, const std::string& words) {
    body << "<text x=\"" << x << "\" y=\"" << y << "\" class=\"" << style << "\">" << words << "</text>\n";
  };
  unsigned y = 30;
  text(12, y, "title", "One fault, then a plain open: what became of the store");
  y += 22;
  const std::pair<const char*, const char*> legend[] = {{"whole", "nothing lost"},
                                                        {"told", "lost, and each lost key says so"},
                                                        {"shut", "did not open: refused, crashed or hung"},
                                                        {"silent", "wrong answers without an error"}};
  unsigned x = 12;
  for (const auto& [style, words] : legend) {
    body << "<rect x=\"" << x << "\" y=\"" << y - 9 << "\" width=\"11\" height=\"11\" rx=\"2\" class=\"" << style
         << "\"/>\n";
    text(x + 16, y, "", words);
    x += 40 + static_cast<unsigned>(std::string_view(words).size() * 6);
  }
  y += 28;
  for (std::size_t i = 0; i < contenders.size(); ++i)
    text(kLabel + kColumn * static_cast<unsigned>(i), y, i == 0 ? "head" : "column", contenders[i].name);
  y += 8;
  const std::map<std::string, std::string> group_words = {
      {"log", "log"}, {"table", "tables, runs"}, {"root", "manifest, root"}};
  std::uint64_t most = 0;
  for (const std::string& group : group_names()) {
    bool headed = false;
    for (const Fault fault : all_faults()) {
      bool any = false;
      for (const Contender& contender : contenders)
        any = any || cells.contains({group, name(fault), contender.name, contender.modes[0].name});
      if (!any) continue;
      if (!headed) text(12, y += 22, "head", group_words.at(group));
      headed = true;
      y += kRow;
      text(24, y, "", name(fault));
      for (std::size_t i = 0; i < contenders.size(); ++i) {
        const unsigned left = kLabel + kColumn * static_cast<unsigned>(i);
        const auto found = cells.find({group, name(fault), contenders[i].name, contenders[i].modes[0].name});
        if (found == cells.end()) {
          text(left, y, "faint", "has none");
          continue;
        }
        const Cell& cell = found->second;
        most = std::max(most, cell.trials);
        const Share shares[] = {{"whole", cell.whole - std::min(cell.whole, cell.silent)},
                                {"told", cell.opened - cell.silent - (cell.whole - std::min(cell.whole, cell.silent))},
                                {"shut", cell.trials - cell.opened},
                                {"silent", cell.silent}};
        double at = left;
        for (const Share& share : shares) {
          if (share.trials == 0) continue;
          const double wide = kBar * n(share.trials) / n(cell.trials);
          char rect[200];
          std::snprintf(
              rect, sizeof rect,
              "<rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%u\" class=\"%s\"><title>%s, %s: %llu of %llu "
              "trials</title></rect>\n",
              at, y - kBarHeight + 2, wide, kBarHeight, share.style, contenders[i].name.c_str(), name(fault),
              static_cast<unsigned long long>(share.trials), static_cast<unsigned long long>(cell.trials));
          body << rect;
          at += wide;
        }
      }
    }
  }
  y += 26;
  std::string words = "Share of trials.";
  for (const Contender& contender : contenders)
    if (contender.version != "this tree") words += " " + contender.name + " " + contender.version;
  text(12, y, "faint", words + ", default options. Made by tools/dev survive.");
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << " " << y + 14
      << "\" role=\"img\" aria-label=\"What one fault does to each store\">\n<style>\n"
         "text { font: 12px system-ui, sans-serif; fill: #1f2328 }\n"
         ".title { font-size: 16px; font-weight: 600 } .head { font-weight: 600 } .faint { fill: #6e7781; font-size: "
         "11px }\n"
         ".back { fill: #ffffff } .whole { fill: #2da44e } .told { fill: #d4a72c } .shut { fill: #8c959f } .silent { "
         "fill: "
         "#cf222e }\n"
         "@media (prefers-color-scheme: dark) {\n"
         "text { fill: #e6edf3 } .faint { fill: #8d96a0 } .back { fill: #0d1117 } .whole { fill: #3fb950 } .told { "
         "fill: "
         "#d29922 } .shut { fill: #6e7681 } .silent { fill: #f85149 }\n}\n</style>\n"
      << "<rect class=\"back\" width=\"" << width << "\" height=\"" << y + 14 << "\" rx=\"6\"/>\n"
      << body.str() << "</svg>\n";
  return out.str();
}

}  // namespace survive
