// EXPECT: Manta: Call was given a member function of another class
#include <manta/manta.h>

struct Counter {
  int Add(int by) { return value += by; }
  int value = 0;
};
struct Journal {
  int Lines() { return 0; }
};

void Wrong(manta::ActorHandle<Counter> counter) { counter.Call<&Journal::Lines>().Remote(); }
