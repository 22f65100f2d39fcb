#include "rpc/codec_internal.h"
#include "rpc/schema/lease.capnp.h"

namespace manta::rpc {
namespace {

void Write(const LeaseRequest& m, schema::LeaseRequest::Builder b, Encoder*) {
  WritePair(m.caller, b.initCaller());
  b.setRequest(m.request);
  b.setJob(m.job);
  if (!m.shape.empty()) WriteResources(m.shape, b.initShape());
  b.setDepth(m.depth);
  b.setForwarded(m.forwarded);
  if (m.hint != SchedulingHint()) WriteHint(m.hint, b.initHint());
}

void Read(schema::LeaseRequest::Reader r, Decoder* in, LeaseRequest* m) {
  m->caller = ReadProcess(r.getCaller());
  m->request = r.getRequest();
  m->job = r.getJob();
  ReadResources(r.getShape(), in, &m->shape);
  m->depth = r.getDepth();
  m->forwarded = r.getForwarded();
  ReadHint(r.getHint(), in, &m->hint);
}

void Write(const LeaseCancel& m, schema::LeaseCancel::Builder b, Encoder*) {
  WritePair(m.caller, b.initCaller());
  b.setRequest(m.request);
}

void Read(schema::LeaseCancel::Reader r, Decoder*, LeaseCancel* m) {
  m->caller = ReadProcess(r.getCaller());
  m->request = r.getRequest();
}

void Write(const LeaseGrant& m, schema::LeaseGrant::Builder b, Encoder*) {
  WritePair(m.caller, b.initCaller());
  b.setRequest(m.request);
  WritePair(m.lease, b.initLease());
  WritePair(m.worker, b.initWorker());
  b.setAddress(TextOf(m.address));
  if (m.error) WriteError(m.error, b.initError());
}

void Read(schema::LeaseGrant::Reader r, Decoder* in, LeaseGrant* m) {
  m->caller = ReadProcess(r.getCaller());
  m->request = r.getRequest();
  m->lease = ReadLease(r.getLease());
  m->worker = ReadProcess(r.getWorker());
  in->Name(r.getAddress(), &m->address);
  ReadError(r.getError(), in, &m->error);
}

void Write(const LeaseReturn& m, schema::LeaseReturn::Builder b, Encoder*) { WritePair(m.lease, b.initLease()); }

void Read(schema::LeaseReturn::Reader r, Decoder*, LeaseReturn* m) { m->lease = ReadLease(r.getLease()); }

void Write(const LeaseFence& m, schema::LeaseFence::Builder b, Encoder*) { WritePair(m.lowest, b.initLowest()); }

void Read(schema::LeaseFence::Reader r, Decoder*, LeaseFence* m) { m->lowest = ReadLease(r.getLowest()); }

void Write(const LeaseBlocked& m, schema::LeaseBlocked::Builder b, Encoder*) {
  WritePair(m.lease, b.initLease());
  b.setBlocked(m.blocked);
}

void Read(schema::LeaseBlocked::Reader r, Decoder*, LeaseBlocked* m) {
  m->lease = ReadLease(r.getLease());
  m->blocked = r.getBlocked();
}

void Write(const LeasePending& m, schema::LeasePending::Builder b, Encoder*) {
  WritePair(m.caller, b.initCaller());
  b.setRequest(m.request);
  b.setReason(TextOf(m.reason));
  b.setWorkerLimit(m.worker_limit);
}

void Read(schema::LeasePending::Reader r, Decoder* in, LeasePending* m) {
  m->caller = ReadProcess(r.getCaller());
  m->request = r.getRequest();
  in->Text(r.getReason(), &m->reason);
  m->worker_limit = r.getWorkerLimit();
}

}  // namespace

MANTA_RPC_MESSAGE(LeaseRequest, LEASE_REQUEST)
MANTA_RPC_MESSAGE(LeaseCancel, LEASE_CANCEL)
MANTA_RPC_MESSAGE(LeaseGrant, LEASE_GRANT)
MANTA_RPC_MESSAGE(LeaseReturn, LEASE_RETURN)
MANTA_RPC_MESSAGE(LeaseFence, LEASE_FENCE)
MANTA_RPC_MESSAGE(LeaseBlocked, LEASE_BLOCKED)
MANTA_RPC_MESSAGE(LeasePending, LEASE_PENDING)

}  // namespace manta::rpc
