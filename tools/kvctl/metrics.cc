// SPDX-License-Identifier: Apache-2.0
//
// metrics: what is worth watching, as Prometheus reads it, as JSON, or against the targets; and a server of it.
//
// What must stay true of the server: it listens on the loopback unless told otherwise in so many words; one request at
// a time, each bounded in bytes and in time, and none, however malformed, ends it; it takes no lock, so that watching
// a store never keeps it from starting.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/clock.h"
#include "kvctl/live.h"

namespace daruma::kvctl {

namespace {

struct MetricsOptions {
  std::string listen;
  bool insecure_bind = false;
  bool targets = false;
};

// --- targets ---------------------------------------------------------------------------------------------------------

struct Target {
  std::string name;
  std::string now;
  std::string target;  ///< what such systems are held to
  std::string ours;    ///< what this one is held to
  bool met = true;
  bool ours_met = true;
};

std::string percent(double ratio) { return fmt::format("{:.2f} %", ratio * 100); }

/// docs/monitoring.md says why these.
std::vector<Target> targets_of(const Metrics& m) {
  const RecoveryHistory& h = m.recoveries;
  const RecoveryDebt& debt = m.health.debt;
  constexpr std::int64_t kMinute = 60'000'000'000;
  const std::int64_t mttr = h.starts_time().mean_ns();
  const double reach = std::max({m.blast_radius.keyspace_ratio(), m.blast_radius.entry_ratio()});
  return {
      {"mttr", duration_text(mttr), "< 5 min", fmt::format("<= {} (recovery budget)", duration_text(debt.budget_ns)),
       mttr < 5 * kMinute, mttr <= debt.budget_ns},
      {"recovery success", percent(h.success_ratio()), "> 95 %", ">= 99.9 %", h.success_ratio() > 0.95,
       h.success_ratio() >= 0.999},
      {"blast radius", percent(reach), "< 10 %", "< 1 %", reach < 0.10, reach < 0.01},
      {"recovery debt", duration_text(debt.estimated_ns), "< 1 h",
       fmt::format("<= {} (recovery budget)", duration_text(debt.budget_ns)), debt.estimated_ns < 60 * kMinute,
       debt.estimated_ns <= debt.budget_ns},
      {"false positives", percent(h.false_positive_ratio()), "< 5 %", "< 1 %", h.false_positive_ratio() < 0.05,
       h.false_positive_ratio() < 0.01},
  };
}

Json targets_json(const std::vector<Target>& targets) {
  Json all = Json::array();
  for (const Target& t : targets) {
    all.push_back({{"name", t.name},
                   {"now", t.now},
                   {"target", t.target},
                   {"met", t.met},
                   {"ours", t.ours},
                   {"ours_met", t.ours_met}});
  }
  return all;
}

std::string causes_text(const Context& context, const char* head, const std::vector<RecoveriesOf>& all) {
  if (all.empty()) return "";
  std::vector<std::vector<std::string>> rows{{head, "how many", "mean", "failed", "needless"}};
  for (const RecoveriesOf& each : all) {
    rows.push_back({encode(Encoding::kEscaped, each.cause), count_text(each.time.count()),
                    duration_text(each.time.mean_ns()), count_text(each.failed), count_text(each.needless)});
  }
  return table_text(context, rows, {1, 2, 3, 4});
}

std::string targets_text(const Context& context, const std::vector<Target>& targets, const Live& live) {
  std::vector<std::vector<std::string>> rows{{"metric", "now", "target", "met", "ours", "met"}};
  const auto met = [&](bool yes) { return context.paint(yes ? "green" : "red", yes ? "yes" : "no"); };
  for (const Target& t : targets) rows.push_back({t.name, t.now, t.target, met(t.met), t.ours, met(t.ours_met)});
  const RecoveryHistory& h = live.metrics.recoveries;
  return table_text(context, rows, {1}) + causes_text(context, "start after", h.by_cause) +
         causes_text(context, "incident", h.incidents) +
         fmt::format("since {}, {} starts; {}\n", time_text(h.since_wall_ns), count_text(h.starts), age_text(live));
}

// --- the server ------------------------------------------------------------------------------------------------------

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  const int fd_;
};

constexpr std::size_t kRequestBytesMax = 8192;
constexpr std::int64_t kRequestNs = 2'000'000'000;  // to ask, and as long again to take the answer

/// Waits until `fd` can be read or written, but not beyond `deadline_ns`.
bool wait_for(int fd, short events, std::int64_t deadline_ns) {
  for (;;) {
    const std::int64_t left = deadline_ns - system_clock().monotonic_ns();
    if (left <= 0) return false;
    pollfd asked{fd, events, 0};
    const int n = ::poll(&asked, 1, static_cast<int>(left / 1'000'000) + 1);
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

/// The request line; empty: there was none in time, or none in as many bytes as there may be.
std::string read_request(int fd) {
  const std::int64_t deadline = system_clock().monotonic_ns() + kRequestNs;
  std::string request;
  char buffer[1024];
  while (request.find("\r\n\r\n") == std::string::npos && request.find("\n\n") == std::string::npos) {
    if (request.size() >= kRequestBytesMax || !wait_for(fd, POLLIN, deadline)) return "";
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return "";
    request.append(buffer, static_cast<std::size_t>(n));
  }
  return request.substr(0, request.find_first_of("\r\n"));
}

void send_all(int fd, std::string_view bytes) {
  const std::int64_t deadline = system_clock().monotonic_ns() + kRequestNs;
  while (!bytes.empty() && wait_for(fd, POLLOUT, deadline)) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

struct Answer {
  int status = 200;
  std::string_view reason = "OK";
  std::string_view type = "text/plain; charset=utf-8";
  std::string body{};
};

/// Ready is who tells of itself and serves.
Answer healthz(const std::string& directory) {
  const auto live = read_live(directory);
  if (!live.ok()) return {.status = 503, .reason = "Service Unavailable", .body = live.status().message() + "\n"};
  const Health& health = live->metrics.health;
  std::string body = fmt::format("{}\n", health_level_name(health.level));
  for (const HealthCheck& check : health.checks) {
    if (!check.cause.ok())
      body += fmt::format("{}: {}\n", check.name, encode(Encoding::kEscaped, check.cause.message()));
  }
  if (live->stale()) body = age_text(*live) + "\n";
  if (live->stale() || health.level == HealthLevel::kCritical)
    return {.status = 503, .reason = "Service Unavailable", .body = std::move(body)};
  return {.body = std::move(body)};
}

Answer answer(const std::string& directory, std::string_view line, bool& head) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1."))
    return {.status = 400, .reason = "Bad Request", .body = "this is no HTTP/1 request\n"};
  const std::string_view method = line.substr(0, first);
  head = method == "HEAD";
  if (method != "GET" && !head) return {.status = 405, .reason = "Method Not Allowed", .body = "GET or HEAD\n"};
  std::string_view target = line.substr(first + 1, second - first - 1);
  target = target.substr(0, target.find('?'));
  if (target == "/metrics")
    return {.type = "text/plain; version=0.0.4; charset=utf-8", .body = exposition_of(directory)};
  if (target == "/healthz") return healthz(directory);
  if (target == "/") return {.body = "/metrics\n/healthz\n"};
  return {.status = 404, .reason = "Not Found", .body = "/metrics and /healthz\n"};
}

void serve_one(int fd, const std::string& directory) {
  bool head = false;
  const Answer a = answer(directory, read_request(fd), head);
  std::string reply = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
                                  a.status, a.reason, a.type, a.body.size());
  if (a.status == 405) reply += "Allow: GET, HEAD\r\n";
  reply += "\r\n";
  if (!head) reply += a.body;
  send_all(fd, reply);
  ::shutdown(fd, SHUT_WR);
  char rest[1024];  // what was not read would make the kernel drop the answer
  for (std::size_t taken = 0; taken < kRequestBytesMax;) {
    if (!wait_for(fd, POLLIN, system_clock().monotonic_ns() + kRequestNs / 20)) break;
    const ssize_t n = ::recv(fd, rest, sizeof rest, MSG_DONTWAIT);
    if (n <= 0) break;
    taken += static_cast<std::size_t>(n);
  }
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  bool loopback = false;
};

std::optional<Address> parse_address(std::string text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stopped != end) return std::nullopt;
  text.resize(colon);
  Address address;
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (text == "localhost") text = "127.0.0.1";
  if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    std::memcpy(&address.bytes, &four, address.size = sizeof four);
    address.loopback = ntohl(four.sin_addr.s_addr) >> 24 == 127;
    return address;
  }
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  if (::inet_pton(AF_INET6, text.substr(1, text.size() - 2).c_str(), &six.sin6_addr) != 1) return std::nullopt;
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  std::memcpy(&address.bytes, &six, address.size = sizeof six);
  address.loopback = IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
  return address;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  sockaddr_in four{};  // the port stands at the same place in both
  std::memcpy(&four, &bound, sizeof four);
  return ntohs(four.sin_port);
}

