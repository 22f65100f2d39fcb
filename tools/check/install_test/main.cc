// What a user writes first, against an installed Manta. Prints 13.
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
  auto runtime = manta::Init(argc, argv);
  manta::ObjectRef<int> sum = manta::Task<&Add>().Remote(1, 2);
  auto counter = manta::Actor<Counter>().Remote(10);
  manta::ObjectRef<int> hits = counter.Call<&Counter::Add>().Remote(sum);
  std::cout << manta::Get(hits) << "\n";
}
