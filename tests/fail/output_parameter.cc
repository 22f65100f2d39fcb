// EXPECT: is a non-const reference
#include <manta/manta.h>

void Increment(int& value) { ++value; }

void Wrong(int& value) { manta::Task<&Increment>().Remote(value); }
