// EXPECT: Manta: Task needs one function
#include <manta/manta.h>

void Wrong() {
  manta::Task<[](auto x) { return x; }>().Remote(1);
}
