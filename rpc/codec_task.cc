#include "rpc/codec_internal.h"
#include "rpc/schema/task.capnp.h"

namespace manta::rpc {
namespace {

void Write(const CallRequest& m, schema::CallRequest::Builder b, Encoder* out) {
  WriteCall(m.call, b.getCall());
  b.setAttempt(m.attempt);
  b.setDepth(m.depth);
  b.setJob(m.job);
  b.setFunction(m.function);
  WritePair(m.lease, b.getLease());
  WriteActor(m.actor, b.getActor());
  b.setActorIncarnation(m.actor_incarnation);
  b.setSequence(m.sequence);
  b.setDeadlineNs(m.deadline_ns);
  WriteCall(m.parent, b.getParent());
  b.setTrace(m.trace);
  b.setCancelToken(m.cancel_token);
  b.setReturnCount(m.return_count);
  b.setConcurrencyGroup(m.concurrency_group);
  b.setRetryOnException(m.retry_on_exception);
  if (!m.name_space.empty()) b.setNameSpace(TextOf(m.name_space));
  if (!m.name.empty()) b.setName(TextOf(m.name));
  if (!m.args.empty()) WriteValues(m.args, b.initArgs(static_cast<kj::uint>(m.args.size())), out);
}

void Read(schema::CallRequest::Reader r, Decoder* in, CallRequest* m) {
  m->call = ReadCall(r.getCall());
  m->attempt = r.getAttempt();
  m->depth = r.getDepth();
  m->job = r.getJob();
  m->function = r.getFunction();
  m->lease = ReadLease(r.getLease());
  m->actor = ReadActor(r.getActor());
  m->actor_incarnation = r.getActorIncarnation();
  m->sequence = r.getSequence();
  m->deadline_ns = r.getDeadlineNs();
  m->parent = ReadCall(r.getParent());
  m->trace = r.getTrace();
  m->cancel_token = r.getCancelToken();
  m->return_count = r.getReturnCount();
  m->concurrency_group = r.getConcurrencyGroup();
  m->retry_on_exception = r.getRetryOnException();
  in->Name(r.getNameSpace(), &m->name_space);
  in->Name(r.getName(), &m->name);
  ReadValues(r.getArgs(), in, &m->args);
}

void Write(const CallReply& m, schema::CallReply::Builder b, Encoder* out) {
  WriteCall(m.call, b.getCall());
  b.setAttempt(m.attempt);
  b.setOutcome(static_cast<schema::Outcome>(m.outcome));
  b.setRunNs(m.run_ns);
  if (!m.returns.empty()) WriteValues(m.returns, b.initReturns(static_cast<kj::uint>(m.returns.size())), out);
  if (m.error) WriteError(m.error, b.initError());
  if (!m.kept.empty()) WriteNumbers(m.kept, b.initKept(static_cast<kj::uint>(m.kept.size())));
}

void Read(schema::CallReply::Reader r, Decoder* in, CallReply* m) {
  m->call = ReadCall(r.getCall());
  m->attempt = r.getAttempt();
  m->outcome = in->Enum(r.getOutcome(), Outcome::kUnknown);
  m->run_ns = r.getRunNs();
  ReadValues(r.getReturns(), in, &m->returns);
  if (r.hasError()) {
    ReadError(r.getError(), in, &m->error);
  } else if (m->error) {
    m->error = ErrorInfo();
  }
  ReadNumbers(r.getKept(), in, &m->kept);
}

void Write(const CallCancel& m, schema::CallCancel::Builder b, Encoder*) {
  WriteCall(m.call, b.getCall());
  b.setAttempt(m.attempt);
}

void Read(schema::CallCancel::Reader r, Decoder*, CallCancel* m) {
  m->call = ReadCall(r.getCall());
  m->attempt = r.getAttempt();
}

}  // namespace

MANTA_RPC_MESSAGE(CallRequest, CALL_REQUEST)
MANTA_RPC_MESSAGE(CallReply, CALL_REPLY)
MANTA_RPC_MESSAGE(CallCancel, CALL_CANCEL)

void EncodeCallRequest(const CallRequest& request, FrameBuffer* out, size_t gather_bytes_min) {
  EncodeAs(request, out, gather_bytes_min);
}
void EncodeCallReply(const CallReply& reply, FrameBuffer* out, size_t gather_bytes_min) {
  EncodeAs(reply, out, gather_bytes_min);
}
absl::Status DecodeCallRequest(const void* data, size_t size, size_t capnp_bytes, CallRequest* out) {
  return DecodeAs(data, size, capnp_bytes, out);
}
absl::Status DecodeCallReply(const void* data, size_t size, size_t capnp_bytes, CallReply* out) {
  return DecodeAs(data, size, capnp_bytes, out);
}

}  // namespace manta::rpc
