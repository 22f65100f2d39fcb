#include "tests/embedded/story.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>

extern char** environ;

namespace manta::embedded {
namespace {

constexpr auto kAwaitTimeout = seconds(20);

std::map<std::string, ScenarioFunction>& Scenarios() {
  static std::map<std::string, ScenarioFunction> scenarios;
  return scenarios;
}

std::string MakeDirectory() {
  std::string path = (std::filesystem::temp_directory_path() / "embedded-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) ADD_FAILURE() << "mkdtemp: " << std::strerror(errno);
  return path;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

// ------------------------------------------------------------------ files

std::string ReadFile(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char buffer[4096];
  for (ssize_t size = 0; fd >= 0 && (size = read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(size));
  if (fd >= 0) close(fd);
  return text;
}

void WriteFile(const std::string& path, const std::string& text) {
  const std::string draft = path + ".draft-" + std::to_string(getpid());
  std::ofstream(draft, std::ios::binary) << text;
  std::filesystem::rename(draft, path);  // whoever sees it sees all of it
}

void AppendLine(const std::string& path, const std::string& line) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string text = line + "\n";
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("append to " + path + ": " + std::strerror(errno));
  }
  close(fd);
}

std::vector<std::string> Lines(const std::string& path) {
  std::istringstream text(ReadFile(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

void AwaitFile(const std::string& path) {
  while (!Exists(path)) std::this_thread::sleep_for(milliseconds(1));
}

bool IsAlive(pid_t pid) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  const size_t close = stat.rfind(')');
  return close != std::string::npos && close + 2 < stat.size() && stat[close + 2] != 'Z';
}

std::string TailsOf(const std::string& directory) {
  constexpr size_t kShownBytesMax = 6000;
  std::string text;
  std::error_code ignored;
  for (auto entry = std::filesystem::recursive_directory_iterator(directory, ignored);
       entry != std::filesystem::recursive_directory_iterator(); entry.increment(ignored)) {
    const std::string content = entry->is_regular_file(ignored) ? ReadFile(entry->path().string()) : "";
    if (content.empty()) continue;
    text += "--- " + entry->path().string().substr(directory.size() + 1) + "\n" +
            content.substr(content.size() > kShownBytesMax ? content.size() - kShownBytesMax : 0) + "\n";
  }
  return text;
}

// ------------------------------------------------------------------ scenarios

bool RegisterScenario(const char* name, ScenarioFunction function) {
  return Scenarios().emplace(name, function).second;
}

std::optional<int> RunScenario(int argc, char** argv) {
  const std::string name = ArgumentOf(argc, argv, "scenario");
  if (name.empty()) return std::nullopt;
  const auto found = Scenarios().find(name);
  if (found == Scenarios().end()) {
    std::fprintf(stderr, "no scenario %s\n", name.c_str());
    return 99;
  }
  return found->second(argc, argv);
}

void Say(const std::string& line) {
  const std::string text = line + "\n";
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
}

std::string ArgumentOf(int argc, char** argv, const std::string& name) {
  const std::string flag = "--" + name + "=";
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).starts_with(flag)) return argv[i] + flag.size();
  }
  return "";
}

std::string Scenario::End::Describe() const {
  return exited ? "exited with status " + std::to_string(status) : "killed by signal " + std::to_string(signal);
}

Scenario::Scenario(const std::string& name, const std::string& directory, const std::vector<std::string>& args,
                   const std::vector<std::string>& environment) {
  std::vector<std::string> argv = {std::filesystem::read_symlink("/proc/self/exe").string(), "--scenario=" + name,
                                   "--dir=" + directory};
  argv.insert(argv.end(), args.begin(), args.end());
  Start(std::move(argv), directory + "/" + name, environment);
}

Scenario::Scenario(const std::vector<std::string>& argv, const std::string& directory,
                   const std::vector<std::string>& environment) {
  Start(argv, directory + "/" + std::filesystem::path(argv.at(0)).filename().string(), environment);
}

void Scenario::Start(std::vector<std::string> argv, const std::string& output_path,
                     const std::vector<std::string>& environment) {
  static int runs = 0;
  output_path_ = output_path + "-" + std::to_string(++runs) + ".output";
  std::vector<std::string> variables = environment;  // the first of a name counts
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error =
      posix_spawnp(&pid_, argv[0].c_str(), &actions, nullptr, Pointers(argv).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) ADD_FAILURE() << "start " << argv[0] << ": " << std::strerror(error);
}

Scenario::~Scenario() {
  if (pid_ == 0 || end_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string Scenario::output() const { return ReadFile(output_path_); }

std::string Scenario::Await(const std::string& word) {
  std::string rest;
  const bool said = Within(kAwaitTimeout, [&] {
    std::istringstream text(output());
    for (std::string line; std::getline(text, line);) {
      if (text.eof()) return false;  // not ended by a newline yet
      if (line.starts_with(word)) {
        rest = line.size() > word.size() ? line.substr(word.size() + 1) : "";
        return true;
      }
    }
    return false;
  });
  if (!said) ADD_FAILURE() << "the scenario never said '" << word << "' but:\n" << output() << Family::Describe();
  return rest;
}

void Scenario::Signal(int signal) const { kill(pid_, signal); }

Scenario::End Scenario::Join(milliseconds limit) {
  if (end_) return *end_;
  int status = 0;
  if (!Within(limit, [&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) {
    ADD_FAILURE() << "the scenario did not end; it said:\n" << output() << Family::Describe();
    kill(pid_, SIGKILL);
    waitpid(pid_, &status, 0);
  }
  end_ = End{};
  end_->exited = WIFEXITED(status);
  if (end_->exited) end_->status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end_->signal = WTERMSIG(status);
  return *end_;
}

// ------------------------------------------------------------------ the fixture

class EmbeddedTest::Deadline {
 public:
  explicit Deadline(seconds limit, std::function<std::string()> logs)
      : logs_(std::move(logs)), thread_([this, limit] { Watch(limit); }) {}
  ~Deadline() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void Watch(seconds limit) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (changed_.wait_for(lock, limit, [this] { return over_; })) return;
    std::fprintf(stderr,
                 "[  FAILED  ] the test's deadline of %lld s is over. Who is there:\n%s\nWhat the logs say:\n%s\n",
                 static_cast<long long>(limit.count()), Family::Describe().c_str(), logs_().c_str());
    if (std::getenv("EMBEDDED_TEST_GDB") != nullptr) {
      std::string command = "for p in " + std::to_string(getpid());
      for (const Relative& relative : Family::All()) command += " " + std::to_string(relative.pid);
      command += "; do gdb -p $p -batch -ex 'thread apply all bt' 1>&2; done";
      if (std::system(command.c_str()) != 0) std::fprintf(stderr, "gdb failed\n");
    }
    Family::KillAll();
    _exit(3);
  }

  const std::function<std::string()> logs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

EmbeddedTest::EmbeddedTest(seconds deadline) : directory_(MakeDirectory()) {
  run_directory_ = directory_ + "/run";
  log_directory_ = directory_ + "/logs";
  std::filesystem::create_directory(run_directory_);
  std::filesystem::create_directory(log_directory_);
  Family::Found();
  deadline_ = std::make_unique<Deadline>(deadline, [this] { return Logs(); });
}

EmbeddedTest::~EmbeddedTest() {
  deadline_.reset();
  if (HasFailure() && std::getenv("EMBEDDED_TEST_KEEP") != nullptr) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void EmbeddedTest::SetUp() { audit_ = std::make_unique<LeakAudit>(run_directory_); }

void EmbeddedTest::TearDown() {
  EndCluster();
  ExpectNothingLeft();
  if (HasFailure()) std::fprintf(stderr, "The cluster's logs:\n%s", Logs().c_str());
  Family::KillAll();
}

void EmbeddedTest::ExpectNothingLeft() {
  const std::string leaks = audit_->Leaks();
  EXPECT_TRUE(leaks.empty()) << "left behind:\n" << leaks;
}

std::vector<std::string> EmbeddedTest::WithDirectories(std::vector<std::string> flags) const {
  const auto add = [&flags](const std::string& name, const std::string& value) {
    const auto is_it = [&](const std::string& flag) { return flag.starts_with(name + "="); };
    if (std::none_of(flags.begin(), flags.end(), is_it)) flags.push_back(name + "=" + value);
  };
  add("--manta-run-dir", run_directory_);
  add("--manta-log-dir", log_directory_);
  add("--manta-num-cpus", "2");
  add("--manta-store-memory", "128MiB");
  return flags;
}

void EmbeddedTest::StartCluster(std::vector<std::string> flags, Options options) {
  std::vector<std::string> argv = WithDirectories(std::move(flags));
  argv.insert(argv.begin(), "embedded_test");
  options.handle_interrupt = false;  // its eventfd stays for the life of the process
  std::vector<char*> pointers = Pointers(argv);
  int argc = static_cast<int>(argv.size());
  runtime_.emplace(Init(argc, pointers.data(), options));
  EXPECT_EQ(argc, 1) << "Init left a flag of its own";
}

void EmbeddedTest::EndCluster() { runtime_.reset(); }

Scenario EmbeddedTest::Run(const std::string& name, const std::vector<std::string>& args,
                           const std::vector<std::string>& environment) {
  return Scenario(name, directory_, WithDirectories(args), environment);
}

std::string EmbeddedTest::Logs() const { return TailsOf(log_directory_); }

}  // namespace manta::embedded
