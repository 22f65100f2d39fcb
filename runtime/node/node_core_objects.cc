// Objects (docs/objects.md): references counted here or relayed, this node's memory, copies from other nodes.
#include <algorithm>
#include <utility>

#include "base/rule.h"
#include "runtime/node/node_core_impl.h"

namespace manta::runtime {

using node::PullTable;
using store::ObjectTable;

namespace {

// What a sealed object takes up.
rpc::SegmentReturn RangeOf(const rpc::StoreLocation& room) {
  constexpr uint64_t kUnit = ObjectTable::kAlignmentBytes;
  return {room.segment, room.offset, (std::max<uint64_t>(room.size_bytes, 1) + kUnit - 1) / kUnit * kUnit};
}

}  // namespace

// ---------------------------------------------------------------- references

// Messages of processes of this node go to the home of what they speak of, in the order in which they came; those that
// other nodes relay are for this home.
template <typename Message, typename Here>
void NodeCore::Impl::Route(ProcessId from, NodeId home, Message& message, Here here) {
  if (!IsMe(home)) {
    if (from.is_user_process()) SendNode(home, std::move(message));
    return;
  }
  node::HomeTable::Output output;
  (home_.*here)(message, &output);
  CarryOut(std::move(output));
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectSeal& message) {
  if (from.is_user_process() && !store_.Seal(from, message)) {
    Log(LogLine::Level::kError, ToString(from) + " sealed " + ToString(message.object) + " where it may not write");
    return Emit(KillProcess{from, "it sealed an object where it may not write"});
  }
  Route(from, message.object.home(), message, &node::HomeTable::Seal);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectPublish& message) {
  if (message.object.owner == from) Route(from, message.object.home(), message, &node::HomeTable::Publish);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::RefTicket& message) {
  Route(from, message.object.home(), message, &node::HomeTable::Ticket);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::RefOutcome& message) {
  Route(from, message.object.home(), message, &node::HomeTable::Outcome);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::RefRegister& message) {
  Route(from, message.object.home(), message, &node::HomeTable::Register);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::RefRelease& message) {
  Route(from, message.object.home(), message, &node::HomeTable::Release);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectResolve& message) {
  const NodeId home = message.object.home();
  if (MANTA_RULE("node.answer_for_dead_home") && from.is_user_process() && deaths_.IsDead(DaemonOf(home))) {
    // A process that is younger than that death has not heard of it.
    rpc::ObjectResolved lost;
    lost.object = message.object;
    lost.asker = message.asker;
    lost.error.code = rpc::ErrorCode::kObjectLost;
    lost.error.message = "node n" + std::to_string(home) +
                         ", which counted the references to this object, died: compute it again, from a process on a "
                         "node that lives";
    return Send(from, std::move(lost));
  }
  Route(from, message.object.home(), message, &node::HomeTable::Resolve);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectCopy& message) {
  if (from.is_daemon()) Route(from, message.object.home(), message, &node::HomeTable::Copy);
}

void NodeCore::Impl::CarryOut(node::HomeTable::Output output) {
  for (auto& [node, message] : output.sends) SendNode(node, std::move(message));
  for (const ActorId actor : output.unheld_actors) HandlesGone(actor);
}

// ---------------------------------------------------------------- reading

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectResolved& message) {
  if (from.is_daemon() && IsMe(message.asker.node)) ResolvedHere(message);
}

