// The wire forms of ActorStarted and ActorEnded, which NodeRegister holds lists of.
#ifndef MANTA_RPC_CODEC_ACTOR_H_
#define MANTA_RPC_CODEC_ACTOR_H_

#include "rpc/codec_internal.h"
#include "rpc/schema/actor.capnp.h"

namespace manta::rpc {

void Write(const ActorStarted& m, schema::ActorStarted::Builder b, Encoder* out);
void Read(schema::ActorStarted::Reader r, Decoder* in, ActorStarted* m);
void Write(const ActorEnded& m, schema::ActorEnded::Builder b, Encoder* out);
void Read(schema::ActorEnded::Reader r, Decoder* in, ActorEnded* m);

}  // namespace manta::rpc

#endif  // MANTA_RPC_CODEC_ACTOR_H_
