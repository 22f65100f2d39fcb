#include "rpc/codec_internal.h"
#include "rpc/schema/object.capnp.h"

namespace manta::rpc {
namespace {

void Write(const ObjectSeal& m, schema::ObjectSeal::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  b.setAttempt(m.attempt);
  WriteLocation(m.location, b.initLocation());
  WritePair(m.holder, b.initHolder());
  if (!m.refs.empty()) WriteRefs(m.refs, b.initRefs(static_cast<kj::uint>(m.refs.size())));
}

void Read(schema::ObjectSeal::Reader r, Decoder* in, ObjectSeal* m) {
  m->object = ReadObject(r.getObject());
  m->attempt = r.getAttempt();
  m->location = ReadLocation(r.getLocation());
  m->holder = ReadProcess(r.getHolder());
  ReadRefs(r.getRefs(), in, &m->refs);
}

void Write(const ObjectPublish& m, schema::ObjectPublish::Builder b, Encoder* out) {
  WriteObject(m.object, b.initObject());
  b.setPending(m.pending);
  WriteValue(m.value, b.initValue(), out);
  if (m.error) WriteError(m.error, b.initError());
}

void Read(schema::ObjectPublish::Reader r, Decoder* in, ObjectPublish* m) {
  m->object = ReadObject(r.getObject());
  m->pending = r.getPending();
  ReadValue(r.getValue(), in, &m->value);
  ReadError(r.getError(), in, &m->error);
}

void Write(const RefTicket& m, schema::RefTicket::Builder b, Encoder*) {
  WriteTicket(m.ticket, b.initTicket());
  WriteObject(m.object, b.initObject());
  WritePair(m.holder, b.initHolder());
  if (m.receiver != ProcessId()) WritePair(m.receiver, b.initReceiver());
}

void Read(schema::RefTicket::Reader r, Decoder*, RefTicket* m) {
  m->ticket = ReadTicket(r.getTicket());
  m->object = ReadObject(r.getObject());
  m->holder = ReadProcess(r.getHolder());
  m->receiver = ReadProcess(r.getReceiver());
}

void Write(const RefOutcome& m, schema::RefOutcome::Builder b, Encoder*) {
  WriteTicket(m.ticket, b.initTicket());
  WriteObject(m.object, b.initObject());
  if (m.kept_by != ProcessId()) WritePair(m.kept_by, b.initKeptBy());
  if (m.ticket_by != ProcessId()) WritePair(m.ticket_by, b.initTicketBy());
}

void Read(schema::RefOutcome::Reader r, Decoder*, RefOutcome* m) {
  m->ticket = ReadTicket(r.getTicket());
  m->object = ReadObject(r.getObject());
  m->kept_by = ReadProcess(r.getKeptBy());
  m->ticket_by = ReadProcess(r.getTicketBy());
}

void Write(const RefRegister& m, schema::RefRegister::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  WritePair(m.holder, b.initHolder());
  b.setBorrow(m.borrow);
  if (m.ticket != TicketId()) WriteTicket(m.ticket, b.initTicket());
  if (m.ticket_by != ProcessId()) WritePair(m.ticket_by, b.initTicketBy());
}

void Read(schema::RefRegister::Reader r, Decoder*, RefRegister* m) {
  m->object = ReadObject(r.getObject());
  m->holder = ReadProcess(r.getHolder());
  m->borrow = r.getBorrow();
  m->ticket = ReadTicket(r.getTicket());
  m->ticket_by = ReadProcess(r.getTicketBy());
}

void Write(const RefRelease& m, schema::RefRelease::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  WritePair(m.holder, b.initHolder());
  b.setBorrow(m.borrow);
  b.setSealedOn(m.sealed_on);
  b.setSealedAttempt(m.sealed_attempt);
}

void Read(schema::RefRelease::Reader r, Decoder*, RefRelease* m) {
  m->object = ReadObject(r.getObject());
  m->holder = ReadProcess(r.getHolder());
  m->borrow = r.getBorrow();
  m->sealed_on = r.getSealedOn();
  m->sealed_attempt = r.getSealedAttempt();
}

void Write(const ObjectResolve& m, schema::ObjectResolve::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  WritePair(m.asker, b.initAsker());
}

void Read(schema::ObjectResolve::Reader r, Decoder*, ObjectResolve* m) {
  m->object = ReadObject(r.getObject());
  m->asker = ReadProcess(r.getAsker());
}

void Write(const ObjectResolved& m, schema::ObjectResolved::Builder b, Encoder* out) {
  WriteObject(m.object, b.initObject());
  WritePair(m.asker, b.initAsker());
  b.setAttempt(m.attempt);
  WriteValue(m.value, b.initValue(), out);
  if (m.error) WriteError(m.error, b.initError());
}

void Read(schema::ObjectResolved::Reader r, Decoder* in, ObjectResolved* m) {
  m->object = ReadObject(r.getObject());
  m->asker = ReadProcess(r.getAsker());
  m->attempt = r.getAttempt();
  ReadValue(r.getValue(), in, &m->value);
  ReadError(r.getError(), in, &m->error);
}

void Write(const ObjectPull& m, schema::ObjectPull::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  b.setAttempt(m.attempt);
  b.setPuller(m.puller);
}

void Read(schema::ObjectPull::Reader r, Decoder*, ObjectPull* m) {
  m->object = ReadObject(r.getObject());
  m->attempt = r.getAttempt();
  m->puller = r.getPuller();
}

void Write(const ObjectPulled& m, schema::ObjectPulled::Builder b, Encoder* out) {
  WriteObject(m.object, b.initObject());
  b.setAttempt(m.attempt);
  b.setFound(m.found);
  b.setSizeBytes(m.size_bytes);
  b.setDataBytes(out->AddPart(m.data));
  if (!m.refs.empty()) WriteRefs(m.refs, b.initRefs(static_cast<kj::uint>(m.refs.size())));
}

void Read(schema::ObjectPulled::Reader r, Decoder* in, ObjectPulled* m) {
  m->object = ReadObject(r.getObject());
  m->attempt = r.getAttempt();
  m->found = r.getFound();
  m->size_bytes = r.getSizeBytes();
  in->Part(r.getDataBytes(), &m->data);
  ReadRefs(r.getRefs(), in, &m->refs);
}

void Write(const ObjectDrop& m, schema::ObjectDrop::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  b.setAttempt(m.attempt);
}

void Read(schema::ObjectDrop::Reader r, Decoder*, ObjectDrop* m) {
  m->object = ReadObject(r.getObject());
  m->attempt = r.getAttempt();
}

void Write(const ObjectCopy& m, schema::ObjectCopy::Builder b, Encoder*) {
  WriteObject(m.object, b.initObject());
  b.setAttempt(m.attempt);
  WriteLocation(m.location, b.initLocation());
  b.setPresent(m.present);
  b.setDamaged(m.damaged);
}

void Read(schema::ObjectCopy::Reader r, Decoder*, ObjectCopy* m) {
  m->object = ReadObject(r.getObject());
  m->attempt = r.getAttempt();
  m->location = ReadLocation(r.getLocation());
  m->present = r.getPresent();
  m->damaged = r.getDamaged();
}

void Write(const SegmentRequest& m, schema::SegmentRequest::Builder b, Encoder*) {
  b.setRequest(m.request);
  b.setSizeBytes(m.size_bytes);
}

void Read(schema::SegmentRequest::Reader r, Decoder*, SegmentRequest* m) {
  m->request = r.getRequest();
  m->size_bytes = r.getSizeBytes();
}

void Write(const SegmentGrant& m, schema::SegmentGrant::Builder b, Encoder*) {
  b.setRequest(m.request);
  b.setSegment(m.segment);
  b.setOffset(m.offset);
  b.setSizeBytes(m.size_bytes);
  if (m.error) WriteError(m.error, b.initError());
}

void Read(schema::SegmentGrant::Reader r, Decoder* in, SegmentGrant* m) {
  m->request = r.getRequest();
  m->segment = r.getSegment();
  m->offset = r.getOffset();
  m->size_bytes = r.getSizeBytes();
  ReadError(r.getError(), in, &m->error);
}

void Write(const SegmentReturn& m, schema::SegmentReturn::Builder b, Encoder*) {
  b.setSegment(m.segment);
  b.setOffset(m.offset);
  b.setSizeBytes(m.size_bytes);
}

void Read(schema::SegmentReturn::Reader r, Decoder*, SegmentReturn* m) {
  m->segment = r.getSegment();
  m->offset = r.getOffset();
  m->size_bytes = r.getSizeBytes();
}

void Write(const SegmentMap& m, schema::SegmentMap::Builder b, Encoder*) { b.setSegment(m.segment); }

void Read(schema::SegmentMap::Reader r, Decoder*, SegmentMap* m) { m->segment = r.getSegment(); }

void Write(const SegmentGone& m, schema::SegmentGone::Builder b, Encoder*) { b.setSegment(m.segment); }

void Read(schema::SegmentGone::Reader r, Decoder*, SegmentGone* m) { m->segment = r.getSegment(); }

}  // namespace

MANTA_RPC_MESSAGE(ObjectSeal, OBJECT_SEAL)
MANTA_RPC_MESSAGE(ObjectPublish, OBJECT_PUBLISH)
MANTA_RPC_MESSAGE(RefTicket, REF_TICKET)
MANTA_RPC_MESSAGE(RefOutcome, REF_OUTCOME)
MANTA_RPC_MESSAGE(RefRegister, REF_REGISTER)
MANTA_RPC_MESSAGE(RefRelease, REF_RELEASE)
MANTA_RPC_MESSAGE(ObjectResolve, OBJECT_RESOLVE)
MANTA_RPC_MESSAGE(ObjectResolved, OBJECT_RESOLVED)
MANTA_RPC_MESSAGE(ObjectPull, OBJECT_PULL)
MANTA_RPC_MESSAGE(ObjectPulled, OBJECT_PULLED)
MANTA_RPC_MESSAGE(ObjectDrop, OBJECT_DROP)
MANTA_RPC_MESSAGE(ObjectCopy, OBJECT_COPY)
MANTA_RPC_MESSAGE(SegmentRequest, SEGMENT_REQUEST)
MANTA_RPC_MESSAGE(SegmentGrant, SEGMENT_GRANT)
MANTA_RPC_MESSAGE(SegmentReturn, SEGMENT_RETURN)
MANTA_RPC_MESSAGE(SegmentMap, SEGMENT_MAP)
MANTA_RPC_MESSAGE(SegmentGone, SEGMENT_GONE)

}  // namespace manta::rpc
