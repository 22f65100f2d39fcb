// What an ActorDirectory knows, as rows of the state API: the same at the head and at a node.
//
// Threads:    pure functions.
#ifndef MANTA_RUNTIME_ACTOR_ROWS_H_
#define MANTA_RUNTIME_ACTOR_ROWS_H_

#include "runtime/actor_directory.h"
#include "runtime/state_rows.h"

namespace manta::runtime {

// As people call it: "ALIVE".
const char* StateName(rpc::ActorState state);
// The columns of an actor that its directory and its host both know. `node` 0: none yet.
StateRow ActorRow(const rpc::ActorSpec& spec, rpc::ActorState state, NodeId node);
// All that its directory knows.
StateRow ActorRow(const ActorDirectory::Record& record);

// Every actor. False: there is room for no more.
bool AddActors(const ActorDirectory& directory, StateRows* rows);
// How many are in which state: of the status; by class.
void AddActorCounts(const ActorDirectory& directory, StateRows* rows);
void SummarizeActors(const ActorDirectory& directory, StateRows* rows);
// Those that want a node, by shape and reason.
void AddUnplacedActors(const ActorDirectory& directory, StateRows* rows);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_ACTOR_ROWS_H_
