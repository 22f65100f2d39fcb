// Objects: writing them, and reading them in place.
#include <manta/manta.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>

#include "base/memfd.h"
#include "base/socket.h"
#include "tools/bench/bench.h"

namespace manta::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kPutBytes = 64 * kMiB;
constexpr size_t kGetBytes = 1024 * kMiB;

// Shared memory whose pages are in memory.
base::Mapping WarmSharedMemory(size_t bytes) {
  auto fd = base::CreateSealedMemfd("manta-bench", bytes);
  if (!fd.ok()) throw std::runtime_error("memfd");
  auto mapping = base::Mapping::Map(fd->get(), bytes, base::Mapping::Access::kReadWrite);
  if (!mapping.ok()) throw std::runtime_error("mmap");
  std::memset(mapping->mutable_data(), 1, bytes);
  return *std::move(mapping);
}

std::vector<Sample> Put64MiB(const Context& context) {
  constexpr int kPuts = 8;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  const std::vector<float> values(kPutBytes / sizeof(float), 1.5F);
  base::Mapping warm = WarmSharedMemory(kPutBytes);
  for (int i = 0; i < 4; ++i) {
    auto ref = Put(values);  // makes and warms the segments that later ones recycle
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  constexpr double kGiB = static_cast<double>(kPutBytes) / (1024.0 * kMiB);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const Stopwatch put_watch;
    for (int k = 0; k < kPuts; ++k) auto ref = Put(values);
    const double put = kPuts * kGiB / put_watch.seconds();
    const Stopwatch copy_watch;
    for (int k = 0; k < kPuts; ++k) std::memcpy(warm.mutable_data(), values.data(), kPutBytes);
    samples.push_back({put, kPuts * kGiB / copy_watch.seconds()});
  }
  return samples;
}

// In a worker that has not mapped it: the time of the first Get of 1 GiB, after a pause; then of a full read.
struct FirstGet {
  double get_us = 0;
  double read_gib_per_s = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(get_us, read_gib_per_s);
  }
};
FirstGet GetOnce(ObjectRef<Tensor> ref) {
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  const Stopwatch watch;
  const Tensor view = Get(ref);
  volatile float first = view.data<float>()[0];
  FirstGet result;
  result.get_us = watch.micros();
  const Stopwatch read_watch;
  uint64_t sum = static_cast<uint64_t>(first);
  const auto* words = reinterpret_cast<const uint64_t*>(view.data<float>());
  for (size_t i = 0; i < kGetBytes / 8; ++i) sum += words[i];
  volatile uint64_t keep = sum;
  (void)keep;
  result.read_gib_per_s = 1.0 / read_watch.seconds();
  return result;
}
class Reader {
 public:
  FirstGet Read(ObjectRef<Tensor> ref) { return GetOnce(std::move(ref)); }
};

// Ask a sleeping process for a descriptor over a unix socket, map 1 GiB, read one byte.
double RawHandOverMicros(int memfd) {
  auto pair = base::SocketPair(base::SocketKind::kSeqPacket, false);
  if (!pair.ok()) throw std::runtime_error("socketpair");
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    if (read(pair->second.get(), &byte, 1) == 1) (void)base::SendWithFds(pair->second.get(), {&byte, 1}, {&memfd, 1});
    _exit(0);
  }
  pair->second.reset();  // what the child fails to send is an end, not a wait
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  const Stopwatch watch;
  char byte = 1;
  if (write(pair->first.get(), &byte, 1) != 1) throw std::runtime_error("write");
  auto received = base::RecvWithFds(pair->first.get(), {&byte, 1});
  if (!received.ok() || received->fds.size() != 1) throw std::runtime_error("no descriptor");
  void* const at = mmap(nullptr, kGetBytes, PROT_READ, MAP_SHARED, received->fds[0].get(), 0);
  volatile char first = *static_cast<const char*>(at);
  (void)first;
  const double micros = watch.micros();
  munmap(at, kGetBytes);
  waitpid(child, nullptr, 0);
  return micros;
}

std::vector<Sample> Get1GiB(const Context& context) {
  Context copy = context;
  Options options;
  options.store_memory_bytes = 2 * kGetBytes;
  auto runtime = Init(copy.argc, copy.argv, options);
  Tensor tensor = Create<float>({kGetBytes / sizeof(float)});
  std::memset(tensor.mutable_data<float>(), 0, kGetBytes);
  const ObjectRef<Tensor> ref = Put(tensor);
  auto fd = base::CreateSealedMemfd("hand-over", kGetBytes);
  if (!fd.ok()) throw std::runtime_error("memfd");
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    auto reader = Actor<Reader>().NumCpus(0).Remote();  // a process that has not mapped it
    const FirstGet got = Get(reader.Call<&Reader::Read>().Remote(ref));
    std::fprintf(stderr, "get_1gib: first full read %.2f GiB/s\n", got.read_gib_per_s);
    samples.push_back({got.get_us, RawHandOverMicros(fd->get())});
  }
  return samples;
}

}  // namespace

void AddObjectBenchmarks(std::vector<Benchmark>* all) {
  all->push_back({"put_64mib", "GiB/s", "memcpy into warm shared memory", true, Put64MiB});
  all->push_back({"get_1gib", "us", "a descriptor from a sleeping process, mapped, one byte read", false, Get1GiB});
}

}  // namespace manta::bench
