// Compiles: the control of the programs here that must not.
#include <manta/manta.h>

int Add(int a, int b) { return a + b; }
struct Counter {
  explicit Counter(int start) : value(start) {}
  int Add(int by) { return value += by; }
  int value;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  auto counter = manta::Actor<Counter>().Remote(1);
  return manta::Get(counter.Call<&Counter::Add>().Remote(manta::Task<&Add>().Remote(1, 2)));
}
