// EXPECT: is a ref to a value of another type
#include <manta/manta.h>

int Add(int a, int b) { return a + b; }

void Wrong() { manta::Task<&Add>().Remote(1, manta::Put(2.0)); }
