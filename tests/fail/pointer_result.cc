// EXPECT: the result (the notes say which: Result) is a pointer or view
#include <manta/manta.h>

const char* Name() { return "name"; }

void Wrong() { manta::Task<&Name>().Remote(); }
