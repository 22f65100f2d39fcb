// A program for cli_test.cc: puts something of each kind into a cluster, says "ready" and what it made, and stays until
// its input ends.
#include <manta/manta.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

int Sleep(int seconds) {
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  return seconds;
}

int Fail() { throw std::runtime_error("as it was told"); }

int Twice(int value) { return 2 * value; }

class Keeper {
 public:
  int Pid() const { return getpid(); }
  int Say(const std::string& what) {
    std::cout << what << std::endl;
    return 0;
  }
};

}  // namespace

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  auto named = manta::Actor<Keeper>().Name("keeper").MaxRestarts(1).NumCpus(0).Remote();
  auto anonymous = manta::Actor<Keeper>().NumCpus(0).Remote();
  manta::Get(named.Call<&Keeper::Say>().Remote("printed by the keeper"));
  std::vector<manta::ObjectRef<int>> results;
  for (int i = 0; i < 20; ++i) results.push_back(manta::Task<&Twice>().Name("twice").Remote(i));
  manta::Get(results);
  try {
    manta::Get(manta::Task<&Fail>().Name("fail").MaxRetries(0).Remote());
  } catch (const manta::TaskError&) {
  }
  const manta::ObjectRef<std::string> large = manta::Put(std::string(4 << 20, 'x'));
  const manta::ObjectRef<int> sleeping = manta::Task<&Sleep>().Name("sleeping").Remote(600);
  const manta::ObjectRef<int> impossible = manta::Task<&Twice>().Name("impossible").Resources({{"moon", 1}}).Remote(1);
  std::cout << "ready " << getpid() << " " << manta::Get(named.Call<&Keeper::Pid>().Remote()) << " "
            << manta::Get(anonymous.Call<&Keeper::Pid>().Remote()) << std::endl;
  std::string line;
  std::getline(std::cin, line);
}