// The home has answered a process of this node; what is stored must be here before that process hears of it.
void NodeCore::Impl::ResolvedHere(const rpc::ObjectResolved& answer) {
  if (processes_.Find(answer.asker) == nullptr) return;
  if (answer.error || answer.value.kind != rpc::Value::Kind::kStored || IsMe(answer.value.location.node)) {
    return Send(answer.asker, answer);
  }
  const ObjectTable::Object* here = store_.Find(answer.object);
  if (here != nullptr && here->attempt == answer.attempt) {  // it has come meanwhile
    rpc::ObjectResolved local = answer;
    local.value.location = here->location;
    return Send(answer.asker, std::move(local));
  }
  if (deaths_.IsDead(DaemonOf(answer.value.location.node))) {
    // The home has not heard of that death, and will not say when it does.
    SendNode(answer.object.home(), rpc::ObjectCopy{answer.object, answer.attempt, answer.value.location, false});
    return SendNode(answer.object.home(), rpc::ObjectResolve{answer.object, answer.asker});
  }
  PullTable::Output output;
  if (pulls_.Want(answer, &output)) {
    SendNode(answer.value.location.node, rpc::ObjectPull{answer.object, answer.attempt, self_});
  }
  CarryOut(output);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectPull& message) {
  if (!from.is_daemon() || message.puller != from.node) return;
  rpc::ObjectPulled pulled;
  pulled.object = message.object;
  pulled.attempt = message.attempt;
  const ObjectTable::Object* object = store_.FindForOthers(message.object, message.attempt);
  if (object == nullptr) return SendNode(from.node, std::move(pulled));
  pulled.found = true;
  pulled.size_bytes = object->location.size_bytes;
  pulled.refs = object->refs;
  Emit(SendObject{from.node, std::move(pulled), object->location});
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectPulled& message) {
  if (!from.is_daemon()) return;
  if (!message.found) {
    PullTable::Output output;
    pulls_.NotFound(message.object, from.node, &output);
    return CarryOut(output);
  }
  const uint64_t size = message.size_bytes;
  if (const std::optional<uint64_t> request = pulls_.Arrived(std::move(message))) {
    ObjectTable::Actions actions;
    store_.Request(now_, DaemonOf(self_), {*request, size}, &actions);
    CarryOut(std::move(actions));
  }
}

// The store has answered the request for room that a pull made.
void NodeCore::Impl::GrantedToPull(const rpc::SegmentGrant& grant) {
  if (grant.size_bytes == 0) {
    std::optional<PullTable::Pull> refused = pulls_.TakeRefused(grant.request);
    if (!refused) return;
    refused->answer.value = {};
    refused->answer.error = grant.error;
    return FinishPull(*std::move(refused));
  }
  rpc::SegmentReturn rest{grant.segment, grant.offset, grant.size_bytes};
  if (PullTable::Pull* pull = pulls_.Write(grant.request, {self_, grant.segment, grant.offset, 0})) {
    pull->room.size_bytes = pull->pulled.size_bytes;
    Emit(WriteObject{pull->number, pull->pulled.object, pull->pulled.attempt, pull->source, pull->room,
                     pull->pulled.data});
    const uint64_t used_bytes = RangeOf(pull->room).size_bytes;
    rest.offset += used_bytes;
    rest.size_bytes -= used_bytes;
  }
  GiveBack(rest);
}

void NodeCore::Impl::On(ObjectWritten& event) {
  std::optional<PullTable::Written> written = pulls_.TakeWritten(event.pull);
  if (!written) return Log(LogLine::Level::kError, "a writing ended that was never begun");
  if (!written->pull) return GiveBack(RangeOf(written->room));
  PullTable::Pull& pull = *written->pull;
  const ObjectId& object = pull.answer.object;
  if (!event.error.empty()) {
    GiveBack(RangeOf(written->room));
    return PullFailed(std::move(pull), event);
  }
  if (!store_.Seal(DaemonOf(self_), {object, pull.pulled.attempt, pull.room, DaemonOf(self_), pull.pulled.refs})) {
    Log(LogLine::Level::kError, ToString(object) + " was written where nothing was leased");
  } else {
    SendNode(object.home(), rpc::ObjectCopy{object, pull.pulled.attempt, pull.room, true});
    pull.answer.value.location = pull.room;
    // Unless it has been made here by a newer attempt meanwhile.
    if (store_.Find(object)->location == pull.room) return FinishPull(std::move(pull));
  }
  PullTable::Output output;
  PullTable::AskAgain(pull, &output);
  CarryOut(output);
}

