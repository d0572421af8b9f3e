// SPDX-License-Identifier: Apache-2.0
#include "demo_catalogue/stage.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace demo {
namespace {

constexpr std::string_view kBold = "\033[1m";
constexpr std::string_view kDim = "\033[2m";
constexpr std::string_view kGreen = "\033[32m";
constexpr std::string_view kRed = "\033[1;31m";
constexpr std::string_view kReset = "\033[0m";
constexpr std::size_t kTimesPerLine = 12;

std::string one_decimal(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", number);
  return text;
}

}  // namespace

std::string with_commas(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}
std::string milliseconds(std::int64_t ns) { return one_decimal(static_cast<double>(ns) / 1e6) + " ms"; }
std::string megabytes(std::uint64_t bytes) { return one_decimal(static_cast<double>(bytes) / 1e6) + " MB"; }

Stage::Stage() : terminal_(::isatty(STDOUT_FILENO) == 1) {
  const char* term = std::getenv("TERM");
  colours_ = terminal_ && !std::getenv("NO_COLOR") && term && std::string_view(term) != "dumb";
}

void Stage::print(std::string_view style, std::string_view text) {
  clear_progress();
  if (colours_ && !style.empty()) std::printf("%s", std::string(style).c_str());
  std::printf("%.*s", static_cast<int>(text.size()), text.data());
  if (colours_ && !style.empty()) std::printf("%s", std::string(kReset).c_str());
  std::fflush(stdout);
}

void Stage::clear_progress() {
  if (progress_shown_) std::printf("\r\033[K");
  progress_shown_ = false;
}

void Stage::act(std::string_view title) {
  print(kBold, "\n" + std::to_string(++acts_) + "  " + std::string(title) + "\n");
}

void Stage::say(std::string_view sentence) { print({}, "   " + std::string(sentence) + "\n"); }

void Stage::quote(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    print(kDim, "   | " + std::string(text.substr(at, end - at)) + "\n");
    at = end + 1;
  }
}

void Stage::times(std::string_view title, const std::vector<std::int64_t>& ns) {
  say(title);
  for (std::size_t at = 0; at < ns.size(); at += kTimesPerLine) {
    std::string line = "   ";
    for (std::size_t i = at; i < std::min(ns.size(), at + kTimesPerLine); ++i) {
      const std::string number = one_decimal(static_cast<double>(ns[i]) / 1e6);
      line += std::string(number.size() < 7 ? 7 - number.size() : 1, ' ') + number;
    }
    print({}, line + "\n");
  }
}

void Stage::progress(std::string_view line) {
  if (!terminal_) return;
  std::printf("\r\033[K   %.*s", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
  progress_shown_ = true;
}

bool Stage::check(bool held, std::string_view what) {
  ++checks_;
  failed_ += !held;
  print(held ? kGreen : kRed, held ? "   ok      " : "   FAILED  ");
  print({}, std::string(what) + "\n");
  return held;
}

}  // namespace demo
