// SPDX-License-Identifier: Apache-2.0
#include "race/report.h"

#include <algorithm>
#include <sstream>

#include "race/figures.h"

namespace race {
namespace {

std::string spread(const Sample& sample) {
  if (sample.count < 2) return "";
  return text(" ±%.0f %%", 100 * (sample.most - sample.least) / 2 / sample.middle);
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
  out += more;
  for (const char c : more) line += c == '|' ? "--:|" : "";
  return out + "\n" + line + "\n";
}

std::string table(const Results& results, const Section& section, Notes& notes) {
  const std::vector<std::string> names = columns(results);
  const bool grows = !section.grows.empty();
  std::ostringstream out;
  out << "\n## " << section.title << "\n\n" << header(names, grows ? " ratio |" : " ratio | aim |");
  for (const Row& row : section.rows) {
    out << "| " << row.title << (grows ? ", " + section.grows + ": " + at_text(results, section, row) : "") << ", "
        << row.unit << " |";
    for (const std::string& name : names) out << " " << cell(results, name, row.trial, row.figure, notes) << " |";
    const double r = ratio(row, results.sample(kUs, row.trial, row.figure), opponent(results, row));
    out << " " << (r > 0 ? ratio_text(r) : "") << " |";
    if (row.aim > 0) out << (r >= row.aim ? " **" : " ") << "≥ " << text("%g", row.aim) << (r >= row.aim ? "**" : "");
    out << (grows ? "\n" : " |\n");
  }
  return out.str();
}

/// It was measured for a curve, and not for another row too.
bool only_grown(const Results& results, const Row& row) {
  for (const Section& section : sections()) {
    for (const Row& other : section.rows) {
      if (other.trial == row.trial) return false;
    }
  }
  return std::any_of(results.outcomes().begin(), results.outcomes().end(),
                     [&](const Outcome& one) { return one.trial == row.trial; });
}

std::string method(const Results& results) {
  unsigned rounds = 0;
  bool unlimited = false;
  double limit_mib = 0, warm_up_s = 0;
  for (const Outcome& one : results.outcomes()) {
    rounds = std::max(rounds, one.round + 1);
    if (const auto found = one.figures.find("limited"); found != one.figures.end() && found->second == 0)
      unlimited = true;
    if (const auto found = one.figures.find("limit_mib"); found != one.figures.end()) limit_mib = found->second;
    if (const auto found = one.figures.find("warm_up_s"); found != one.figures.end()) warm_up_s = found->second;
  }
  std::ostringstream out;
  out << results.machine() << ".\n\n"
      << "All stores do the same work in one run, in turns; each measurement is a process of its own on the same file "
         "system; median of "
      << rounds << (rounds == 1 ? " round" : " rounds") << ", ± half of the range between the least and the most"
      << (rounds == 1 ? "" : " (where there is none it was measured once)") << ". Keys of 16 bytes, values of 100 "
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
          << " MiB of memory, page cache included, a quarter of that for the store's own cache, and are measured after "
          << text("%g", warm_up_s) << " s of the same, which fill it.";
  }
  out << " Cold starts come after the page cache has let go of every file of the store.\n\n";
  for (const Racer& racer : results.racers()) {
    if (racer.name != kReference) out << "- " << racer.name << " " << racer.version << ": " << racer.settings << "\n";
  }
  return out.str();
}

}  // namespace

std::string markdown(const Results& results, const std::string& curves) {
  const std::vector<std::string> names = columns(results);
  Notes notes;
  std::ostringstream out;
  out << "# Benchmarks\n\nMade by `tools/dev bench race`.\n\n" << method(results);
  out << "\nRatio: Daruma to the best of the others, or to what the row names; above 1 Daruma is ahead. Aim: what it "
         "has to be, **met** or not.\n";
  for (const Section& section : sections()) out << table(results, section, notes);
  const auto grown = [&](const Section& section) {
    return std::any_of(section.rows.begin(), section.rows.end(),
                       [&](const Row& row) { return only_grown(results, row); });
  };
  for (const Section& section : growth()) {
    if (!grown(section)) continue;
    out << table(results, section, notes);
    if (section.grows == kKeys)
      out << "\nStores loaded in the order of keys, settled and killed; a start with none of their pages cached, then "
             "operations on any of the keys with all pages cached.\n";
  }
  if (!curves.empty()) out << "\n![The same as curves](" << curves << ")\n";
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

}  // namespace race
