// A named, restartable counter: it is found by its name, dies, and comes back empty.
//
// Prints:
//   100 calls: 100
//   found by name: 101
//   the call that kills it: ActorDiedError
//   after the restart: 1
#include <manta/manta.h>

#include <cstdlib>
#include <iostream>
#include <vector>

class Counter {
 public:
  int Add(int by) { return value_ += by; }
  void Die() { std::_Exit(1); }

 private:
  int value_ = 0;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  auto counter = manta::Actor<Counter>().Name("hits").MaxRestarts(1).Remote();

  std::vector<manta::ObjectRef<int>> results;
  for (int i = 0; i < 100; ++i) results.push_back(counter.Call<&Counter::Add>().Remote(1));
  std::cout << "100 calls: " << manta::Get(results).back() << "\n";  // one caller's calls run in order

  auto found = manta::GetActor<Counter>("hits");
  std::cout << "found by name: " << manta::Get(found->Call<&Counter::Add>().Remote(1)) << "\n";

  try {
    manta::Get(counter.Call<&Counter::Die>().Remote());
  } catch (const manta::ActorDiedError&) {
    std::cout << "the call that kills it: ActorDiedError\n";
  }
  std::cout << "after the restart: " << manta::Get(counter.Call<&Counter::Add>().Remote(1)) << "\n";
}
