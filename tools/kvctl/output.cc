// SPDX-License-Identifier: Apache-2.0
// What kvctl writes: stdout through one buffer that notices a closed or full pipe, text for people, the progress bar.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>

#include "kvctl/command.h"

namespace daruma::kvctl {

namespace {

constexpr std::size_t kBufferBytes = 64 << 10;

struct Out {
  std::string buffer;
  Status failed;
};
Out& out() {
  static Out instance;
  return instance;
}

bool write_all(int fd, std::string_view bytes, int& error) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      error = errno;
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

/// Columns on a terminal, near enough for aligning: characters, not bytes.
std::size_t width(std::string_view text) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < text.size(); ++n) i += std::max<std::size_t>(1, utf8_length(text, i));
  return n;
}

}  // namespace

Status write_out(std::string_view bytes) {
  if (!out().failed.ok()) return out().failed;
  out().buffer += bytes;
  return out().buffer.size() < kBufferBytes ? Status() : flush_out();
}

Status flush_out() {
  if (!out().failed.ok()) return out().failed;
  int error = 0;
  if (!write_all(STDOUT_FILENO, out().buffer, error)) {
    out().failed = error == EPIPE ? Status(Code::kAborted, "whoever read stdout has gone")
                                  : Status(Code::kIoError, fmt::format("cannot write to stdout: {}", strerror(error)));
  }
  out().buffer.clear();
  return out().failed;
}

void say(std::string_view line) {
  std::string whole(line);
  whole.push_back('\n');
  int error = 0;
  write_all(STDERR_FILENO, whole, error);  // there is nowhere left to complain
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::detail::error_handler_t::replace);
}

std::string count_text(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string plural(std::uint64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count_text(n), n == 1 ? one : many);
}

std::string bytes_text(std::uint64_t n) {
  if (n < 1024) return fmt::format("{} B", n);
  double value = static_cast<double>(n);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB", "PiB"}) {
    if (value < 1023.95) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

std::string duration_text(std::int64_t nanoseconds) {
  const auto n = static_cast<double>(nanoseconds);
  if (std::abs(n) < 1e3) return fmt::format("{} ns", nanoseconds);
  if (std::abs(n) < 1e6) return fmt::format("{:.1f} us", n / 1e3);
  if (std::abs(n) < 1e9) return fmt::format("{:.1f} ms", n / 1e6);
  if (std::abs(n) < 120e9) return fmt::format("{:.2f} s", n / 1e9);
  return fmt::format("{:.0f} min", n / 60e9);
}

std::string time_text(std::int64_t wall_nanoseconds) {
  const auto seconds = static_cast<std::time_t>(wall_nanoseconds / 1'000'000'000);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "?";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string table_text(const Context& context, const std::vector<std::vector<std::string>>& rows,
                       const std::vector<std::size_t>& right) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      if (i > 0) line += "  ";
      const std::string pad(widths[i] - width(rows[r][i]), ' ');
      const bool number = std::find(right.begin(), right.end(), i) != right.end();
      line += number ? pad + rows[r][i] : rows[r][i] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += (r == 0 ? context.paint("bold", line) : line) + "\n";
  }
  return text;
}

bool Context::colour() const {
  if (color != Toggle::kAuto) return color == Toggle::kAlways;
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

std::string Context::paint(std::string_view style, std::string_view text) const {
  const char* code = style == "bold"     ? "1"
                     : style == "dim"    ? "2"
                     : style == "red"    ? "31"
                     : style == "green"  ? "32"
                     : style == "yellow" ? "33"
                                         : nullptr;
  if (code == nullptr || !colour()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

bool Context::show_progress() const {
  if (progress != Toggle::kAuto) return progress == Toggle::kAlways;
  return !quiet && ::isatty(STDERR_FILENO) == 1;
}

void Progress::at(std::uint64_t done, std::uint64_t total, std::string_view unit) {
  if (!on_) return;
  const std::int64_t now = now_ns();
  if (began_ns_ == 0) began_ns_ = last_ns_ = now;
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const std::int64_t pause = !terminal ? 5'000'000'000 : drawn_ ? 100'000'000 : 500'000'000;
  if (now - last_ns_ < pause) return;
  last_ns_ = now;

  const double seconds = static_cast<double>(now - began_ns_) / 1e9;
  const double rate = static_cast<double>(done) / seconds;
  const auto amount = [&](double n) {
    const auto whole = static_cast<std::uint64_t>(n);
    return unit == "bytes" ? bytes_text(whole) : fmt::format("{} {}", count_text(whole), unit);
  };
  std::string line = what_ + "  ";
  if (total > 0) {
    const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(part * 24);
    line += fmt::format("[{:#<{}}{:.<{}}] {:3.0f} %  ", "", filled, "", 24 - filled, part * 100);
    if (rate > 0 && done < total) {
      const double left = static_cast<double>(total - done) / rate;
      line += fmt::format("{} left  ", duration_text(static_cast<std::int64_t>(left * 1e9)));
    }
  }
  line += fmt::format("{}  {}/s", amount(static_cast<double>(done)), amount(rate));
  if (!terminal) return say(line);
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && line.size() >= size.ws_col) {
    line.resize(size.ws_col - 1);
  }
  int error = 0;
  write_all(STDERR_FILENO, "\r\x1b[K" + line, error);
  drawn_ = true;
}

void Progress::clear() {
  int error = 0;
  if (drawn_) write_all(STDERR_FILENO, "\r\x1b[K", error);
  drawn_ = false;
}

}  // namespace daruma::kvctl
