// LeakAudit finds what a test's cluster has left behind: processes, descriptors, mappings, files.
//
// Problem:    processes of other tests run beside ours, ours change their parents when one in between dies, and nobody
// may be
//             counted twice or forgotten. So a test marks its environment, which all its descendants inherit: the
//             family.
// Threads:    externally synchronised.
// See:        FAULTS: "a leak audit equals the baseline within 2 s"
#ifndef MANTA_TESTS_EMBEDDED_LEAK_AUDIT_H_
#define MANTA_TESTS_EMBEDDED_LEAK_AUDIT_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace manta::embedded {

// Looks every few milliseconds until `holds` or `limit` is over; whether it holds.
bool Within(std::chrono::milliseconds limit, const std::function<bool()>& holds);

// One descendant of this process, dead parents in between or not. Zombies count: nobody has waited for them.
struct Relative {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';  // of /proc/<pid>/stat
  std::string name;  // "manta-node", "manta-zygote", "manta-n1.p2", or what the program is called
  std::string Describe() const;
};

class Family {
 public:
  // Marks this process's environment, from now on; REQUIRES: no thread of ours reads it meanwhile.
  static void Found();
  static std::vector<Relative> All();
  static std::vector<Relative> Named(const std::string& prefix);
  static std::vector<Relative> Workers() { return Named("manta-n1."); }
  static std::optional<Relative> Node();
  static std::optional<Relative> Zygote();
  static void KillAll();
  // Every thread of every relative: what it waits for in the kernel. For a test that does not end.
  static std::string Describe();
};

class LeakAudit {
 public:
  // Notes the baseline. `run_directory` must be empty again at the end; "": none is looked at.
  explicit LeakAudit(std::string run_directory);
  // What is there beyond the baseline, 2 s after it could have gone at the latest; empty: nothing.
  std::string Leaks() const;

 private:
  struct Holdings {
    std::map<int, std::string> descriptors;        // number -> what it is
    std::vector<std::string> mappings;             // of memfds and shared memory
    std::vector<std::string> shared_memory_files;  // of ours, in /dev/shm
    std::vector<std::string> run_files;
  };
  Holdings Look() const;
  std::string Difference() const;

  const std::string run_directory_;
  const Holdings baseline_;
};

}  // namespace manta::embedded

#endif  // MANTA_TESTS_EMBEDDED_LEAK_AUDIT_H_