// The bytes of `pull` did not come, or came damaged. A source that sends damage again and again counts as without it.
void NodeCore::Impl::PullFailed(PullTable::Pull pull, const ObjectWritten& event) {
  const rpc::ObjectCopy none{pull.answer.object, pull.answer.attempt, pull.answer.value.location, false, true};
  const std::string what =
      ToString(none.object) + " did not come from node n" + std::to_string(pull.source) + ": " + event.error;
  if (event.damaged && pulls_.PullAgain(&pull)) {
    Log(LogLine::Level::kWarning, what + "; it is pulled from there once more");
    return SendNode(none.location.node, rpc::ObjectPull{none.object, none.attempt, self_});
  }
  Log(LogLine::Level::kWarning, what + "; its home is asked again");
  if (event.damaged) SendNode(none.object.home(), none);
  PullTable::Output output;
  PullTable::AskAgain(pull, &output);
  CarryOut(output);
}

// The pull is over: the askers are answered.
void NodeCore::Impl::FinishPull(PullTable::Pull pull) {
  for (const ProcessId asker : pull.askers) {
    pull.answer.asker = asker;
    if (processes_.Find(asker) != nullptr) Send(asker, pull.answer);
  }
}

void NodeCore::Impl::GiveBack(const rpc::SegmentReturn& range) {
  ObjectTable::Actions actions;
  if (!store_.Return(DaemonOf(self_), range, &actions)) {
    Log(LogLine::Level::kError, "room for a pulled object was not leased");
  }
  CarryOut(std::move(actions));
}

void NodeCore::Impl::CarryOut(const PullTable::Output& output) {
  for (const uint64_t pull : output.abandoned) {
    Emit(AbandonWrite{pull});
    if (!MANTA_RULE("pull.room_until_written")) GiveBack(RangeOf(pulls_.TakeWritten(pull)->room));
  }
  for (const rpc::ObjectResolve& ask : output.asks) SendNode(ask.object.home(), ask);
}

// ---------------------------------------------------------------- the store

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ObjectDrop& message) {
  if (from.is_daemon() && message.object.home() == from.node) store_.Drop(message.object, message.attempt);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::SegmentRequest& message) {
  if (!from.is_user_process()) return;
  ObjectTable::Actions actions;
  store_.Request(now_, from, message, &actions);
  CarryOut(std::move(actions));
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::SegmentReturn& message) {
  if (!from.is_user_process()) return;
  ObjectTable::Actions actions;
  if (!store_.Return(from, message, &actions)) Emit(KillProcess{from, "it gave back memory that it had not leased"});
  CarryOut(std::move(actions));
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::SegmentMap& message) {
  // Without a descriptor if there is no such segment.
  if (from.is_user_process()) GiveSegment(from, message, store_.HasSegment(message.segment) ? message.segment : 0);
}

void NodeCore::Impl::GiveSegment(ProcessId to, rpc::Message message, uint64_t segment) {
  if (segment != 0) segment_holders_[segment].insert(to);
  Emit(SendSegment{to, std::move(message), segment});
}

void NodeCore::Impl::On(SegmentCreated& event) {
  ObjectTable::Actions actions;
  store_.Created(event.segment, event.size_bytes, event.error, &actions);
  CarryOut(std::move(actions));
}

void NodeCore::Impl::On(PinsScanned& event) {
  ObjectTable::Actions actions;
  store_.Scanned(now_, event.unpinned, event.pinned, &actions);
  CarryOut(std::move(actions));
}

void NodeCore::Impl::CarryOut(ObjectTable::Actions actions) {
  for (ObjectTable::Action& action : actions) {
    if (auto* grant = std::get_if<ObjectTable::Grant>(&action)) {
      if (grant->to.is_daemon()) {
        GrantedToPull(grant->grant);
      } else {
        const uint64_t segment = grant->grant.segment;
        GiveSegment(grant->to, std::move(grant->grant), segment);
      }
    } else if (auto* create = std::get_if<ObjectTable::Create>(&action)) {
      Emit(CreateSegment{create->segment, create->size_bytes});
    } else if (auto* destroy = std::get_if<ObjectTable::Destroy>(&action)) {
      Emit(DestroySegment{destroy->segment});
      for (const ProcessId holder : segment_holders_[destroy->segment])
        Send(holder, rpc::SegmentGone{destroy->segment});
      segment_holders_.erase(destroy->segment);
    } else {
      PinScan scan;
      for (auto& [object, location] : std::get<ObjectTable::Scan>(action).ranges)
        scan.ranges.push_back({object, location});
      Emit(std::move(scan));
    }
  }
}

}  // namespace manta::runtime
