// EXPECT: has a type that cannot be sent
#include <manta/manta.h>

struct Opaque {
  int x = 0;
};
int Open(std::vector<Opaque> values) { return values[0].x; }

void Wrong() { manta::Task<&Open>().Remote(std::vector<Opaque>(1)); }
