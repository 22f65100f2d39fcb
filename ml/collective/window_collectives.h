// The collectives through a window: each member copies its values in, reduces its part of them, copies the others' out.
//
// Problem:    memory is slower than the cache by far, and a value that goes through a buffer of its size passes through
//             memory thrice.
// Answer:     pieces of at most a slot (256 KiB), software-pipelined: while a member enters piece p, it reduces p-1,
// for
//             which the others have entered theirs meanwhile, and leaves p-2. What lies in slots is in a cache.
// See:        window.h for who may touch what when.
#ifndef MANTA_ML_COLLECTIVE_WINDOW_COLLECTIVES_H_
#define MANTA_ML_COLLECTIVE_WINDOW_COLLECTIVES_H_

#include <cstddef>
#include <cstdint>

#include "manta/ml/communicator.h"
#include "ml/collective/window.h"

namespace manta::ml::internal {

// Does `operation`, whose root is an index, as the window's member. Returns how many bytes it wrote for others.
// Throws what Window's methods throw; the window is of no use any more then.
uint64_t RunOnWindow(Window& window, const Operation& operation, const Label& label);

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_WINDOW_COLLECTIVES_H_
