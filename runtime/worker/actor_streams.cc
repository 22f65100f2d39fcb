#include "runtime/worker/actor_streams.h"

namespace manta::runtime::worker {

ActorStreams::~ActorStreams() {
  for (ActorStream* stream : All()) delete stream;
}

ActorStream* ActorStreams::Find(ActorId actor) const {
  const auto creator = creators_.find(actor.creator);
  return creator == creators_.end() ? nullptr : creator->second.Find(actor.number);
}

ActorStream* ActorStreams::FindOrAddOther(ActorId actor) {
  NumberTable<ActorStream>& streams = creators_[actor.creator];
  last_ = streams.Find(actor.number);
  if (last_ != nullptr) return last_;
  auto stream = std::make_unique<ActorStream>(actor, &parts_);
  streams.Insert(actor.number, stream.get());
  last_ = stream.release();
  last_->set_handle_dropped(parts_.refs->Find(actor.handle()) == nullptr);
  return last_;
}

void ActorStreams::OnIdleHandle(ActorId actor) {
  const ObjectId handle = actor.handle();
  const ObjectEntry* entry = parts_.refs->Find(handle);
  ActorStream* stream = Find(actor);
  if (entry != nullptr && entry->referenced()) {
    if (stream != nullptr) stream->set_handle_dropped(false);
    return;
  }
  if (stream != nullptr) {
    stream->set_handle_dropped(true);
    if (stream->busy()) return;
    if (stream->creation() != nullptr && !stream->creation()->created) return;
  }
  parts_.refs->ForgetUnreferenced(handle);
  if (stream != nullptr && stream->creation() == nullptr) Erase(stream);
}

void ActorStreams::OnConnected(Peer* peer) {
  const std::map<ActorId, ActorStream*> streams = peer->streams;
  for (const auto& [actor, stream] : streams) stream->OnConnected();
}

void ActorStreams::OnUnreachable(Peer* peer, const std::string& why) {
  const std::map<ActorId, ActorStream*> streams = peer->streams;
  for (const auto& [actor, stream] : streams) stream->OnUnreachable(peer, why);
}

void ActorStreams::OnWorkerDied(Peer* peer, const std::string& reason) {
  const std::map<ActorId, ActorStream*> streams = std::exchange(peer->streams, {});
  for (const auto& [actor, stream] : streams) stream->OnWorkerDied(peer, reason);
}

void ActorStreams::OnTick() {
  while (!retries_.empty() && retries_.begin()->first <= parts_.out->now()) {
    const ActorId actor = retries_.begin()->second;
    retries_.erase(retries_.begin());
    if (ActorStream* stream = Find(actor)) stream->OnRetry();
  }
}

std::vector<Call*> ActorStreams::TakeCalls(bool in_flight) {
  std::vector<Call*> calls;
  for (ActorStream* stream : All()) {
    const std::vector<Call*> own = stream->TakeCalls(in_flight);
    calls.insert(calls.end(), own.begin(), own.end());
  }
  return calls;
}

void ActorStreams::DaemonLost(const rpc::ErrorInfo& error) {
  for (ActorStream* stream : All()) stream->Die(error);
}

size_t ActorStreams::size() const {
  size_t size = 0;
  for (const auto& [creator, streams] : creators_) size += streams.size();
  return size;
}

std::vector<ActorStream*> ActorStreams::All() const {
  std::vector<ActorStream*> all;
  for (const auto& [creator, streams] : creators_) {
    streams.ForEach([&](ActorStream* stream) { all.push_back(stream); });
  }
  return all;
}

void ActorStreams::Erase(ActorStream* stream) {
  stream->Detach();
  if (last_ == stream) last_ = nullptr;
  const auto creator = creators_.find(stream->actor().creator);
  creator->second.Erase(stream->actor().number);
  if (creator->second.empty()) creators_.erase(creator);
  delete stream;
}

}  // namespace manta::runtime::worker
