// EXPECT: Manta: no constructor of the actor's class
#include <manta/manta.h>

struct Counter {
  explicit Counter(int start) : value(start) {}
  int value;
};

void Wrong() { manta::Actor<Counter>().Remote("ten", 10); }
