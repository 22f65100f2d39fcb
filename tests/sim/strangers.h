// Strangers at a listening socket: they have heard a connection being opened, or look for a process that is no more.
//
// Threads:    thread-safe.
#ifndef MANTA_TESTS_SIM_STRANGERS_H_
#define MANTA_TESTS_SIM_STRANGERS_H_

#include <string>

#include "base/random.h"
#include "rpc/handshake.h"

namespace manta::sim {

// A client and a server that belong together, and those that do not: who plays back what the client has said; a server
// of another life at the client's address; another process there; one with another secret. Their bytes come in pieces
// of any size. Empty: only the right two get in; else who else does.
std::string WhoGetsIn(const rpc::ClientHandshake::Options& client, const rpc::ServerHandshake::Options& server,
                      base::Rng* rng);

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_STRANGERS_H_
