// The first program: a task, and an actor that gets the task's result as an argument.
//
// Prints:
//   1 + 2 = 3
//   the counter is at 13
#include <manta/manta.h>

#include <iostream>

int Add(int a, int b) { return a + b; }

class Counter {
 public:
  explicit Counter(int start) : value_(start) {}
  int Add(int by) { return value_ += by; }

 private:
  int value_;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);  // a worker never returns from here

  manta::ObjectRef<int> sum = manta::Task<&Add>().Remote(1, 2);

  auto counter = manta::Actor<Counter>().Remote(10);
  manta::ObjectRef<int> hits = counter.Call<&Counter::Add>().Remote(sum);  // refs pass as values

  std::cout << "1 + 2 = " << manta::Get(sum) << "\n";
  std::cout << "the counter is at " << manta::Get(hits) << "\n";
}
