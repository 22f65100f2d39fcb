#include "tools/bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <stdexcept>

namespace manta::bench {

const std::vector<Benchmark>& AllBenchmarks() {
  static const std::vector<Benchmark>* const all = [] {
    auto* made = new std::vector<Benchmark>;
    AddCallBenchmarks(made);
    AddObjectBenchmarks(made);
    AddProcessBenchmarks(made);
    AddClusterBenchmarks(made);
    AddCollectiveBenchmarks(made);
    AddSearchBenchmarks(made);
    AddMlDataBenchmarks(made);
    AddSweepBenchmarks(made);
    AddServerBenchmarks(made);
    AddTrainBenchmarks(made);
    return made;
  }();
  return *all;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string RunSelf(const std::vector<std::string>& arguments) {
  std::string command = "exec /proc/" + std::to_string(getpid()) + "/exe";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  FILE* const output = popen(command.c_str(), "re");
  if (output == nullptr) throw std::runtime_error("cannot run " + command);
  std::string text;
  std::array<char, 4096> buffer;
  for (size_t size = fread(buffer.data(), 1, buffer.size(), output); size > 0;
       size = fread(buffer.data(), 1, buffer.size(), output)) {
    text.append(buffer.data(), size);
  }
  const int status = pclose(output);
  if (status != 0)
    throw std::runtime_error(arguments[0] + " failed with status " + std::to_string(status) + ": " + text);
  return text;
}

}  // namespace manta::bench