Status listen_for_ever(Context& context, const MetricsOptions& options) {
  const std::optional<Address> address = parse_address(options.listen);
  if (!address) {
    return context.fail(kExitUsage, {Code::kInvalidArgument,
                                     "--listen takes ADDRESS:PORT in numbers",
                                     {},
                                     "--listen 127.0.0.1:9187, --listen [::1]:9187"});
  }
  if (!address->loopback && !options.insecure_bind) {
    return context.fail(kExitRefused,
                        {Code::kAborted,
                         "that address can be reached from other machines, and nobody is asked who they are",
                         {},
                         "--insecure-bind does it all the same; a proxy in front of the loopback is better"});
  }
  DARUMA_TRY(context.check_directory());
  const auto failed = [&](const char* doing) {
    return Status(Code::kIoError, fmt::format("cannot {} {}: {}", doing, options.listen, strerror(errno)));
  };
  const Socket listening(::socket(address->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (listening.fd() < 0) return failed("make a socket for");
  (void)::setsockopt(listening.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listening.fd(), reinterpret_cast<const sockaddr*>(&address->bytes), address->size) != 0)
    return failed("bind");
  if (::listen(listening.fd(), 16) != 0) return failed("listen on");
  if (!context.quiet)
    say(fmt::format("kvctl: /metrics and /healthz on port {} until it is killed", port_of(listening.fd())));
  for (;;) {
    const Socket one(::accept4(listening.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (one.fd() >= 0) {
      serve_one(one.fd(), context.directory);
    } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
      return failed("accept on");
    } else if (errno != EINTR && errno != ECONNABORTED) {
      (void)::poll(nullptr, 0, 100);  // no descriptors, or no memory, for now
    }
  }
}

Result<Outcome> metrics(Context& context, const MetricsOptions& options) {
  if (!options.listen.empty()) return listen_for_ever(context, options);
  DARUMA_TRY_ASSIGN(const Live live, look(context));
  const std::vector<Target> targets = targets_of(live.metrics);
  Outcome outcome;
  outcome.judged = true;
  outcome.json["metrics"] = Json::parse(live.metrics.to_json(), nullptr, false);
  outcome.json["targets"] = targets_json(targets);
  put_live(outcome.json, live);
  outcome.text = options.targets ? targets_text(context, targets, live) : exposition(live);
  const bool met = std::all_of(targets.begin(), targets.end(), [](const Target& t) { return t.met && t.ours_met; });
  if (options.targets && !met) outcome.exit = kExitNegative;
  if (!options.targets) outcome.notes.push_back(age_text(live));
  return outcome;
}

}  // namespace

void register_metrics(CLI::App& app, Context& context) {
  auto options = std::make_shared<MetricsOptions>();
  CLI::App* command = add_command(app, context, "metrics", "What is worth watching, as Prometheus reads it",
                                  [options](Context& c) { return metrics(c, *options); });
  command->add_flag("--targets", options->targets, "A table for people: what recoveries came to, against the targets");
  command->add_option("--listen", options->listen, "Serve /metrics and /healthz until killed; port 0: any")
      ->type_name("ADDRESS:PORT");
  command->add_flag("--insecure-bind", options->insecure_bind, "With --listen: any address, not only the loopback");
  command->footer(
      "Examples:\n  kvctl -d orders metrics\n  kvctl -d orders metrics --targets\n"
      "  kvctl -d orders metrics --listen 127.0.0.1:9187\n"
      "Beside a writer it tells what that process told last, at most some seconds ago. Exit code 1: with --targets, "
      "one\n"
      "is missed.");
}

}  // namespace daruma::kvctl
