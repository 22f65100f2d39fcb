// sim_hash checks that a seed is a run: the same trace hash twice here, and the same under every compiler and
// sanitizer.
//
//   sim_hash GOLDEN_FILE              50 seeds, each twice, compared with the file
//   sim_hash GOLDEN_FILE --update     writes the file anew: after any change of a core, a message, or the simulator
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "tests/sim/world.h"

namespace {

using namespace manta;
using namespace manta::sim;

constexpr uint64_t kSeeds = 50;
constexpr uint64_t kCalls = 300;  // shorter runs than sim_seeds': this is about the hash

RunReport RunSeed(uint64_t seed) {
  RunOptions options;
  options.seed = seed;
  options.calls_min = kCalls;
  options.faults_min = 0;
  return World(options).Run();
}

std::string Hex(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: sim_hash GOLDEN_FILE [--update]\n");
    return 2;
  }
  const bool update = argc > 2 && std::string(argv[2]) == "--update";
  std::map<uint64_t, std::string> golden;
  if (!update) {
    std::ifstream file(argv[1]);
    std::string word, hash;
    while (file >> word >> hash) golden[std::strtoull(word.c_str(), nullptr, 10)] = hash;
    if (golden.size() != kSeeds) {
      std::fprintf(stderr, "FAILED: %s holds %zu hashes, not %llu: run sim_hash with --update\n", argv[1],
                   golden.size(), static_cast<unsigned long long>(kSeeds));
      return 1;
    }
  }
  int failed = 0;
  std::map<uint64_t, std::string> hashes;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string once = Hex(RunSeed(seed).hash);
    const std::string twice = Hex(RunSeed(seed).hash);
    hashes[seed] = once;
    if (once != twice) {
      std::printf("FAILED: seed %llu has hash %s and then %s\n", static_cast<unsigned long long>(seed), once.c_str(),
                  twice.c_str());
      ++failed;
    } else if (!update && golden[seed] != once) {
      std::printf("FAILED: seed %llu has hash %s here, %s in %s\n", static_cast<unsigned long long>(seed), once.c_str(),
                  golden[seed].c_str(), argv[1]);
      ++failed;
    }
  }
  if (update && failed == 0) {
    std::ofstream file(argv[1]);
    for (const auto& [seed, hash] : hashes) file << seed << " " << hash << "\n";
  }
  std::printf("%llu seeds, %d failed%s\n", static_cast<unsigned long long>(kSeeds), failed,
              failed != 0 ? ". After a change of a core, a message or the simulator: sim_hash FILE --update" : "");
  return failed == 0 ? 0 : 1;
}
