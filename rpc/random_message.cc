#include "rpc/random_message.h"

#include <string>
#include <utility>
#include <vector>

namespace manta::rpc {
namespace {

using base::Rng;

// Numbers are often 0, often small, and sometimes anything.
uint64_t Number(Rng* rng) {
  switch (rng->Uniform(4)) {
    case 0:
      return 0;
    case 1:
      return rng->Uniform(16);
    case 2:
      return UINT64_MAX - rng->Uniform(3);
    default:
      return rng->Next();
  }
}
size_t Count(Rng* rng) { return rng->Bernoulli(0.02) ? rng->Uniform(300) : rng->Uniform(4); }

// A name: UTF-8.
std::string Name(Rng* rng) {
  static constexpr const char* kCharacters[] = {"a", "b", "Z", "0", "/", " ", "é", "ß", "猫", "𝛌"};
  std::string name;
  for (size_t left = Count(rng) * 4; left > 0; --left) name += kCharacters[rng->Uniform(std::size(kCharacters))];
  return name;
}
// What a user may have put into an exception: any bytes.
std::string Text(Rng* rng) {
  std::string text(Count(rng) * 5, '\0');
  for (char& c : text) c = static_cast<char>(rng->Next());
  return text;
}

void Fill(Rng* rng, bool& x) { x = rng->Bernoulli(0.5); }
void Fill(Rng* rng, uint32_t& x) { x = static_cast<uint32_t>(Number(rng)); }
void Fill(Rng* rng, int32_t& x) { x = static_cast<int32_t>(Number(rng) >> 33) - 1; }  // -1 and above
void Fill(Rng* rng, uint64_t& x) { x = Number(rng); }
void Fill(Rng* rng, std::string& x) { x = Name(rng); }
void Fill(Rng* rng, Bytes& x) {
  const size_t size = rng->Bernoulli(0.05) ? rng->Uniform(20'000) : rng->Uniform(40);
  std::string data(size, '\0');
  for (char& c : data) c = static_cast<char>(rng->Next());
  x = Bytes(data);
}
template <typename E>
void FillEnum(Rng* rng, E& x, E last) {
  x = static_cast<E>(rng->Uniform(static_cast<uint64_t>(last) + 1));
}
void Fill(Rng* rng, Outcome& x) { FillEnum(rng, x, Outcome::kUnknown); }
void Fill(Rng* rng, ActorState& x) { FillEnum(rng, x, ActorState::kDead); }
void Fill(Rng* rng, ProcessKind& x) { FillEnum(rng, x, ProcessKind::kZygote); }

void Fill(Rng* rng, ProcessId& x);
void Fill(Rng* rng, CallId& x);
void Fill(Rng* rng, ObjectId& x);
void Fill(Rng* rng, ActorId& x);
void Fill(Rng* rng, LeaseId& x);
void Fill(Rng* rng, TicketId& x);
void Fill(Rng* rng, StoreLocation& x);
void Fill(Rng* rng, NestedRef& x);
void Fill(Rng* rng, Value& x);
void Fill(Rng* rng, ErrorInfo& x);
void Fill(Rng* rng, ResourceSet& x);
void Fill(Rng* rng, ActorSpec& x);
void Fill(Rng* rng, SchedulingHint& x);
void Fill(Rng* rng, ProgramFile& x);
void Fill(Rng* rng, StateField& x);
void Fill(Rng* rng, StateRow& x);
void Fill(Rng* rng, NodeInfo& x);
void Fill(Rng* rng, ActorStarted& x);
void Fill(Rng* rng, ActorEnded& x);

template <typename T>
void Fill(Rng* rng, std::vector<T>& x) {
  x.resize(Count(rng));
  for (T& item : x) Fill(rng, item);
}

template <typename... Fields>
void All(Rng* rng, Fields&... fields) {
  (Fill(rng, fields), ...);
}

// Structured bindings name every field: a field that message.h gains and this file lacks does not compile.
void Fill(Rng* rng, ProcessId& x) {
  auto& [node, number] = x;
  All(rng, node, number);
}
void Fill(Rng* rng, CallId& x) {
  auto& [caller, number] = x;
  All(rng, caller, number);
}
void Fill(Rng* rng, ObjectId& x) {
  auto& [owner, number, index] = x;
  All(rng, owner, number, index);
}
void Fill(Rng* rng, ActorId& x) {
  auto& [creator, number] = x;
  All(rng, creator, number);
}
void Fill(Rng* rng, LeaseId& x) {
  auto& [node, number] = x;
  All(rng, node, number);
}
void Fill(Rng* rng, TicketId& x) {
  auto& [call, attempt, index, reply] = x;
  All(rng, call, attempt, index, reply);
}
void Fill(Rng* rng, StoreLocation& x) {
  auto& [node, segment, offset, size_bytes] = x;
  All(rng, node, segment, offset, size_bytes);
}
void Fill(Rng* rng, NestedRef& x) {
  auto& [object, location] = x;
  All(rng, object, location);
}
void Fill(Rng* rng, Value& x) {
  auto& [kind, bytes, object, location, refs] = x;
  if (rng->Bernoulli(0.5)) {
    kind = Value::Kind::kInline;
    All(rng, bytes, refs);
  } else {
    kind = Value::Kind::kStored;
    All(rng, object, location, refs);
  }
}
void Fill(Rng* rng, ErrorInfo& x) {
  auto& [code, type, message, where, chain, may_have_run] = x;
  FillEnum(rng, code, ErrorCode::kInternal);
  if (code == ErrorCode::kNone) return;
  type = Text(rng);
  message = Text(rng);
  where = Text(rng);
  chain.resize(Count(rng) % 10);
  for (std::string& call : chain) call = Text(rng);
  Fill(rng, may_have_run);
}
void Fill(Rng* rng, ResourceSet& x) {
  for (size_t left = Count(rng) % 256; left > 0; --left) {
    const std::string name = "é" + std::to_string(rng->Uniform(1000));
    x.Set(name, base::Fixed::FromUnits(static_cast<int64_t>(1 + rng->Uniform(base::Fixed::kUnitsMax))));
  }
}
void Fill(Rng* rng, SchedulingHint& x) {
  auto& [spreading, affinity, affinity_hard] = x;
  FillEnum(rng, spreading, Spreading::kSpread);
  All(rng, affinity, affinity_hard);
}
void Fill(Rng* rng, ActorSpec& x) {
  auto& [actor, job, name, name_space, get_if_exists, class_name, constructor, args, placement, lifetime, max_restarts,
         max_concurrency, parent, max_task_retries, detached, hint] = x;
  All(rng, actor, job, name, name_space, get_if_exists, class_name, constructor, args, placement, lifetime,
      max_restarts, max_concurrency, parent, max_task_retries, detached, hint);
}
void Fill(Rng* rng, NodeInfo& x) {
  auto& [node, name, address, total, available, version, pid, machine, beside_head] = x;
  All(rng, node, name, address, total, available, version, pid, machine, beside_head);
}
void Fill(Rng* rng, ProgramFile& x) {
  auto& [path, sha256, size_bytes, executable] = x;
  All(rng, path, size_bytes, executable);
  sha256 = Bytes(std::string(32, static_cast<char>(rng->Next())));
}
void Fill(Rng* rng, StateField& x) {
  auto& [key, value, is_json] = x;
  All(rng, key, is_json);
  value = Text(rng);
}
void Fill(Rng* rng, StateRow& x) {
  auto& [fields] = x;
  All(rng, fields);
}

void Fill(Rng* rng, CallRequest& x) {
  auto& [call, attempt, job, name_space, function, name, lease, actor, actor_incarnation, sequence, args, return_count,
         deadline_ns, parent, depth, trace, concurrency_group, cancel_token, retry_on_exception] = x;
  All(rng, call, attempt, job, name_space, function, name, lease, actor, actor_incarnation, sequence, args,
      return_count, deadline_ns, parent, depth, trace, concurrency_group, cancel_token, retry_on_exception);
}
void Fill(Rng* rng, CallReply& x) {
  auto& [call, attempt, outcome, returns, error, kept, run_ns] = x;
  All(rng, call, attempt, outcome, returns, error, kept, run_ns);
}
void Fill(Rng* rng, CallCancel& x) {
  auto& [call, attempt] = x;
  All(rng, call, attempt);
}

void Fill(Rng* rng, LeaseRequest& x) {
  auto& [caller, request, job, shape, depth, forwarded, hint] = x;
  All(rng, caller, request, job, shape, depth, forwarded, hint);
}
void Fill(Rng* rng, LeaseCancel& x) {
  auto& [caller, request] = x;
  All(rng, caller, request);
}
void Fill(Rng* rng, LeaseGrant& x) {
  auto& [caller, request, lease, worker, address, error] = x;
  All(rng, caller, request, lease, worker, address, error);
}
void Fill(Rng* rng, LeaseReturn& x) {
  auto& [lease] = x;
  All(rng, lease);
}
void Fill(Rng* rng, LeaseFence& x) {
  auto& [lowest] = x;
  All(rng, lowest);
}
void Fill(Rng* rng, LeaseBlocked& x) {
  auto& [lease, blocked] = x;
  All(rng, lease, blocked);
}
void Fill(Rng* rng, LeasePending& x) {
  auto& [caller, request, reason, worker_limit] = x;
  All(rng, caller, request, worker_limit);
  reason = Text(rng);
}

void Fill(Rng* rng, ActorCreate& x) {
  auto& [spec] = x;
  All(rng, spec);
}
void Fill(Rng* rng, ActorStart& x) {
  auto& [spec, incarnation] = x;
  All(rng, spec, incarnation);
}
void Fill(Rng* rng, ActorConstruct& x) {
  auto& [spec, incarnation, lease] = x;
  All(rng, spec, incarnation, lease);
}
void Fill(Rng* rng, ActorStarted& x) {
  auto& [actor, incarnation, worker, address, error, kept] = x;
  All(rng, actor, incarnation, worker, address, error, kept);
}
void Fill(Rng* rng, ActorEnded& x) {
  auto& [actor, incarnation, intended, error] = x;
  All(rng, actor, incarnation, intended, error);
}
void Fill(Rng* rng, ActorWatch& x) {
  auto& [actor, watcher] = x;
  All(rng, actor, watcher);
}
void Fill(Rng* rng, ActorUpdate& x) {
  auto& [actor, watcher, version, state, incarnation, worker, address, error, kept, will_restart, waiting,
         max_task_retries, instead] = x;
  All(rng, actor, watcher, version, state, incarnation, worker, address, error, kept, will_restart, waiting,
      max_task_retries, instead);
}
void Fill(Rng* rng, ActorKill& x) {
  auto& [actor, no_restart, graceful, incarnation] = x;
  All(rng, actor, no_restart, graceful, incarnation);
}
void Fill(Rng* rng, ActorLookup& x) {
  auto& [asker, request, name_space, name] = x;
  All(rng, asker, request, name_space, name);
}
void Fill(Rng* rng, ActorFound& x) {
  auto& [asker, request, actor, max_concurrency] = x;
  All(rng, asker, request, actor, max_concurrency);
}

void Fill(Rng* rng, ObjectSeal& x) {
  auto& [object, attempt, location, holder, refs] = x;
  All(rng, object, attempt, location, holder, refs);
}
void Fill(Rng* rng, ObjectPublish& x) {
  auto& [object, pending, value, error] = x;
  All(rng, object, pending, value, error);
}
void Fill(Rng* rng, RefTicket& x) {
  auto& [ticket, object, holder, receiver] = x;
  All(rng, ticket, object, holder, receiver);
}
void Fill(Rng* rng, RefOutcome& x) {
  auto& [ticket, object, kept_by, ticket_by] = x;
  All(rng, ticket, object, kept_by, ticket_by);
}
void Fill(Rng* rng, RefRegister& x) {
  auto& [object, holder, borrow, ticket, ticket_by] = x;
  All(rng, object, holder, borrow, ticket, ticket_by);
}
void Fill(Rng* rng, RefRelease& x) {
  auto& [object, holder, borrow, sealed_on, sealed_attempt] = x;
  All(rng, object, holder, borrow, sealed_on, sealed_attempt);
}
void Fill(Rng* rng, ObjectResolve& x) {
  auto& [object, asker] = x;
  All(rng, object, asker);
}
void Fill(Rng* rng, ObjectResolved& x) {
  auto& [object, asker, attempt, value, error] = x;
  All(rng, object, asker, attempt, value, error);
}
void Fill(Rng* rng, ObjectPull& x) {
  auto& [object, attempt, puller] = x;
  All(rng, object, attempt, puller);
}
void Fill(Rng* rng, ObjectPulled& x) {
  auto& [object, attempt, found, size_bytes, data, refs] = x;
  All(rng, object, attempt, found, size_bytes, data, refs);
}
void Fill(Rng* rng, ObjectDrop& x) {
  auto& [object, attempt] = x;
  All(rng, object, attempt);
}
void Fill(Rng* rng, ObjectCopy& x) {
  auto& [object, attempt, location, present, damaged] = x;
  All(rng, object, attempt, location, present, damaged);
}
void Fill(Rng* rng, SegmentRequest& x) {
  auto& [request, size_bytes] = x;
  All(rng, request, size_bytes);
}
void Fill(Rng* rng, SegmentGrant& x) {
  auto& [request, segment, offset, size_bytes, error] = x;
  All(rng, request, segment, offset, size_bytes, error);
}
void Fill(Rng* rng, SegmentReturn& x) {
  auto& [segment, offset, size_bytes] = x;
  All(rng, segment, offset, size_bytes);
}
void Fill(Rng* rng, SegmentMap& x) {
  auto& [segment] = x;
  All(rng, segment);
}

void Fill(Rng* rng, SegmentGone& x) {
  auto& [segment] = x;
  All(rng, segment);
}

void Fill(Rng* rng, ProcessHello& x) {
  auto& [kind, process, job, pid, address, program, name_space, argv, files] = x;
  All(rng, kind, process, job, pid, address, name_space, argv, files);
  program = Text(rng);
}
void Fill(Rng* rng, ProcessWelcome& x) {
  auto& [process, job, name_space, polling_slot] = x;
  All(rng, process, job, name_space, polling_slot);
}
void Fill(Rng* rng, ProcessDied& x) {
  auto& [process, reason, newest_node] = x;
  All(rng, process, newest_node);
  reason = Text(rng);
}
void Fill(Rng* rng, DeathDrained& x) {
  auto& [process, by] = x;
  All(rng, process, by);
}
void Fill(Rng* rng, ProcessExit& x) {
  auto& [graceful, reason] = x;
  All(rng, graceful);
  reason = Text(rng);
}
void Fill(Rng* rng, JobEnd& x) {
  auto& [job] = x;
  All(rng, job);
}
void Fill(Rng* rng, Output& x) {
  auto& [process, is_stderr, text, dropped_bytes, job] = x;
  All(rng, process, is_stderr, text, dropped_bytes, job);
}
void Fill(Rng* rng, PeerOffer& x) {
  auto& [from, to, mark] = x;
  All(rng, from, to, mark);
}
void Fill(Rng* rng, PeerAnswer& x) {
  auto& [from, to, mark, offer_mark, refused] = x;
  All(rng, from, to, mark, offer_mark);
  refused = Text(rng);
}

void Fill(Rng* rng, PeerBroke& x) {
  auto& [peer, why] = x;
  All(rng, peer);
  why = Text(rng);
}

void Fill(Rng* rng, NodeRegister& x) {
  auto& [info, actors, ended] = x;
  All(rng, info, actors, ended);
}
void Fill(Rng* rng, NodeAccepted& x) {
  auto& [node, head_epoch] = x;
  All(rng, node, head_epoch);
}
void Fill(Rng* rng, NodeFenced& x) {
  auto& [node] = x;
  All(rng, node);
}
void Fill(Rng* rng, Heartbeat& x) {
  auto& [node, number] = x;
  All(rng, node, number);
}
void Fill(Rng* rng, NodeReport& x) {
  auto& [info] = x;
  All(rng, info);
}
void Fill(Rng* rng, ClusterView& x) {
  auto& [version, nodes] = x;
  All(rng, version, nodes);
}
void Fill(Rng* rng, NodeDied& x) {
  auto& [node, reason] = x;
  All(rng, node);
  reason = Text(rng);
}
void Fill(Rng* rng, JobRegister& x) {
  auto& [request, node, driver, program] = x;
  All(rng, request, node, driver);
  program = Text(rng);
}
void Fill(Rng* rng, JobAccepted& x) {
  auto& [request, driver, job, has_detached] = x;
  All(rng, request, driver, job, has_detached);
}

void Fill(Rng* rng, PeerDial& x) {
  auto& [peer] = x;
  All(rng, peer);
}
void Fill(Rng* rng, PeerLink& x) {
  auto& [peer, dialled, early, refused, dead] = x;
  All(rng, peer, dialled, early, dead);
  refused = Text(rng);
}
void Fill(Rng* rng, ProgramRequest& x) {
  auto& [job, asker] = x;
  All(rng, job, asker);
}
void Fill(Rng* rng, ProgramInfo& x) {
  auto& [job, node, name_space, files, argv, error] = x;
  All(rng, job, node, name_space, files, argv);
  error = Text(rng);
}
void Fill(Rng* rng, StateQuery& x) {
  auto& [request, kind, node, subject, offset, limit, no_restart, filters] = x;
  FillEnum(rng, kind, StateKind::kKillActor);
  All(rng, request, node, subject, offset, limit, no_restart, filters);
}
void Fill(Rng* rng, StateReply& x) {
  auto& [request, node, rows, text, truncated, error] = x;
  All(rng, request, node, rows, text, truncated);
  error = Text(rng);
}

void Fill(Rng* rng, NodesQuery& x) {
  auto& [request] = x;
  All(rng, request);
}
void Fill(Rng* rng, NodesReply& x) {
  auto& [request, nodes] = x;
  All(rng, request, nodes);
}

template <size_t kType>
Message Make(Rng* rng) {
  std::variant_alternative_t<kType, MessageVariant> message;
  Fill(rng, message);
  return Message(std::in_place_index<kType>, std::move(message));
}

template <size_t... kTypes>
Message MakeOf(uint16_t type, Rng* rng, std::index_sequence<kTypes...>) {
  static constexpr Message (*kMake[])(Rng*) = {&Make<kTypes>...};
  return kMake[type](rng);
}

}  // namespace

Message RandomMessage(uint16_t type, Rng* rng) {
  MANTA_CHECK(type < kMessageTypeCount) << type;
  return MakeOf(type, rng, std::make_index_sequence<kMessageTypeCount>());
}

}  // namespace manta::rpc
