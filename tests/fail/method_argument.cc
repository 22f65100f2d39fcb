// EXPECT: does not convert to the function's parameter
#include <manta/manta.h>

struct Counter {
  int Add(int by) { return value += by; }
  int value = 0;
};

void Wrong(manta::ActorHandle<Counter> counter) { counter.Call<&Counter::Add>().Remote("one"); }
