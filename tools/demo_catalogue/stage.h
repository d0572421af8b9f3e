// SPDX-License-Identifier: Apache-2.0
// What the audience sees: headings, sentences, a progress line, and the checks. Colours and the progress line only on a
// terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

std::string with_commas(std::uint64_t number);  ///< "63,666"
std::string milliseconds(std::int64_t ns);      ///< "6.3 ms"
std::string megabytes(std::uint64_t bytes);     ///< "50.2 MB"

class Stage {
 public:
  Stage();
  void act(std::string_view title);
  void say(std::string_view sentence);
  /// Another voice: the report as the library prints it.
  void quote(std::string_view text);
  /// The times, some to a line.
  void times(std::string_view title, const std::vector<std::int64_t>& ns);
  /// Replaces the last progress line; nothing where the output is no terminal.
  void progress(std::string_view line);
  /// Says whether it held and remembers when it did not.
  bool check(bool held, std::string_view what);
  [[nodiscard]] bool all_held() const { return failed_ == 0; }
  [[nodiscard]] unsigned checks() const { return checks_; }
  [[nodiscard]] unsigned failed() const { return failed_; }

 private:
  void print(std::string_view style, std::string_view text);
  void clear_progress();
  bool terminal_;
  bool colours_;
  bool progress_shown_ = false;
  unsigned acts_ = 0, checks_ = 0, failed_ = 0;
};

}  // namespace demo
