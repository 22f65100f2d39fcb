#include "rpc/codec_internal.h"
#include "rpc/schema/node.capnp.h"

namespace manta::rpc {
namespace {

void Write(const ProcessHello& m, schema::ProcessHello::Builder b, Encoder*) {
  b.setKind(static_cast<schema::ProcessKind>(m.kind));
  WritePair(m.process, b.initProcess());
  b.setJob(m.job);
  b.setPid(m.pid);
  b.setAddress(TextOf(m.address));
  b.setProgram(TextOf(m.program));
  b.setNameSpace(TextOf(m.name_space));
  if (!m.argv.empty()) WriteTexts(m.argv, b.initArgv(static_cast<kj::uint>(m.argv.size())));
  if (!m.files.empty()) WriteTexts(m.files, b.initFiles(static_cast<kj::uint>(m.files.size())));
}

void Read(schema::ProcessHello::Reader r, Decoder* in, ProcessHello* m) {
  m->kind = in->Enum(r.getKind(), ProcessKind::kZygote);
  m->process = ReadProcess(r.getProcess());
  m->job = r.getJob();
  m->pid = r.getPid();
  in->Name(r.getAddress(), &m->address);
  in->Text(r.getProgram(), &m->program);  // a path: any bytes
  in->Name(r.getNameSpace(), &m->name_space);
  ReadTexts(r.getArgv(), in, &m->argv);
  ReadTexts(r.getFiles(), in, &m->files);
}

void Write(const ProcessWelcome& m, schema::ProcessWelcome::Builder b, Encoder*) {
  WritePair(m.process, b.initProcess());
  b.setJob(m.job);
  b.setNameSpace(TextOf(m.name_space));
  b.setPollingSlot(m.polling_slot);
}

void Read(schema::ProcessWelcome::Reader r, Decoder* in, ProcessWelcome* m) {
  m->process = ReadProcess(r.getProcess());
  m->job = r.getJob();
  in->Name(r.getNameSpace(), &m->name_space);
  m->polling_slot = r.getPollingSlot();
}

void Write(const ProcessDied& m, schema::ProcessDied::Builder b, Encoder*) {
  WritePair(m.process, b.initProcess());
  b.setReason(TextOf(m.reason));
  b.setNewestNode(m.newest_node);
}

void Read(schema::ProcessDied::Reader r, Decoder* in, ProcessDied* m) {
  m->process = ReadProcess(r.getProcess());
  in->Text(r.getReason(), &m->reason);
  m->newest_node = r.getNewestNode();
}

void Write(const DeathDrained& m, schema::DeathDrained::Builder b, Encoder*) {
  WritePair(m.process, b.initProcess());
  b.setBy(m.by);
}

void Read(schema::DeathDrained::Reader r, Decoder*, DeathDrained* m) {
  m->process = ReadProcess(r.getProcess());
  m->by = r.getBy();
}

void Write(const ProcessExit& m, schema::ProcessExit::Builder b, Encoder*) {
  b.setGraceful(m.graceful);
  b.setReason(TextOf(m.reason));
}

void Read(schema::ProcessExit::Reader r, Decoder* in, ProcessExit* m) {
  m->graceful = r.getGraceful();
  in->Text(r.getReason(), &m->reason);
}

void Write(const JobEnd& m, schema::JobEnd::Builder b, Encoder*) { b.setJob(m.job); }

void Read(schema::JobEnd::Reader r, Decoder*, JobEnd* m) { m->job = r.getJob(); }

void Write(const Output& m, schema::Output::Builder b, Encoder* out) {
  WritePair(m.process, b.initProcess());
  b.setIsStderr(m.is_stderr);
  b.setTextBytes(out->AddPart(m.text));
  b.setDroppedBytes(m.dropped_bytes);
  b.setJob(m.job);
}

void Read(schema::Output::Reader r, Decoder* in, Output* m) {
  m->process = ReadProcess(r.getProcess());
  m->is_stderr = r.getIsStderr();
  in->Part(r.getTextBytes(), &m->text);
  m->dropped_bytes = r.getDroppedBytes();
  m->job = r.getJob();
}

void Write(const PeerOffer& m, schema::PeerOffer::Builder b, Encoder*) {
  WritePair(m.from, b.initFrom());
  WritePair(m.to, b.initTo());
  b.setMark(m.mark);
}

void Read(schema::PeerOffer::Reader r, Decoder*, PeerOffer* m) {
  m->from = ReadProcess(r.getFrom());
  m->to = ReadProcess(r.getTo());
  m->mark = r.getMark();
}

void Write(const PeerAnswer& m, schema::PeerAnswer::Builder b, Encoder*) {
  WritePair(m.from, b.initFrom());
  WritePair(m.to, b.initTo());
  if (!m.refused.empty()) b.setRefused(TextOf(m.refused));
  b.setMark(m.mark);
  b.setOfferMark(m.offer_mark);
}

void Read(schema::PeerAnswer::Reader r, Decoder* in, PeerAnswer* m) {
  m->from = ReadProcess(r.getFrom());
  m->to = ReadProcess(r.getTo());
  in->Text(r.getRefused(), &m->refused);
  m->mark = r.getMark();
  m->offer_mark = r.getOfferMark();
}

void Write(const PeerBroke& m, schema::PeerBroke::Builder b, Encoder*) {
  WritePair(m.peer, b.initPeer());
  b.setWhy(TextOf(m.why));
}

void Read(schema::PeerBroke::Reader r, Decoder* in, PeerBroke* m) {
  m->peer = ReadProcess(r.getPeer());
  in->Text(r.getWhy(), &m->why);
}

void Write(const PeerDial& m, schema::PeerDial::Builder b, Encoder*) { WritePair(m.peer, b.initPeer()); }

void Read(schema::PeerDial::Reader r, Decoder*, PeerDial* m) { m->peer = ReadProcess(r.getPeer()); }

void Write(const PeerLink& m, schema::PeerLink::Builder b, Encoder* out) {
  WritePair(m.peer, b.initPeer());
  b.setDialled(m.dialled);
  b.setEarlyBytes(out->AddPart(m.early));
  if (!m.refused.empty()) b.setRefused(TextOf(m.refused));
  b.setDead(m.dead);
}

void Read(schema::PeerLink::Reader r, Decoder* in, PeerLink* m) {
  m->peer = ReadProcess(r.getPeer());
  m->dialled = r.getDialled();
  in->Part(r.getEarlyBytes(), &m->early);
  in->Text(r.getRefused(), &m->refused);
  m->dead = r.getDead();
}

}  // namespace

MANTA_RPC_MESSAGE(ProcessHello, PROCESS_HELLO)
MANTA_RPC_MESSAGE(ProcessWelcome, PROCESS_WELCOME)
MANTA_RPC_MESSAGE(ProcessDied, PROCESS_DIED)
MANTA_RPC_MESSAGE(DeathDrained, DEATH_DRAINED)
MANTA_RPC_MESSAGE(ProcessExit, PROCESS_EXIT)
MANTA_RPC_MESSAGE(JobEnd, JOB_END)
MANTA_RPC_MESSAGE(Output, OUTPUT)
MANTA_RPC_MESSAGE(PeerOffer, PEER_OFFER)
MANTA_RPC_MESSAGE(PeerAnswer, PEER_ANSWER)
MANTA_RPC_MESSAGE(PeerBroke, PEER_BROKE)
MANTA_RPC_MESSAGE(PeerDial, PEER_DIAL)
MANTA_RPC_MESSAGE(PeerLink, PEER_LINK)

}  // namespace manta::rpc
