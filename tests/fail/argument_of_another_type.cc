// EXPECT: does not convert to the function's parameter
#include <manta/manta.h>

int Add(int a, int b) { return a + b; }

void Wrong() { manta::Task<&Add>().Remote(1, "two"); }
