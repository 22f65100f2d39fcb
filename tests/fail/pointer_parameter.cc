// EXPECT: is a pointer or view into memory that another process does not have
#include <manta/manta.h>

int Length(const char* text) { return text[0] == 0 ? 0 : 1; }

void Wrong() { manta::Task<&Length>().Remote("text"); }
