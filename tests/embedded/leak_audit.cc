#include "tests/embedded/leak_audit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "base/uv_event_loop.h"

namespace manta::embedded {
namespace {

constexpr char kMark[] = "EMBEDDED_TEST_FAMILY";
constexpr auto kLeakTimeout = std::chrono::seconds(2);

// Not by a stream: a process that ends meanwhile makes reads of its files fail.
std::string ReadAll(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char buffer[4096];
  for (ssize_t size = 0; fd >= 0 && (size = read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(size));
  if (fd >= 0) close(fd);
  return text;
}

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  if (DIR* open = opendir(directory.c_str())) {
    while (const dirent* entry = readdir(open)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    closedir(open);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string FirstLine(const std::string& path) {
  const std::string text = ReadAll(path);
  return text.substr(0, text.find('\n'));
}

// "pid (name) state parent ...": the name may hold anything, so look from behind.
std::optional<Relative> ReadRelative(pid_t pid) {
  const std::string stat = ReadAll("/proc/" + std::to_string(pid) + "/stat");
  const size_t open = stat.find('('), close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 4 > stat.size()) return std::nullopt;
  Relative found;
  found.pid = pid;
  found.name = stat.substr(open + 1, close - open - 1);
  found.state = stat[close + 2];
  found.parent = static_cast<pid_t>(std::atoi(stat.c_str() + close + 4));
  return found;
}

bool HasMark(pid_t pid, const std::string& mark) {
  const std::string environment = ReadAll("/proc/" + std::to_string(pid) + "/environ");
  return ('\0' + environment).find('\0' + mark + '\0') != std::string::npos;
}

bool IsOurs(const std::string& file) { return file.find("manta") != std::string::npos; }

template <class T>
std::string NotIn(const std::vector<T>& before, const std::vector<T>& after, const std::string& what) {
  std::vector<T> more;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(more));
  std::string text;
  for (const T& one : more) text += "  " + what + " " + one + "\n";
  return text;
}

}  // namespace

bool Within(std::chrono::milliseconds limit, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string Relative::Describe() const {
  return std::to_string(pid) + " (" + name + ", state " + state + ", parent " + std::to_string(parent) + ")";
}

void Family::Found() {
  const std::string mark =
      std::to_string(getpid()) + "-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count());
  setenv(kMark, mark.c_str(), 1);
}

std::vector<Relative> Family::All() {
  const char* const value = std::getenv(kMark);
  if (value == nullptr) return {};
  const std::string mark = std::string(kMark) + "=" + value;
  std::vector<Relative> found;
  for (const std::string& name : NamesIn("/proc")) {
    const pid_t pid = static_cast<pid_t>(std::atoi(name.c_str()));
    if (pid <= 0 || pid == getpid()) continue;
    std::optional<Relative> relative = ReadRelative(pid);
    if (!relative) continue;
    // A zombie's environment is gone: it counts if this process has to wait for it.
    if (relative->state == 'Z' ? relative->parent == getpid() : HasMark(pid, mark)) found.push_back(*relative);
  }
  return found;
}

std::vector<Relative> Family::Named(const std::string& prefix) {
  std::vector<Relative> found;
  for (const Relative& relative : All()) {
    if (relative.name.starts_with(prefix) && relative.state != 'Z') found.push_back(relative);
  }
  return found;
}

std::optional<Relative> Family::Node() {
  const std::vector<Relative> found = Named("manta-node");
  return found.empty() ? std::nullopt : std::optional<Relative>(found.front());
}

std::optional<Relative> Family::Zygote() {
  const std::vector<Relative> found = Named("manta-zygote");
  return found.empty() ? std::nullopt : std::optional<Relative>(found.front());
}

void Family::KillAll() {
  // Who is killed may have just started another.
  for (int rounds = 0; rounds < 100; ++rounds) {
    const std::vector<Relative> all = All();
    for (const Relative& relative : all) {
      if (relative.state != 'Z') kill(relative.pid, SIGKILL);
    }
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (all.empty()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::string Family::Describe() {
  std::string text;
  std::vector<Relative> all = All();
  if (const std::optional<Relative> self = ReadRelative(getpid())) all.insert(all.begin(), *self);
  for (const Relative& relative : all) {
    text += relative.Describe() + "\n";
    const std::string tasks = "/proc/" + std::to_string(relative.pid) + "/task";
    for (const std::string& task : NamesIn(tasks)) {
      text += "    " + FirstLine(tasks + "/" + task + "/comm") + ": " + FirstLine(tasks + "/" + task + "/wchan") +
              ", " + FirstLine(tasks + "/" + task + "/syscall").substr(0, 40) + "\n";
    }
  }
  return text;
}

LeakAudit::LeakAudit(std::string run_directory) : run_directory_(std::move(run_directory)), baseline_(Look()) {}

LeakAudit::Holdings LeakAudit::Look() const {
  // libuv makes one pipe per process with its first loop, and keeps it: it belongs to the baseline.
  static const base::UvEventLoop first_loop;
  Holdings found;
  for (const std::string& name : NamesIn("/proc/self/fd")) {
    std::error_code gone;  // the descriptor of the listing itself
    const std::string target = std::filesystem::read_symlink("/proc/self/fd/" + name, gone).string();
    if (!gone) found.descriptors[std::atoi(name.c_str())] = target;
  }
  std::istringstream maps(ReadAll("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:") != std::string::npos || line.find("/dev/shm/") != std::string::npos) {
      found.mappings.push_back(line);
    }
  }
  std::sort(found.mappings.begin(), found.mappings.end());
  for (const std::string& name : NamesIn("/dev/shm")) {
    if (IsOurs(name)) found.shared_memory_files.push_back(name);
  }
  if (!run_directory_.empty()) {
    std::error_code ignored;
    for (auto entry = std::filesystem::recursive_directory_iterator(run_directory_, ignored);
         entry != std::filesystem::recursive_directory_iterator(); entry.increment(ignored)) {
      found.run_files.push_back(entry->path().string());
    }
    std::sort(found.run_files.begin(), found.run_files.end());
  }
  return found;
}

std::string LeakAudit::Leaks() const {
  std::string difference;
  Within(kLeakTimeout, [&] {
    difference = Difference();
    return difference.empty();
  });
  return difference;
}

std::string LeakAudit::Difference() const {
  std::string text;
  for (const Relative& relative : Family::All()) text += "  process " + relative.Describe() + "\n";
  const Holdings now = Look();
  for (const auto& [number, target] : now.descriptors) {
    const auto before = baseline_.descriptors.find(number);
    if (before == baseline_.descriptors.end() || before->second != target) {
      text += "  descriptor " + std::to_string(number) + " " + target + "\n";
    }
  }
  text += NotIn(baseline_.mappings, now.mappings, "mapping");
  text += NotIn(baseline_.shared_memory_files, now.shared_memory_files, "shared memory");
  text += NotIn(baseline_.run_files, now.run_files, "file");
  return text;
}

}  // namespace manta::embedded
