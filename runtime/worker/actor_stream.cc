#include "runtime/worker/actor_stream.h"

#include <algorithm>
#include <utility>

#include "base/rule.h"

namespace manta::runtime::worker {
namespace {

using rpc::ActorState;
using rpc::ErrorCode;
using rpc::ErrorInfo;

}  // namespace

void ActorStream::Submit(Call* call, std::vector<rpc::Value>* fresh) {
  call->stream = this;
  call->order = ++last_order_;
  if (call->deps == 0 && unsent_.empty() && again_.empty() && CanSend()) {
    if (fresh != nullptr) call->args.assign(fresh->begin(), fresh->end());
    return SendCall(call, fresh);
  }
  if (fresh != nullptr) call->args = std::move(*fresh);
  if (state_ == ActorState::kDead) {
    parts_.calls->Fail(call, DeadError(*call));
    return Continue();
  }
  unsent_.PushBack(call);
  if (state_ != ActorState::kAlive) Watch(false);
}

void ActorStream::Pump() {
  while (Call* call = front()) {
    if (call->deps != 0 || !CanSend()) return;
    call->list->Remove(call);
    SendCall(call, nullptr);
  }
}

bool ActorStream::CanSend() {
  if (state_ != ActorState::kAlive || peer_ == nullptr) return false;
  if (MANTA_RULE("actor.flight_order") && flight_incarnation_ != incarnation_ && !in_flight_.empty()) return false;
  if (peer_->connected()) return true;
  if (peer_->state == Peer::State::kNone) parts_.peers->Connect(peer_, address_);
  return false;
}

void ActorStream::SendCall(Call* call, std::vector<rpc::Value>* fresh) {
  if (flight_incarnation_ != incarnation_) {
    LeaveFlight();
    flight_incarnation_ = incarnation_;
    flight_worker_ = peer_->id;
    last_sequence_ = 0;
    const auto before = peer_->numbered.find(actor_);
    if (MANTA_RULE("actor.numbered_before") && before != peer_->numbered.end()) {
      if (before->second.incarnation == incarnation_) last_sequence_ = before->second.last_sequence;
      peer_->numbered.erase(before);
    }
  }
  flight_peer_ = peer_;
  in_flight_.PushBack(call);
  if (call->retries_of_actor && call->tries == 0) call->retries_left = max_task_retries_;
  rpc::CallRequest& request = parts_.calls->Send(call, peer_->id, fresh);
  request.actor = actor_;
  request.actor_incarnation = incarnation_;
  request.sequence = ++last_sequence_;
}

void ActorStream::OnNotExecuted(const rpc::CallReply& reply) {
  if (reply.error.code == ErrorCode::kCancelled || reply.error.code == ErrorCode::kTimeout) return;
  if (state_ != ActorState::kAlive || flight_incarnation_ != incarnation_) return;
  // It has ended there: the directory will say what comes next.
  state_ = ActorState::kRestarting;
  limbo_ = true;
  RetryAfter(kRetryFirst);
}

void ActorStream::Continue() {
  if (MANTA_RULE("actor.dead_is_final") && state_ == ActorState::kDead) {
    while (Call* call = front()) parts_.calls->Fail(call, DeadError(*call));
  }
  if (in_flight_.empty() && flight_peer_ != peer_) LeaveFlight();
  if (state_ == ActorState::kDead) FailUnsent();  // the worker gave it back after the directory's last word
  if (front() != nullptr) {
    Pump();
  } else if (handle_dropped_ && in_flight_.empty()) {
    parts_.out->idle_handles.push_back(actor_);
  }
}

void ActorStream::Again(Call* call) {
  if (!MANTA_RULE("actor.retry_first")) return unsent_.PushBack(call);
  Call* before = again_.back();
  while (before != nullptr && before->order > call->order) before = before->prev;
  again_.InsertAfter(before, call);
}

// ---------------------------------------------------------------- what the directory says

void ActorStream::Watch(bool wanted) {
  wanted_ = wanted_ || (wanted && (state_ == ActorState::kPending || state_ == ActorState::kRestarting));
  if (!watched_) {
    watched_ = true;
    parts_.out->ToDaemon(rpc::ActorWatch{.actor = actor_, .watcher = parts_.out->self()});
  }
  if (state_ != ActorState::kDead && retry_at_ == kInfiniteFuture) RetryAfter(kRetryFirst);
}

void ActorStream::WatchForUser() {
  user_watches_ = true;
  if (state_ == ActorState::kDead) {
    auto& update = parts_.out->Act<ActorChanged>().update;
    update.actor = actor_;
    update.state = state_;
    update.error = error_;
    return;
  }
  watched_ = false;
  Watch(false);
}

void ActorStream::OnHandleAdded() {
  handle_dropped_ = false;
  if (state_ == ActorState::kAlive || state_ == ActorState::kDead) SettleHandle();
}

void ActorStream::OnUpdate(const rpc::ActorUpdate& update) {
  // kDead is final, whoever says it: a directory that has lost its memory begins its versions anew.
  const bool now_known = limbo_ || update.waiting != waiting_for_;
  const bool news =
      update.version > version_ || (now_known && update.version == version_) || update.state == ActorState::kDead;
  if (MANTA_RULE("actor.update_version") && !news) return;
  if (state_ == ActorState::kDead) return;
  version_ = update.version;
  waiting_for_ = update.waiting;
  max_task_retries_ = update.max_task_retries;
  Decide(update.instead ? update.instead : actor_);
  if (update.state == ActorState::kAlive && update.incarnation <= killed_) {  // the directory will hear of its end
    if (retry_at_ == kInfiniteFuture) RetryAfter(kRetryFirst);
    return;
  }
  limbo_ = false;
  if (update.state == ActorState::kAlive || update.state == ActorState::kDead) EndCreation(update);
  switch (update.state) {
    case ActorState::kPending:
    case ActorState::kRestarting:
      state_ = update.state;
      MoveTo(nullptr);
      if (waits() && retry_at_ == kInfiniteFuture) RetryAfter(kRetryFirst);
      break;
    case ActorState::kAlive:
      if (parts_.peers->IsDead(update.worker)) {  // we know more than the directory did
        state_ = ActorState::kRestarting;
        limbo_ = true;
        MoveTo(nullptr);
        RetryAfter(kRetryFirst);
        break;
      }
      state_ = ActorState::kAlive;
      incarnation_ = update.incarnation;
      address_ = update.address;
      wanted_ = false;
      MoveTo(parts_.peers->FindOrAdd(update.worker));
      if (peer_->state == Peer::State::kUnreachable) peer_->state = Peer::State::kNone;
      SettleHandle();
      Pump();
      break;
    case ActorState::kDead:
      Die(update.error);
      break;
  }
}

void ActorStream::Die(ErrorInfo error) {
  state_ = ActorState::kDead;
  error_ = std::move(error);
  if (!error_) {
    error_.code = ErrorCode::kActorDied;
    error_.message = "actor " + ToString(actor_) + " is dead";
  }
  limbo_ = wanted_ = false;
  StopRetrying();
  MoveTo(nullptr);
  Decide(actor_);
  SettleHandle();
  FailUnsent();
  if (Call* creation = std::exchange(creation_, nullptr)) {
    if (!creation->created) AnnounceStillborn(creation);
    creation->completed = creation->actor_over = true;
    parts_.calls->DropArguments(creation);
    RetireIfOver(parts_.out, parts_.store, creation);
  }
  parts_.out->idle_handles.push_back(actor_);
}

void ActorStream::FailUnsent() {
  while (Call* call = front()) parts_.calls->Fail(call, DeadError(*call));
}

ErrorInfo ActorStream::DeadError(const Call& call) const {
  ErrorInfo error = parts_.calls->ErrorOf(call, error_);
  error.may_have_run = call.may_have_run;
  return error;
}

// The handle is a value while the actor has ever been alive, and an error when it is dead.
void ActorStream::SettleHandle() {
  const ObjectId handle = actor_.handle();
  ObjectEntry* entry = parts_.refs->Find(handle);
  if (entry == nullptr) return;
  if (state_ == ActorState::kDead) {
    if (entry->phase != ObjectEntry::Phase::kError) parts_.refs->ReplaceByError(handle, entry, error_);
  } else if (entry->pending()) {
    parts_.refs->SetValue(handle, entry, {});
  }
}

// ---------------------------------------------------------------- creation

void ActorStream::Create() {
  Call* call = creation_;
  const ObjectId handle = actor_.handle();
  parts_.refs->TicketRequest(&call->args, parts_.store->id(*call), 0);
  parts_.refs->Publish(handle, &call->result);
  call->created = call->tickets_out = true;
  auto& create = parts_.out->Send<rpc::ActorCreate>(parts_.out->daemon());
  create.spec = std::move(*call->spec);
  create.spec.args = call->args;  // kept: the arguments are held until the actor is dead for good
  call->spec.reset();
  RetryAfter(kRetryFirst);
  if (!call->result.referenced()) parts_.out->idle_handles.push_back(actor_);
}

// Others have the handle, or will have it, and wait for the directory's word: it hears of an actor that fits nowhere,
// and of its end.
void ActorStream::AnnounceStillborn(Call* creation) {
  if (creation->result.dropped) return;
  parts_.refs->Publish(actor_.handle(), &creation->result);
  auto& create = parts_.out->Send<rpc::ActorCreate>(parts_.out->daemon());
  create.spec.actor = actor_;
  create.spec.job = creation->spec->job;
  create.spec.class_name = creation->spec->class_name;
  create.spec.placement.Set("never", base::Fixed(1));
  auto& kill = parts_.out->Send<rpc::ActorKill>(parts_.out->daemon());
  kill.actor = actor_;
  kill.no_restart = true;
}

// The first incarnation has been constructed, or none will be: the tickets of the arguments end. What a later
// incarnation keeps it registers without one.
void ActorStream::EndCreation(const rpc::ActorUpdate& update) {
  if (creation_ == nullptr || !creation_->created) return;
  creation_->completed = true;
  if (!std::exchange(creation_->tickets_out, false) || !creation_->has_refs) return;
  parts_.refs->EndRequest(creation_->args, parts_.store->id(*creation_), 0, update.kept, update.worker);
}

// get_if_exists: which actor goes by the name.
void ActorStream::Decide(ActorId actor) {
  if (decided_ != 0) parts_.out->Act<ActorLookedUp>() = {std::exchange(decided_, 0), actor};
}

// ---------------------------------------------------------------- the end, by this process

void ActorStream::Kill(bool no_restart) {
  killed_for_good_ = no_restart;
  if (state_ == ActorState::kAlive) {
    killed_ = incarnation_;
    state_ = ActorState::kRestarting;
    limbo_ = true;
    RetryAfter(kRetryFirst);
  }
  SendKill();
}

// Once more does no harm: it names the incarnation that it is for.
void ActorStream::SendKill() const {
  const bool names_it = !killed_for_good_ && killed_ == incarnation_;
  parts_.out->ToDaemon(
      rpc::ActorKill{.actor = actor_, .no_restart = killed_for_good_, .incarnation = names_it ? killed_ : 0});
}

// ---------------------------------------------------------------- workers

void ActorStream::MoveTo(Peer* peer) {
  if (in_flight_.empty()) flight_peer_ = nullptr;
  Peer* old = std::exchange(peer_, peer);
  if (old != peer) unreachable_.clear();
  if (old != nullptr && old != peer && old != flight_peer_) old->streams.erase(actor_);
  if (peer != nullptr) peer->streams.emplace(actor_, this);
}

void ActorStream::LeaveFlight() {
  Peer* old = std::exchange(flight_peer_, nullptr);
  if (old != nullptr && old != peer_) old->streams.erase(actor_);
}

void ActorStream::OnWorkerDied(Peer* peer, const std::string& reason) {
  if (flight_peer_ == peer) {
    while (!in_flight_.empty()) LoseCall(in_flight_.PopFront(), reason);
    flight_peer_ = nullptr;
  }
  if (peer_ == peer) {
    peer_ = nullptr;
    state_ = ActorState::kRestarting;
    limbo_ = true;
    RetryAfter(kRetryFirst);
  }
  Continue();
}

void ActorStream::OnConnected() {
  unreachable_.clear();
  Pump();
}

// Another node may come back. On this one, somebody is out of descriptors: what is not sent does not wait for ever.
void ActorStream::OnUnreachable(Peer* peer, const std::string& why) {
  RetryAfter(kRetryFirst);
  if (peer != peer_ || peer->id.node != parts_.out->self().node) return;
  if (std::exchange(unreachable_, why).empty()) unreachable_since_ = parts_.out->now();
  if (parts_.out->now() - unreachable_since_ < kUnreachableMax) return;
  unreachable_.clear();
  peer->state = Peer::State::kNone;  // the next call tries again
  while (Call* call = front()) {
    ErrorInfo error = parts_.calls->Error(
        *call, ErrorCode::kWorkerLimit,
        "no channel to worker " + ToString(peer->id) + ", in which the actor lives, could be made for " +
            ToString(kUnreachableMax) + ": " + why +
            ". If a process has too many open files, raise their limit (ulimit -n) or use fewer actors at a time");
    error.may_have_run = call->may_have_run;
    parts_.calls->Fail(call, std::move(error));
  }
}

void ActorStream::LoseCall(Call* call, const std::string& reason) {
  parts_.calls->LoseAttempt(call);
  if (call->completed) return parts_.calls->Finish(call);
  if (call->cancelled) {
    return parts_.calls->Fail(
        call, parts_.calls->Error(*call, ErrorCode::kCancelled, "the call was cancelled while its actor died"));
  }
  if (parts_.calls->UseRetry(call)) return Again(call);
  parts_.calls->Fail(
      call, parts_.calls->Error(*call, ErrorCode::kActorDied,
                                "actor " + ToString(actor_) + " died with its worker " + ToString(call->worker) + " (" +
                                    reason +
                                    ") while it had this call. MaxTaskRetries(n) tries calls again on an "
                                    "actor that restarts (MaxRestarts)"));
}

// ---------------------------------------------------------------- waiting

void ActorStream::OnRetry() {
  retry_at_ = kInfiniteFuture;
  if (state_ == ActorState::kDead || !waits()) return;
  if (creation_ != nullptr && !creation_->created) return;  // Create will go on
  if (state_ == ActorState::kAlive) {
    if (peer_->connected()) return;
    if (peer_->state == Peer::State::kUnreachable) {
      peer_->state = Peer::State::kNone;
      Pump();
    }
  }
  if (killed_ != 0 && killed_ == incarnation_) SendKill();  // it may be lost with a head
  parts_.out->ToDaemon(rpc::ActorWatch{.actor = actor_, .watcher = parts_.out->self()});
  RetryAfter(std::min(retry_after_ * 2, kRetryMax));
}

void ActorStream::RetryAfter(Duration after) {
  StopRetrying();
  retry_after_ = after;
  retry_at_ = SaturatingAdd(parts_.out->now(), after);
  parts_.retries->insert({retry_at_, actor_});
}

void ActorStream::StopRetrying() {
  if (retry_at_ != kInfiniteFuture) parts_.retries->erase({retry_at_, actor_});
  retry_at_ = kInfiniteFuture;
}

std::string ActorStream::WhyWaiting() const {
  const std::string what = waiting_for_.empty() ? "" : ": " + waiting_for_;
  switch (state_) {
    case ActorState::kPending:
      if (creation_ == nullptr && version_ == 0) {
        return "where the actor lives is asked for, and not answered yet: by the head, if the actor is named or may "
               "be restarted, else by the node daemon of its creator";
      }
      return creation_ != nullptr && !creation_->created ? "the actor's constructor waits for its arguments"
                                                         : "the actor is being placed" + what;
    case ActorState::kRestarting:
      return "the actor's worker has ended, and its restart is awaited" + what;
    case ActorState::kAlive:
      if (peer_->connected()) return "";
      return "the actor's worker " + ToString(peer_->id) + " is being connected" +
             (unreachable_.empty() ? "" : ", which has failed: " + unreachable_);
    case ActorState::kDead:
      break;
  }
  return "";
}

std::vector<Call*> ActorStream::TakeCalls(bool in_flight) {
  std::vector<Call*> calls;
  while (in_flight && !in_flight_.empty()) calls.push_back(in_flight_.PopFront());
  for (CallList* list : {&again_, &unsent_}) {
    while (!list->empty()) calls.push_back(list->PopFront());
  }
  if (in_flight_.empty() && flight_peer_ != peer_) LeaveFlight();
  return calls;
}

void ActorStream::Detach() {
  StopRetrying();
  flight_peer_ = nullptr;
  MoveTo(nullptr);
  Peer* const numbered = last_sequence_ == 0 ? nullptr : parts_.peers->Find(flight_worker_);
  if (numbered != nullptr) numbered->numbered[actor_] = {flight_incarnation_, last_sequence_};
}

}  // namespace manta::runtime::worker
