#include "tools/bench/family.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace manta::bench {

std::set<pid_t> FamilyOf(const std::set<pid_t>& roots) {
  std::map<pid_t, pid_t> parent_of;
  DIR* const proc = opendir("/proc");
  while (const dirent* entry = readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    std::ifstream stat("/proc/" + std::string(entry->d_name) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos) continue;
    std::istringstream fields(text.substr(after_name + 2));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    parent_of[pid] = parent;
  }
  closedir(proc);
  std::set<pid_t> family = roots;
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, parent] : parent_of) {
      if (family.count(parent) != 0) grown |= family.insert(pid).second;
    }
  }
  return family;
}

double CpuSeconds(const std::set<pid_t>& family) {
  double ticks = 0;
  for (const pid_t pid : family) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos) continue;
    std::istringstream fields(text.substr(after_name + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) fields >> skip;
    double user = 0, system = 0;
    fields >> user >> system;
    ticks += user + system;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double PssMiB(const std::set<pid_t>& family) {
  double kib = 0;
  for (const pid_t pid : family) {
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      if (line.rfind("Pss:", 0) == 0) kib += std::atof(line.c_str() + 4);
    }
  }
  return kib / 1024;
}

}  // namespace manta::bench
