// SPDX-License-Identifier: Apache-2.0
//
// top: a store at work, anew each second, from what its process tells of itself.
//
// What must stay true: the terminal is given back as it was, however the command ends; no line is wider than the
// window, so that none wraps; without a terminal there is one frame of plain text.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>

#include "base/clock.h"
#include "kvctl/live.h"

namespace daruma::kvctl {

namespace {

volatile std::sig_atomic_t ended_by = 0;
volatile std::sig_atomic_t resized = 0;

extern "C" void on_end(int signal) { ended_by = signal; }
extern "C" void on_resize(int) { resized = 1; }

struct Window {
  std::size_t columns = 80;
  std::size_t rows = 1000;
};

Window window() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

/// The other screen, without a cursor and without echo; destroyed, all is as before.
class Screen {
 public:
  Screen() {
    keys_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keys_) {
      termios raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    struct sigaction end {};
    end.sa_handler = on_end;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &end, nullptr);
    struct sigaction resize {};
    resize.sa_handler = on_resize;
    ::sigaction(SIGWINCH, &resize, nullptr);
    (void)write_out("\x1b[?1049h\x1b[?25l");
  }
  ~Screen() {
    (void)write_out("\x1b[?25h\x1b[?1049l");
    (void)flush_out();
    if (keys_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  /// Waits; false when somebody wants to leave.
  [[nodiscard]] bool rest(int milliseconds) const {
    const std::int64_t until = system_clock().monotonic_ns() + std::int64_t{milliseconds} * 1'000'000;
    while (ended_by == 0 && resized == 0) {
      const std::int64_t left = (until - system_clock().monotonic_ns()) / 1'000'000;
      if (left <= 0) break;
      pollfd key{keys_ ? STDIN_FILENO : -1, POLLIN, 0};
      if (::poll(&key, 1, static_cast<int>(left)) <= 0) continue;
      char c = 0;
      if (::read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q' || c == 3) return false;
    }
    resized = 0;
    return ended_by == 0;
  }

 private:
  termios before_{};
  bool keys_ = false;
};

/// Of two views, a second each.
struct Rates {
  double events = 0, checkpoints = 0, compacted = 0;
};

std::optional<Rates> rates(const std::optional<Live>& before, const Live& now) {
  if (!before || before->metrics.start_number != now.metrics.start_number) return std::nullopt;
  const double seconds = static_cast<double>(now.metrics.wall_ns - before->metrics.wall_ns) / 1e9;
  if (seconds <= 0) return std::nullopt;
  const auto a = [&](std::uint64_t StoreStats::*member) {
    const std::uint64_t from = before->metrics.stats.*member;
    const std::uint64_t to = now.metrics.stats.*member;
    return to <= from ? 0 : static_cast<double>(to - from) / seconds;
  };
  return Rates{a(&StoreStats::sequence), a(&StoreStats::checkpoints), a(&StoreStats::compacted_bytes)};
}

std::string bar(double part, std::size_t cells) {
  const auto full = static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * static_cast<double>(cells) + 0.5);
  return "[" + std::string(full, '#') + std::string(cells - full, '.') + "]";
}

std::vector<std::string> frame(const Context& context, const Live& live, const std::optional<Rates>& rate) {
  const Metrics& m = live.metrics;
  const StoreStats& s = m.stats;
  const RecoveryDebt& debt = m.health.debt;
  const HealthLevel level = m.health.level;
  const auto per_second = [&](double n, bool bytes) {
    if (!rate) return std::string("-");
    return bytes ? bytes_text(static_cast<std::uint64_t>(n)) + "/s" : fmt::format("{:.1f}/s", n);
  };
  std::vector<std::string> lines;
  lines.push_back(fmt::format("kvctl top  {}  {}", encode(Encoding::kEscaped, context.directory), age_text(live)));
  lines.push_back(fmt::format("health   {}  reads {}  writes {}", health_level_name(level),
                              m.health.reads.ok() ? "served" : "served but for lost keys",
                              m.health.writes.ok() ? "accepted" : "refused"));
  for (const HealthCheck& check : m.health.checks) {
    if (!check.cause.ok())
      lines.push_back(fmt::format("  {}: {}", check.name, encode(Encoding::kEscaped, check.cause.message())));
  }
  lines.push_back(fmt::format("batches  {:>12}  {:>14}   durable to {}, snapshot to {}", count_text(s.sequence),
                              per_second(rate ? rate->events : 0, false), s.durable_sequence, s.snapshot_sequence));
  lines.push_back(fmt::format("memory   {:>12}  log {}  runs {} in {} files", bytes_text(s.memtable_bytes),
                              bytes_text(s.log_bytes), bytes_text(s.run_bytes), count_text(s.runs)));
  lines.push_back(fmt::format("work     {:>12} checkpoints {}  {} compactions, {} written {}", s.checkpoints,
                              per_second(rate ? rate->checkpoints : 0, false), s.compactions,
                              bytes_text(s.compacted_bytes), per_second(rate ? rate->compacted : 0, true)));
  const double part =
      debt.budget_ns > 0 ? static_cast<double>(debt.estimated_ns) / static_cast<double>(debt.budget_ns) : 0;
  lines.push_back(fmt::format("debt     {:>12} of {}  {}  {} to replay", duration_text(debt.estimated_ns),
                              duration_text(debt.budget_ns), bar(part, 20), bytes_text(debt.replay_bytes)));
  const RecoveryHistory& h = m.recoveries;
  lines.push_back(fmt::format("lives    {:>12}  mean recovery {}, {:.1f} % well, {} losses block reads", h.starts,
                              duration_text(h.starts_time().mean_ns()), h.success_ratio() * 100, s.damage));
  for (const ComponentInfo& c : m.components) {
    if (c.breaker != "closed" || !c.last.ok())
      lines.push_back(fmt::format("  {} {}: {}", c.name, c.breaker, encode(Encoding::kEscaped, c.last.message())));
  }
  lines.emplace_back("");
  lines.push_back(fmt::format("{:<24} {:>12} {:>12} {:>6} {:>12} {:>8} {:>7}", "keyspace", "entries", "memory", "runs",
                              "run bytes", "refused", "damage"));
  std::vector<const KeyspaceMetrics*> busiest;
  for (const KeyspaceMetrics& k : m.keyspaces) busiest.push_back(&k);
  std::stable_sort(busiest.begin(), busiest.end(), [](const KeyspaceMetrics* a, const KeyspaceMetrics* b) {
    return a->stats.memtable_bytes > b->stats.memtable_bytes;
  });
  for (const KeyspaceMetrics* k : busiest) {
    std::string name = encode(Encoding::kEscaped, k->name);
    if (name.size() > 24) name = name.substr(0, 23) + "~";
    lines.push_back(fmt::format("{:<24} {:>12} {:>12} {:>6} {:>12} {:>8} {:>7}", name,
                                count_text(k->stats.entries + k->stats.memtable_entries),
                                bytes_text(k->stats.memtable_bytes), count_text(k->stats.runs),
                                bytes_text(k->stats.run_bytes), count_text(k->stats.refused), k->stats.damage));
  }
  if (s.keyspaces > m.keyspaces.size()) lines.push_back(fmt::format("and {} more", s.keyspaces - m.keyspaces.size()));
  return lines;
}

/// The first `columns` characters.
std::string cut(const std::string& line, std::size_t columns) {
  std::size_t at = 0;
  for (std::size_t n = 0; n < columns && at < line.size(); ++n) at += std::max<std::size_t>(1, utf8_length(line, at));
  return line.substr(0, at);
}

Result<Outcome> top(Context& context, bool once) {
  DARUMA_TRY(context.check_directory());
  const bool terminal = !once && !context.json && !context.ndjson && ::isatty(STDOUT_FILENO) == 1;
  if (!terminal) {
    DARUMA_TRY_ASSIGN(const Live live, look(context));
    Outcome outcome;
    outcome.judged = true;
    outcome.json["metrics"] = Json::parse(live.metrics.to_json(), nullptr, false);
    put_live(outcome.json, live);
    for (const std::string& line : frame(context, live, std::nullopt)) outcome.text += line + "\n";
    return outcome;
  }
  Outcome outcome;
  outcome.streamed = outcome.judged = true;
  {
    const Screen screen;
    std::optional<Live> last;      // as shown
    std::optional<Live> previous;  // the view before it, for rates
    std::optional<Rates> rate;
    do {
      // Without a writer nothing happens in the store: it is not opened again and again.
      const auto live = read_live(context.directory);
      const Window size = window();
      std::vector<std::string> lines;
      if (live.ok()) {
        if (!last || last->number != live->number) {
          previous = last;
          rate = rates(previous, *live);
        }
        last = *live;
        lines = frame(context, *live, rate);
      } else {
        lines = {fmt::format("kvctl top  {}", encode(Encoding::kEscaped, context.directory)), live.status().message()};
      }
      std::string text = "\x1b[H";
      for (std::size_t i = 0; i < lines.size() && i + 1 < size.rows; ++i) {
        std::string line = cut(lines[i], size.columns);
        if (i == 1 && live.ok()) {
          const HealthLevel level = live->metrics.health.level;
          line = context.paint(level == HealthLevel::kHealthy       ? "green"
                               : level == HealthLevel::kMaintenance ? "yellow"
                                                                    : "red",
                               line);
        }
        text += line + "\x1b[K\r\n";
      }
      text += cut("q ends it", size.columns) + "\x1b[K\x1b[J";
      (void)write_out(text);
      if (Status written = flush_out(); !written.ok()) {
        outcome.error = written;
        break;
      }
    } while (screen.rest(1000));
  }
  if (ended_by == SIGTERM || ended_by == SIGHUP) outcome.exit = 128 + ended_by;
  return outcome;
}

}  // namespace

void register_top(CLI::App& app, Context& context) {
  auto once = std::make_shared<bool>(false);
  CLI::App* command = add_command(app, context, "top", "A store at work, anew each second; q or Ctrl-C ends it",
                                  [once](Context& c) { return top(c, *once); });
  command->add_flag("--once", *once, "One frame, as without a terminal");
  command->footer("Examples:\n  kvctl -d orders top\n  kvctl -d orders top --once");
}

}  // namespace daruma::kvctl
