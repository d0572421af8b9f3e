// SPDX-License-Identifier: Apache-2.0
//
// kvctl metrics, top, budget, and health and status beside a writer, as processes. What must stay true: a view of a
// process that is gone is believed by nobody; the server answers whatever it is sent, and takes no lock; promtool
// accepts the text and the rules.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <regex>

#include "kvctl_testing.h"

namespace daruma {
namespace {

namespace fs = std::filesystem;
using kvctl_test::Json;
using kvctl_test::Ran;
using kvctl_test::small;
using testing::HasSubstr;
using testing::Not;

class KvctlMetrics : public kvctl_test::KvctlTest {
 protected:
  ~KvctlMetrics() override { kill_writer(); }
  /// A process that writes and lives until it is killed.
  void begin_writer() {
    writer_ = ::fork();
    if (writer_ != 0) return;
    auto opened = Store::open(path("a"), small());
    if (!opened.ok()) ::_exit(1);
    Store& store = opened->store;
    const auto made = store.create_keyspace("default");
    const Keyspace k = made.ok() ? *made : *store.keyspace("default");
    for (int i = 0;; ++i) {
      if (!store.put(k, "key" + std::to_string(i % 1000), std::string(100, 'v')).ok()) ::_exit(2);
      ::usleep(2000);
    }
  }
  void kill_writer() {
    if (writer_ <= 0) return;
    ::kill(writer_, SIGKILL);
    ::waitpid(writer_, nullptr, 0);
    writer_ = 0;
  }
  /// What kvctl tells of the writer once it has told of itself; the test's own time limit ends it.
  [[nodiscard]] Json health_of_writer() const {
    for (;;) {
      const Ran ran = kvctl({"--json", "health", "--level", "critical"});
      const Json json = ran.json();
      if (json.contains("age_ns") && json["age_ns"].is_number()) return json;
      EXPECT_EQ(ran.exit, 3) << ran.out << ran.err;
      if (ran.exit != 3) return json;
      ::usleep(20'000);
    }
  }
  void build() const {
    Store store = open();
    const Keyspace k = *store.create_keyspace("default");
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(store.put(k, "key" + std::to_string(i), "value").ok());
  }
  pid_t writer_ = 0;
};

bool has_promtool() { return std::system("promtool --version >/dev/null 2>&1") == 0; }

int promtool(const std::string& arguments, const std::string& input) {
  const std::string command = "promtool " + arguments + " >&2";
  FILE* const tool = ::popen(command.c_str(), "w");
  if (tool == nullptr) return -1;
  ::fwrite(input.data(), 1, input.size(), tool);
  const int status = ::pclose(tool);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The value of a sample, by its name with labels.
std::string sample(const std::string& text, const std::string& name) {
  const std::size_t at = ("\n" + text).find("\n" + name + " ");
  if (at == std::string::npos) return "";
  const std::size_t from = at + name.size() + 1;
  return text.substr(from, text.find('\n', from) - from);
}

TEST_F(KvctlMetrics, TellsWhatPrometheusReadsAndChangesNothing) {
  build();
  ASSERT_EQ(kvctl({"get", "key1"}).exit, 0);
  ASSERT_EQ(kvctl({"put", "key1", "again"}).exit, 0);
  const auto before = state();
  const Ran ran = kvctl({"--recovery-budget", "1h", "metrics"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(sample(ran.out, "daruma_starts_total"), "2");
  EXPECT_EQ(sample(ran.out, "daruma_recovery_duration_seconds_count{cause=\"kill\"}"), "1") << ran.out;
  EXPECT_EQ(sample(ran.out, "daruma_live"), "0");
  EXPECT_EQ(sample(ran.out, "daruma_recovery_success_ratio"), "1");
  EXPECT_THAT(ran.err, HasSubstr("no writer"));
  const Ran targets = kvctl({"--recovery-budget", "1h", "metrics", "--targets"});
  EXPECT_EQ(targets.exit, 0) << targets.out;
  EXPECT_THAT(targets.out, HasSubstr("recovery success"));
  const Json json = kvctl({"--json", "--recovery-budget", "1h", "metrics"}).json();
  EXPECT_EQ(json["schema"], "kvctl.metrics/1");
  EXPECT_EQ(json["metrics"]["recoveries"]["starts"], 2);
  EXPECT_EQ(json["targets"].size(), 5U);
  EXPECT_TRUE(state() == before);
}

TEST_F(KvctlMetrics, PromtoolAcceptsTextAndRules) {
  if (!has_promtool()) GTEST_SKIP() << "promtool is not installed (package prometheus)";
  build();
  ASSERT_EQ(kvctl({"keyspace", "create", "odd \"\\ name"}).exit, 0);
  const Ran ran = kvctl({"metrics"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(promtool("check metrics", ran.out), 0);
  EXPECT_NE(promtool("check metrics", ran.out + "daruma_live{ 1\n"), 0) << "it does look";
  EXPECT_EQ(promtool("check rules " DARUMA_SOURCE_DIR "/docs/monitoring/daruma.rules.yml", ""), 0);
}

TEST_F(KvctlMetrics, BesideAWriterEveryoneTellsWhatItTold) {
  begin_writer();
  const Json health = health_of_writer();
  EXPECT_EQ(health["level"], "healthy") << health;
  EXPECT_EQ(health["writer"], "process " + std::to_string(writer_));
  EXPECT_TRUE(health["writes"].is_null()) << "a writer knows whether it takes writes";
  EXPECT_TRUE(health["incidents"].is_array());
  const Ran metrics = kvctl({"metrics"});
  EXPECT_EQ(metrics.exit, 0) << metrics.err;
  EXPECT_EQ(sample(metrics.out, "daruma_live"), "1");
  EXPECT_EQ(sample(metrics.out, "daruma_keyspaces"), "1");
  EXPECT_THAT(metrics.err, HasSubstr(" ago"));
  const Json status = kvctl({"--json", "status"}).json();
  EXPECT_EQ(status["live"]["level"], "healthy") << status;
  EXPECT_GE(status["live"]["sequence"], 1);
  const Ran top = kvctl({"top", "--once"});
  EXPECT_EQ(top.exit, 0) << top.err;
  EXPECT_THAT(top.out, HasSubstr("health   healthy"));
  EXPECT_THAT(top.out, HasSubstr("default"));
  EXPECT_THAT(top.out, Not(HasSubstr("\x1b"))) << "no terminal, no colours";
}

TEST_F(KvctlMetrics, NobodyBelievesAViewOfAProcessThatIsGone) {
  begin_writer();
  (void)health_of_writer();
  ::kill(writer_, SIGSTOP);
  const std::string view = read(path("a") + "/recoveries/live.json");
  ::kill(writer_, SIGCONT);
  kill_writer();
  EXPECT_TRUE(fs::exists(path("a") + "/recoveries/live.json")) << "a kill leaves it";
  const Json alone = kvctl({"--json", "--recovery-budget", "1h", "health"}).json();
  EXPECT_FALSE(alone.contains("age_ns")) << "looked at for itself";
  EXPECT_EQ(sample(kvctl({"metrics"}).out, "daruma_live"), "0");

  // Another process takes the lock; the view beside it is of the one before, or forged.
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const int fd = ::open((path("a") + "/lock").c_str(), O_RDWR);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    std::string text = std::to_string(::getpid()) + "\n";
    text.insert(0, 20 - text.size(), ' ');
    if (::fcntl(fd, F_OFD_SETLK, &whole) != 0 || ::pwrite(fd, text.data(), text.size(), 0) != 20) ::_exit(1);
    (void)!::write(go[1], "g", 1);
    for (;;) ::pause();
  }
  char word = 0;
  ASSERT_EQ(::read(go[0], &word, 1), 1);
  const auto expect_unknown = [&](const char* why) {
    const Ran ran = kvctl({"--json", "health"});
    EXPECT_EQ(ran.exit, 3) << why << ran.out;
    EXPECT_FALSE(ran.json().contains("age_ns")) << why;
    EXPECT_EQ(ran.json()["damage"]["blocking"], 0) << "what the files tell";
    EXPECT_TRUE(ran.json()["incidents"].is_array());
    EXPECT_EQ(kvctl({"metrics"}).exit, 3) << why;
  };
  expect_unknown("of the process before");
  const auto write = [&](const std::string& text) {
    std::ofstream(path("a") + "/recoveries/live.json", std::ios::binary | std::ios::trunc) << text;
  };
  const std::regex whose("\"holder\":\"[0-9]+\"");
  const std::string mine = std::regex_replace(view, whose, "\"holder\":\"" + std::to_string(holder) + "\"");
  ::usleep(50'000);  // of file times, whose clock ticks
  write(mine);
  const Ran believed = kvctl({"--json", "health"});
  EXPECT_TRUE(believed.json().contains("age_ns"))
      << "what the test stands on: this one would be believed" << believed.out;
  write(std::regex_replace(mine, std::regex("\"boot\":\"[^\"]*\""), "\"boot\":\"another\""));
  expect_unknown("of another boot");
  write(mine.substr(0, mine.size() / 2));
  expect_unknown("cut off");
  write(std::regex_replace(mine, std::regex("\"published_wall_ns\":[0-9]+"), "\"published_wall_ns\":1000"));
  const Ran old = kvctl({"--json", "health"});
  EXPECT_EQ(old.exit, 3) << "its supervisor may hang" << old.out;
  EXPECT_TRUE(old.json().contains("age_ns"));
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  ::close(go[0]);
  ::close(go[1]);
}

// --- the server ---

class Server {
 public:
  explicit Server(const std::vector<std::string>& words) {
    int err[2];
    EXPECT_EQ(::pipe(err), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(err[1], STDERR_FILENO);
      std::vector<char*> argv;
      std::string program = DARUMA_KVCTL;
      argv.push_back(program.data());
      std::vector<std::string> copies = words;
      for (std::string& word : copies) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(err[1]);
    std::string line;
    for (char c = 0; ::read(err[0], &c, 1) == 1 && c != '\n';) line.push_back(c);
    ::close(err[0]);
    std::smatch match;
    EXPECT_TRUE(std::regex_search(line, match, std::regex("port ([0-9]+)"))) << line;
    if (!match.empty()) port_ = static_cast<std::uint16_t>(std::stoi(match[1]));
  }
  ~Server() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] bool lives() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
  [[nodiscard]] int connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  [[nodiscard]] std::string ask(const std::string& request) const {
    const int fd = connect();
    (void)!::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    std::string reply;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
      reply.append(buffer, static_cast<std::size_t>(n));
    ::close(fd);
    return reply;
  }
  [[nodiscard]] std::string get(const std::string& target) const {
    return ask("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

 private:
  pid_t pid_ = 0;
  std::uint16_t port_ = 0;
};

TEST_F(KvctlMetrics, TheServerAnswersWhateverItIsSent) {
  begin_writer();
  (void)health_of_writer();
  const Server server({"-d", path("a"), "metrics", "--listen", "127.0.0.1:0"});
  const std::string reply = server.get("/metrics");
  EXPECT_THAT(reply, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  const std::string body = reply.substr(reply.find("\r\n\r\n") + 4);
  EXPECT_EQ(sample(body, "daruma_live"), "1");
  if (has_promtool()) { EXPECT_EQ(promtool("check metrics", body), 0); }
  EXPECT_THAT(server.get("/healthz"), HasSubstr("\r\n\r\nhealthy\n"));
  EXPECT_THAT(server.get("/healthz?x=y"), HasSubstr(" 200 "));
  EXPECT_THAT(server.get("/nothing"), HasSubstr(" 404 "));
  EXPECT_THAT(server.ask("HEAD /metrics HTTP/1.0\r\n\r\n"), testing::EndsWith("\r\n\r\n"));
  EXPECT_THAT(server.ask("POST /metrics HTTP/1.1\r\n\r\n"), HasSubstr(" 405 "));
  for (const std::string& bad :
       {std::string("\r\n\r\n"), std::string("GET\r\n\r\n"), std::string("GET /metrics\n\n"),
        std::string(1, '\0') + "\n\n", "GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n\r\n",
        std::string("GET /metrics HTTP/9.9\r\n\r\n"), std::string("\xff\xfe\x00\x01 / HTTP/1.1\n\n", 17)}) {
    EXPECT_THAT(server.ask(bad), testing::AnyOf(HasSubstr(" 400 "), HasSubstr(" 405 "))) << bad.substr(0, 40);
  }
  {  // One that says nothing, and one that goes away in the middle, keep nobody waiting for long.
    const int silent = server.connect();
    const int gone = server.connect();
    (void)!::send(gone, "GET /met", 8, MSG_NOSIGNAL);
    ::close(gone);
    EXPECT_THAT(server.get("/healthz"), HasSubstr(" 200 "));
    ::close(silent);
  }
  kill_writer();
  EXPECT_THAT(server.get("/healthz"), HasSubstr(" 503 "));
  const std::string alone = server.get("/metrics");
  EXPECT_THAT(alone, HasSubstr("\ndaruma_live 0\n"));
  EXPECT_THAT(alone, HasSubstr("\ndaruma_starts_total 1\n"));
  EXPECT_THAT(alone, Not(HasSubstr("daruma_health_level"))) << "nobody knows";
  EXPECT_EQ(kvctl({"put", "a", "b"}).exit, 0) << "it holds no lock";
  EXPECT_TRUE(server.lives());
}

TEST_F(KvctlMetrics, TheServerStaysOnTheLoopback) {
  build();
  EXPECT_EQ(kvctl({"metrics", "--listen", "0.0.0.0:0"}).exit, 9);
  EXPECT_EQ(kvctl({"metrics", "--listen", "[::]:0"}).exit, 9);
  for (const char* bad : {"9187", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999", "example.org:80", "[::1:80", ":80"})
    EXPECT_EQ(kvctl({"metrics", "--listen", bad}).exit, 2) << bad;
  const Server server({"-d", path("a"), "metrics", "--listen", "0.0.0.0:0", "--insecure-bind"});
  EXPECT_THAT(server.get("/"), HasSubstr("/healthz"));
}

// --- top ---

/// kvctl on a terminal of the given size, until `wanted` has been seen; then `keys` are pressed. All that it wrote.
std::string on_terminal(const std::string& store, unsigned short rows, unsigned short columns,
                        const std::string& wanted, const std::string& keys, int& exit) {
  winsize size{rows, columns, 0, 0};
  int terminal = -1;
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    ::execl(DARUMA_KVCTL, DARUMA_KVCTL, "-d", store.c_str(), "top", nullptr);
    ::_exit(127);
  }
  std::string seen;
  char buffer[4096];
  bool pressed = false;
  for (ssize_t n = 0; (n = ::read(terminal, buffer, sizeof buffer)) > 0;) {
    seen.append(buffer, static_cast<std::size_t>(n));
    if (pressed || seen.find(wanted) == std::string::npos) continue;
    pressed = true;
    size = {3, 7, 0, 0};  // and is made small meanwhile
    ::ioctl(terminal, TIOCSWINSZ, &size);
    (void)!::write(terminal, keys.data(), keys.size());
  }
  ::close(terminal);
  int status = 0;
  ::waitpid(pid, &status, 0);
  exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return seen;
}

TEST_F(KvctlMetrics, TopFitsItsTerminalAndGivesItBack) {
  begin_writer();
  (void)health_of_writer();
  for (const auto& [columns, keys] : std::vector<std::pair<unsigned short, std::string>>{{100, "q"}, {24, "\x03"}}) {
    int exit = -1;
    const std::string seen = on_terminal(path("a"), 30, columns, "keyspace", keys, exit);
    EXPECT_EQ(exit, 0) << "columns " << columns;
    EXPECT_THAT(seen, HasSubstr("\x1b[?1049h"));
    EXPECT_THAT(seen, testing::EndsWith("\x1b[?25h\x1b[?1049l")) << "the screen is given back";
    EXPECT_THAT(seen, HasSubstr("health"));
    const std::string plain = std::regex_replace(seen, std::regex("\x1b\\[[0-9;?]*[A-Za-z]"), "");
    std::istringstream lines(plain);
    for (std::string line; std::getline(lines, line);) {
      while (line.ends_with('\r')) line.pop_back();  // the terminal adds one
      EXPECT_LE(line.size(), columns) << line;
    }
  }
}

// --- the error budget ---

TEST_F(KvctlMetrics, TheBudgetCountsWhatTheRecorderTells) {
  build();
  const auto before = state();
  const Json fresh = kvctl({"--json", "budget"}).json();
  EXPECT_EQ(fresh["used_ns"], 0) << fresh;
  EXPECT_TRUE(state() == before);
  ::usleep(300'000);
  ASSERT_EQ(kvctl({"put", "a", "b"}).exit, 0);
  const Ran ran = kvctl({"--json", "budget", "--window", "1h", "--allowed", "99%"});
  EXPECT_EQ(ran.exit, 0) << ran.out;
  const Json json = ran.json();
  EXPECT_EQ(json["budget_ns"], 36'000'000'000);
  std::map<std::string, std::int64_t> by;
  for (const Json& each : json["by_cause"])
    by[each["what"].get<std::string>() + " " + each["cause"].get<std::string>()] = each["ns"];
  EXPECT_GE(by["down kill"], 200'000'000) << json << "from the last sign of life of the process before";
  EXPECT_GT(by["recovery kill"], 0) << json;
  EXPECT_EQ(json["used_ns"], by["down kill"] + by["recovery kill"]);
  EXPECT_EQ(json["left_ns"], 36'000'000'000 - json["used_ns"].get<std::int64_t>());
  const Json without = kvctl({"--json", "budget", "--recovery-only"}).json();
  EXPECT_EQ(without["used_ns"], by["recovery kill"]);
  const Ran exhausted = kvctl({"--json", "budget", "--window", "1h", "--allowed", "99.99999%"});
  EXPECT_EQ(exhausted.exit, 8) << exhausted.out;
  EXPECT_GT(exhausted.json()["burn_rate"], 1);
  EXPECT_EQ(kvctl({"budget", "--allowed", "100%"}).exit, 8) << "nothing is allowed";
  for (const char* bad : {"often", "0%", "-1", "101%", "99.9x"})
    EXPECT_EQ(kvctl({"budget", "--allowed", bad}).exit, 2) << bad;
  EXPECT_EQ(kvctl({"budget", "--window", "0s"}).exit, 2);
  EXPECT_EQ(kvctl({"budget"}, "", "nowhere").exit, 2);
}

TEST_F(KvctlMetrics, AnIncidentThatRefusesUsesTheBudgetUntilItIsOver) {
  build();
  ASSERT_EQ(kvctl({"put", "a", "b"}).exit, 0);
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const auto incident = [&](int number, const char* failure, std::int64_t began, std::int64_t ended, std::int64_t over,
                            const char* outcome) {
    char id[32];
    std::snprintf(id, sizeof id, "i-%016d", number);
    const Json json{{"id", id},
                    {"failure", failure},
                    {"component", "log"},
                    {"cause", {{"code", "io_error"}, {"message", "m"}, {"file", ""}, {"hint", ""}}},
                    {"began_wall_ns", began},
                    {"ended_wall_ns", ended},
                    {"over_wall_ns", over},
                    {"steps", Json::array()},
                    {"outcome", outcome}};
    std::ofstream(path("a") + "/recoveries/incident-" + id + ".json") << json;
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  incident(1, "log_down", now - 1000 * kSecond, now - 990 * kSecond, 0, "resolved");
  incident(2, "no_space", now - 995 * kSecond, now - 994 * kSecond, now - 980 * kSecond, "escalated");  // over together
  incident(3, "worker_failing", now - 900 * kSecond, now - 500 * kSecond, 0, "resolved");  // refuses nothing
  const Json json = kvctl({"--json", "budget", "--recovery-only", "--window", "2h"}).json();
  std::map<std::string, std::int64_t> by;
  for (const Json& each : json["by_cause"]) by[each["cause"]] += each["ns"].get<std::int64_t>();
  EXPECT_EQ(by["log_down"], 10 * kSecond) << json;
  EXPECT_EQ(by["no_space"], 10 * kSecond) << "no moment counts twice";
  EXPECT_FALSE(by.contains("worker_failing"));
}

}  // namespace
}  // namespace daruma
