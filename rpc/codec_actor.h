// ActorStarted's wire form, which NodeRegister holds a list of.
#ifndef MANTA_RPC_CODEC_ACTOR_H_
#define MANTA_RPC_CODEC_ACTOR_H_

#include "rpc/codec_internal.h"
#include "rpc/schema/actor.capnp.h"

namespace manta::rpc {

void Write(const ActorStarted& m, schema::ActorStarted::Builder b, Encoder* out);
void Read(schema::ActorStarted::Reader r, Decoder* in, ActorStarted* m);

}  // namespace manta::rpc

#endif  // MANTA_RPC_CODEC_ACTOR_H_
