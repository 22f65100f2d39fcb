// EXPECT: Manta: Put was given an ObjectRef
#include <manta/manta.h>

void Wrong(manta::ObjectRef<int> ref) { manta::Put(ref); }
