// SPDX-License-Identifier: Apache-2.0
//
// compare A B: what changed from one result to another, both of Google Benchmark (--benchmark_out=FILE
// --benchmark_repetitions=5) or both of the race (--results=FILE).
//
// What must stay true: a difference within the spread is said to be none. It counts only where every sample of one side
// is better than every sample of the other, and each side has three.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

struct Samples {
  std::vector<double> values;
  bool more_is_better = false;
};
using Measured = std::map<std::string, Samples>;

constexpr std::size_t kEnough = 3;

Measured of_benchmark(const json& all) {
  Measured out;
  for (const json& one : all.at("benchmarks")) {
    if (one.value("run_type", "iteration") != "iteration" || one.contains("error_occurred")) continue;
    const std::string name = one.at("name");
    // Processor time stays what it is while others are at work; what waits or has threads asks for real time itself.
    const bool real = name.find("/real_time") != std::string::npos;
    out[name].values.push_back(one.at(real ? "real_time" : "cpu_time"));
  }
  return out;
}

Measured of_race(const json& all) {
  Measured out;
  for (const json& one : all.at("outcomes")) {
    for (const auto& [figure, value] : one.at("figures").items()) {
      if (figure == "load" || figure.starts_with("limit")) continue;
      const std::string store = one.at("store"), trial = one.at("trial");
      Samples& samples = out[store + " " + trial + " " + figure];
      samples.values.push_back(value);
      samples.more_is_better = figure.starts_with("rate");
    }
  }
  return out;
}

Measured read(const char* path) {
  std::ifstream in(path);
  const json all = json::parse(in, nullptr, false);
  if (!all.is_object() || !(all.contains("benchmarks") || all.contains("outcomes"))) {
    std::fprintf(stderr, "compare: %s is of neither Google Benchmark nor the race\n", path);
    std::exit(2);
  }
  Measured out = all.contains("benchmarks") ? of_benchmark(all) : of_race(all);
  for (auto& [name, samples] : out) std::sort(samples.values.begin(), samples.values.end());
  return out;
}

double median(const std::vector<double>& sorted) {
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/// How many times as good B is, at least and at most; and in words.
void tell(const std::string& name, const Samples& a, const Samples& b) {
  const auto times = [&](double of_a, double of_b) { return a.more_is_better ? of_b / of_a : of_a / of_b; };
  double least = times(a.values.front(), b.values.back()), most = times(a.values.back(), b.values.front());
  if (least > most) std::swap(least, most);
  const char* words = "none";
  if (a.values.size() < kEnough || b.values.size() < kEnough)
    words = "none: too few samples";
  else if (least > 1)
    words = "better";
  else if (most < 1)
    words = "worse";
  std::printf("%-60s %12.4g %12.4g  %6.3f (%.3f to %.3f)  %s\n", name.c_str(), median(a.values), median(b.values),
              times(median(a.values), median(b.values)), least, most, words);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("compare A B: files of --benchmark_out or of the race's --results\n", stderr);
    return 2;
  }
  const Measured before = read(argv[1]), after = read(argv[2]);
  std::printf("%-60s %12s %12s  %s\n", "", "A", "B", "B is so many times as good (range)  difference");
  for (const auto& [name, samples] : after) {
    if (const auto found = before.find(name); found != before.end())
      tell(name, found->second, samples);
    else
      std::printf("%-60s only in B\n", name.c_str());
  }
  for (const auto& [name, samples] : before) {
    if (!after.contains(name)) std::printf("%-60s only in A\n", name.c_str());
  }
}
