// AllReduce: two members on one machine, beside what copying the same bytes takes, and beside OpenMPI.
#include <manta/manta.h>
#include <manta/ml/process_group.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tools/bench/bench.h"

extern const char kMpiAllreduceSource[];  // peers/mpi_allreduce.c; made by the build

namespace manta::bench {
namespace {

constexpr size_t kMiB = 1 << 20;

// Repeats of one measurement: some 0.1 s.
int RepeatsOf(size_t bytes) { return bytes <= kMiB ? 300 : 12; }

class Member {
 public:
  Member(const ml::ProcessGroup& group, uint64_t rank) : all_(group.Join(rank)) {}

  // The median time of one, in ms.
  double AllReduceMillis(uint64_t bytes, int repeats, ml::Algorithm algorithm) {
    std::vector<float> values(bytes / sizeof(float), 0);
    return MedianMillis(repeats, [&] { all_.AllReduce(std::span<float>(values), ml::Reduction::kSum, algorithm); });
  }
  // The same of a tensor that others may read: it lies in the store, sealed, and so does the result.
  double SealedMillis(uint64_t bytes, int repeats) {
    const Tensor values = Create<float>({int64_t(bytes / sizeof(float))});
    const auto ref = Put(values);
    return MedianMillis(repeats, [&] { (void)all_.AllReduce(values); });
  }

 private:
  template <class Function>
  double MedianMillis(int repeats, Function function) {
    std::vector<double> millis;
    for (int i = -repeats / 4 - 1; i < repeats; ++i) {
      all_.Barrier();
      const Stopwatch watch;
      function();
      if (i >= 0) millis.push_back(watch.millis());
    }
    return Median(std::move(millis));
  }

  ml::Communicator all_;
};

// A group of actors; as many as a benchmark wants.
class Members {
 public:
  explicit Members(size_t count) {
    const auto group = ml::ProcessGroup::Create({.members = count});
    for (size_t rank = 0; rank < count; ++rank) {
      members_.push_back(Actor<Member>().NumCpus(0).Remote(group, uint64_t(rank)));
    }
  }
  double AllReduceMillis(size_t bytes, ml::Algorithm algorithm = ml::Algorithm::kAuto) {
    std::vector<ObjectRef<double>> millis;
    for (auto& member : members_) {
      millis.push_back(member.Call<&Member::AllReduceMillis>().Remote(uint64_t(bytes), RepeatsOf(bytes), algorithm));
    }
    return Get(millis)[0];
  }
  double SealedMillis(size_t bytes) {
    std::vector<ObjectRef<double>> millis;
    for (auto& member : members_) {
      millis.push_back(member.Call<&Member::SealedMillis>().Remote(uint64_t(bytes), RepeatsOf(bytes)));
    }
    return Get(millis)[0];
  }

 private:
  std::vector<ActorHandle<Member>> members_;
};

// Copying that many bytes in memory, in one thread.
double MemcpyMillis(size_t bytes) {
  std::vector<char> from(bytes, 1), to(bytes);
  std::vector<double> millis;
  for (int i = -2; i < RepeatsOf(bytes); ++i) {
    from[0] = static_cast<char>(i);
    const Stopwatch watch;
    std::memcpy(to.data(), from.data(), bytes);
    if (i >= 0 && to[0] == from[0]) millis.push_back(watch.millis());
  }
  return Median(std::move(millis));
}

// What a command prints; nothing if it fails.
std::optional<std::string> OutputOf(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 256> buffer;
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) text += buffer.data();
  if (pclose(pipe) != 0) return std::nullopt;
  return text;
}

// OpenMPI's program, compiled in a directory that goes with this object; none without mpicc and mpirun.
class MpiPeer {
 public:
  MpiPeer() {
    char name[] = "/tmp/manta-bench-XXXXXX";
    if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp failed");
    directory_ = name;
    std::ofstream(directory_ / "mpi_allreduce.c") << kMpiAllreduceSource;
    const std::string program = (directory_ / "mpi_allreduce").string();
    is_there_ = OutputOf("command -v mpirun 2>/dev/null").has_value() &&
                OutputOf("mpicc -O2 " + program + ".c -o " + program + " 2>/dev/null").has_value();
    if (!is_there_) std::fprintf(stderr, "no OpenMPI here (mpicc, mpirun): its figure is absent\n");
  }
  ~MpiPeer() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::optional<double> AllReduceMillis(size_t bytes) const {
    if (!is_there_) return std::nullopt;
    const auto text = OutputOf("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -np 2 " +
                               (directory_ / "mpi_allreduce").string() + " " + std::to_string(bytes) + " " +
                               std::to_string(RepeatsOf(bytes)) + " 2>/dev/null");
    if (!text) throw std::runtime_error("mpirun failed");
    return std::stod(*text) * 1e3;
  }

 private:
  std::filesystem::path directory_;
  bool is_there_ = false;
};

std::vector<Sample> BesideMemcpy(const Context& context, size_t bytes, ml::Algorithm algorithm = ml::Algorithm::kAuto,
                                 size_t count = 2) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Members members(count);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    samples.push_back({members.AllReduceMillis(bytes, algorithm), MemcpyMillis(bytes)});
  }
  return samples;
}

// A tensor of the store that is sealed, beside values of one's own.
std::vector<Sample> SealedBesideOwn(const Context& context, size_t bytes) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Members members(2);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    samples.push_back({members.SealedMillis(bytes), members.AllReduceMillis(bytes)});
  }
  return samples;
}

std::vector<Sample> BesideMpi(const Context& context, size_t bytes) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Members members(2);
  const MpiPeer peer;
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    samples.push_back({members.AllReduceMillis(bytes), peer.AllReduceMillis(bytes)});
  }
  return samples;
}

}  // namespace

void AddCollectiveBenchmarks(std::vector<Benchmark>* all) {
  constexpr const char* kMemcpy = "memcpy of as many bytes, one thread";
  constexpr const char* kMpi = "OpenMPI's MPI_Allreduce, 2 ranks, same run";
  auto beside_memcpy = [&](const char* name, size_t bytes, ml::Algorithm algorithm, size_t count) {
    all->push_back({name, "ms", kMemcpy, false,
                    [=](const Context& context) { return BesideMemcpy(context, bytes, algorithm, count); }});
  };
  auto beside_mpi = [&](const char* name, size_t bytes) {
    all->push_back({name, "ms", kMpi, false, [=](const Context& context) { return BesideMpi(context, bytes); }});
  };
  beside_memcpy("allreduce_64kib", 64 << 10, ml::Algorithm::kAuto, 2);
  beside_memcpy("allreduce_1mib", kMiB, ml::Algorithm::kAuto, 2);
  beside_memcpy("allreduce_25mib", 25 * kMiB, ml::Algorithm::kAuto, 2);
  beside_memcpy("allreduce_64mib", 64 * kMiB, ml::Algorithm::kAuto, 2);
  beside_memcpy("allreduce_1mib_x4", kMiB, ml::Algorithm::kAuto, 4);
  beside_memcpy("allreduce_25mib_ring", 25 * kMiB, ml::Algorithm::kRing, 2);
  all->push_back({"allreduce_25mib_sealed", "ms", "the same of values of one's own, in place", false,
                  [](const Context& context) { return SealedBesideOwn(context, 25 * kMiB); }});
  beside_mpi("allreduce_1mib_mpi", kMiB);
  beside_mpi("allreduce_64mib_mpi", 64 * kMiB);
}

}  // namespace manta::bench
