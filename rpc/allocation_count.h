// Counts what operator new gives out on this thread, for tests that bound memory. Link allocation_count.cc into the
// test program itself: it replaces operator new and delete.
#ifndef MANTA_RPC_ALLOCATION_COUNT_H_
#define MANTA_RPC_ALLOCATION_COUNT_H_

#include <cstddef>

namespace manta::rpc {

// Bytes given out and not yet given back, and the most of them since ResetPeakBytes.
size_t LiveBytes();
size_t PeakBytes();
void ResetPeakBytes();

}  // namespace manta::rpc

#endif  // MANTA_RPC_ALLOCATION_COUNT_H_
