#include "manta/manta.h"

static int Answer() { return 2; }

int CallTheOther() { return manta::Get(manta::Task<&Answer>().Remote()); }
