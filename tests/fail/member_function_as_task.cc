// EXPECT: Manta: Task was given a member function
#include <manta/manta.h>

struct Counter {
  int Add(int by) { return value += by; }
  int value = 0;
};

void Wrong() { manta::Task<&Counter::Add>().Remote(1); }
