#include "manta/context.h"

#include "manta/actor.h"
#include "manta/internal/backend.h"

namespace manta {

Context CurrentContext() { return Context(internal::Current().Context()); }

void ExitActor() { internal::Current().ExitActor(); }

}  // namespace manta
