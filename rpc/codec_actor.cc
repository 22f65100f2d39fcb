#include "rpc/codec_actor.h"

namespace manta::rpc {
namespace {

void WriteSpec(const ActorSpec& m, schema::ActorSpec::Builder b, Encoder* out) {
  WriteActor(m.actor, b.initActor());
  b.setJob(m.job);
  b.setName(TextOf(m.name));
  b.setNameSpace(TextOf(m.name_space));
  b.setGetIfExists(m.get_if_exists);
  b.setClassName(TextOf(m.class_name));
  b.setConstructor(m.constructor);
  WriteValues(m.args, b.initArgs(static_cast<kj::uint>(m.args.size())), out);
  WriteResources(m.placement, b.initPlacement());
  WriteResources(m.lifetime, b.initLifetime());
  b.setMaxRestarts(m.max_restarts);
  b.setMaxConcurrency(m.max_concurrency);
  WriteCall(m.parent, b.initParent());
  b.setMaxTaskRetries(m.max_task_retries);
  b.setDetached(m.detached);
  if (m.hint != SchedulingHint()) WriteHint(m.hint, b.initHint());
}

void ReadSpec(schema::ActorSpec::Reader r, Decoder* in, ActorSpec* m) {
  m->actor = ReadActor(r.getActor());
  m->job = r.getJob();
  in->Name(r.getName(), &m->name);
  in->Name(r.getNameSpace(), &m->name_space);
  m->get_if_exists = r.getGetIfExists();
  in->Name(r.getClassName(), &m->class_name);
  m->constructor = r.getConstructor();
  ReadValues(r.getArgs(), in, &m->args);
  ReadResources(r.getPlacement(), in, &m->placement);
  ReadResources(r.getLifetime(), in, &m->lifetime);
  m->max_restarts = r.getMaxRestarts();
  if (m->max_restarts < -1) in->Fail("max_restarts is below -1");
  m->max_concurrency = r.getMaxConcurrency();
  m->parent = ReadCall(r.getParent());
  m->max_task_retries = r.getMaxTaskRetries();
  if (m->max_task_retries < -1) in->Fail("max_task_retries is below -1");
  m->detached = r.getDetached();
  ReadHint(r.getHint(), in, &m->hint);
}

void Write(const ActorCreate& m, schema::ActorCreate::Builder b, Encoder* out) { WriteSpec(m.spec, b.initSpec(), out); }

void Read(schema::ActorCreate::Reader r, Decoder* in, ActorCreate* m) { ReadSpec(r.getSpec(), in, &m->spec); }

void Write(const ActorStart& m, schema::ActorStart::Builder b, Encoder* out) {
  WriteSpec(m.spec, b.initSpec(), out);
  b.setIncarnation(m.incarnation);
}

void Read(schema::ActorStart::Reader r, Decoder* in, ActorStart* m) {
  ReadSpec(r.getSpec(), in, &m->spec);
  m->incarnation = r.getIncarnation();
}

void Write(const ActorConstruct& m, schema::ActorConstruct::Builder b, Encoder* out) {
  WriteSpec(m.spec, b.initSpec(), out);
  b.setIncarnation(m.incarnation);
  WritePair(m.lease, b.initLease());
}

void Read(schema::ActorConstruct::Reader r, Decoder* in, ActorConstruct* m) {
  ReadSpec(r.getSpec(), in, &m->spec);
  m->incarnation = r.getIncarnation();
  m->lease = ReadLease(r.getLease());
}

}  // namespace

void Write(const ActorStarted& m, schema::ActorStarted::Builder b, Encoder*) {
  WriteActor(m.actor, b.initActor());
  b.setIncarnation(m.incarnation);
  WritePair(m.worker, b.initWorker());
  b.setAddress(TextOf(m.address));
  if (m.error) WriteError(m.error, b.initError());
  WriteNumbers(m.kept, b.initKept(static_cast<kj::uint>(m.kept.size())));
}

void Read(schema::ActorStarted::Reader r, Decoder* in, ActorStarted* m) {
  m->actor = ReadActor(r.getActor());
  m->incarnation = r.getIncarnation();
  m->worker = ReadProcess(r.getWorker());
  in->Name(r.getAddress(), &m->address);
  ReadError(r.getError(), in, &m->error);
  ReadNumbers(r.getKept(), in, &m->kept);
}

void Write(const ActorEnded& m, schema::ActorEnded::Builder b, Encoder*) {
  WriteActor(m.actor, b.initActor());
  b.setIncarnation(m.incarnation);
  b.setIntended(m.intended);
  if (m.error) WriteError(m.error, b.initError());
}

void Read(schema::ActorEnded::Reader r, Decoder* in, ActorEnded* m) {
  m->actor = ReadActor(r.getActor());
  m->incarnation = r.getIncarnation();
  m->intended = r.getIntended();
  ReadError(r.getError(), in, &m->error);
}

namespace {

void Write(const ActorWatch& m, schema::ActorWatch::Builder b, Encoder*) {
  WriteActor(m.actor, b.initActor());
  WritePair(m.watcher, b.initWatcher());
}

void Read(schema::ActorWatch::Reader r, Decoder*, ActorWatch* m) {
  m->actor = ReadActor(r.getActor());
  m->watcher = ReadProcess(r.getWatcher());
}

void Write(const ActorUpdate& m, schema::ActorUpdate::Builder b, Encoder*) {
  WriteActor(m.actor, b.initActor());
  WritePair(m.watcher, b.initWatcher());
  b.setVersion(m.version);
  b.setState(static_cast<schema::ActorState>(m.state));
  b.setIncarnation(m.incarnation);
  WritePair(m.worker, b.initWorker());
  b.setAddress(TextOf(m.address));
  if (m.error) WriteError(m.error, b.initError());
  WriteNumbers(m.kept, b.initKept(static_cast<kj::uint>(m.kept.size())));
  b.setWillRestart(m.will_restart);
  if (!m.waiting.empty()) b.setWaiting(TextOf(m.waiting));
  b.setMaxTaskRetries(m.max_task_retries);
  WriteActor(m.instead, b.initInstead());
}

void Read(schema::ActorUpdate::Reader r, Decoder* in, ActorUpdate* m) {
  m->actor = ReadActor(r.getActor());
  m->watcher = ReadProcess(r.getWatcher());
  m->version = r.getVersion();
  m->state = in->Enum(r.getState(), ActorState::kDead);
  m->incarnation = r.getIncarnation();
  m->worker = ReadProcess(r.getWorker());
  in->Name(r.getAddress(), &m->address);
  ReadError(r.getError(), in, &m->error);
  ReadNumbers(r.getKept(), in, &m->kept);
  m->will_restart = r.getWillRestart();
  in->Text(r.getWaiting(), &m->waiting);
  m->max_task_retries = r.getMaxTaskRetries();
  if (m->max_task_retries < -1) in->Fail("max_task_retries is below -1");
  m->instead = ReadActor(r.getInstead());
}

void Write(const ActorKill& m, schema::ActorKill::Builder b, Encoder*) {
  WriteActor(m.actor, b.initActor());
  b.setNoRestart(m.no_restart);
  b.setGraceful(m.graceful);
  b.setIncarnation(m.incarnation);
}

void Read(schema::ActorKill::Reader r, Decoder*, ActorKill* m) {
  m->actor = ReadActor(r.getActor());
  m->no_restart = r.getNoRestart();
  m->graceful = r.getGraceful();
  m->incarnation = r.getIncarnation();
}

void Write(const ActorLookup& m, schema::ActorLookup::Builder b, Encoder*) {
  WritePair(m.asker, b.initAsker());
  b.setRequest(m.request);
  b.setNameSpace(TextOf(m.name_space));
  b.setName(TextOf(m.name));
}

void Read(schema::ActorLookup::Reader r, Decoder* in, ActorLookup* m) {
  m->asker = ReadProcess(r.getAsker());
  m->request = r.getRequest();
  in->Name(r.getNameSpace(), &m->name_space);
  in->Name(r.getName(), &m->name);
}

void Write(const ActorFound& m, schema::ActorFound::Builder b, Encoder*) {
  WritePair(m.asker, b.initAsker());
  b.setRequest(m.request);
  WriteActor(m.actor, b.initActor());
  b.setMaxConcurrency(m.max_concurrency);
}

void Read(schema::ActorFound::Reader r, Decoder*, ActorFound* m) {
  m->asker = ReadProcess(r.getAsker());
  m->request = r.getRequest();
  m->actor = ReadActor(r.getActor());
  m->max_concurrency = r.getMaxConcurrency();
}

}  // namespace

MANTA_RPC_MESSAGE(ActorCreate, ACTOR_CREATE)
MANTA_RPC_MESSAGE(ActorStart, ACTOR_START)
MANTA_RPC_MESSAGE(ActorConstruct, ACTOR_CONSTRUCT)
MANTA_RPC_MESSAGE(ActorStarted, ACTOR_STARTED)
MANTA_RPC_MESSAGE(ActorEnded, ACTOR_ENDED)
MANTA_RPC_MESSAGE(ActorWatch, ACTOR_WATCH)
MANTA_RPC_MESSAGE(ActorUpdate, ACTOR_UPDATE)
MANTA_RPC_MESSAGE(ActorKill, ACTOR_KILL)
MANTA_RPC_MESSAGE(ActorLookup, ACTOR_LOOKUP)
MANTA_RPC_MESSAGE(ActorFound, ACTOR_FOUND)

}  // namespace manta::rpc
