// EXPECT: Manta: Remote was given fewer arguments than the function has parameters
#include <manta/manta.h>

int Add(int a, int b) { return a + b; }

void Wrong() { manta::Task<&Add>().Remote(1); }
