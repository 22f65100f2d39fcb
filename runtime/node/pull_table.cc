#include "runtime/node/pull_table.h"

#include <iterator>

namespace manta::runtime::node {

bool PullTable::Want(const rpc::ObjectResolved& answer) {
  const auto [it, fresh] = pulls_.try_emplace(answer.object);
  Pull& pull = it->second;
  pull.askers.push_back(answer.asker);
  // A newer attempt replaces the one that is under way.
  const bool newer = !fresh && answer.attempt > pull.answer.attempt;
  if (!fresh && !newer) return false;
  pull.answer = answer;
  pull.source = answer.value.location.node;
  by_request_.erase(pull.request);
  pull.request = 0;
  return true;
}

std::optional<uint64_t> PullTable::Arrived(rpc::ObjectPulled pulled) {
  const auto it = pulls_.find(pulled.object);
  if (it == pulls_.end() || it->second.request != 0 || it->second.answer.attempt != pulled.attempt) return std::nullopt;
  it->second.request = ++last_request_;
  by_request_[it->second.request] = pulled.object;
  it->second.pulled = std::move(pulled);
  return it->second.request;
}

std::vector<rpc::ObjectResolve> PullTable::NotFound(const ObjectId& object, NodeId source) {
  std::vector<rpc::ObjectResolve> messages;
  const auto it = pulls_.find(object);
  if (it == pulls_.end() || it->second.source != source || it->second.request != 0) return messages;
  AskAgain(object, it->second, &messages);
  pulls_.erase(it);
  return messages;
}

std::vector<rpc::ObjectResolve> PullTable::SourceDied(NodeId source) {
  std::vector<rpc::ObjectResolve> messages;
  for (auto it = pulls_.begin(); it != pulls_.end();) {
    if (it->second.source != source || it->second.request != 0) {
      ++it;
      continue;
    }
    AskAgain(it->first, it->second, &messages);
    it = pulls_.erase(it);
  }
  return messages;
}

std::optional<PullTable::Pull> PullTable::TakeByRequest(uint64_t request) {
  const auto found = by_request_.find(request);
  if (found == by_request_.end()) return std::nullopt;
  const auto it = pulls_.find(found->second);
  by_request_.erase(found);
  if (it == pulls_.end()) return std::nullopt;
  std::optional<Pull> pull(std::move(it->second));
  pulls_.erase(it);
  return pull;
}

void PullTable::HomeDied(NodeId home) {
  for (auto it = pulls_.begin(); it != pulls_.end();) {
    if (it->first.home() != home) {
      ++it;
      continue;
    }
    by_request_.erase(it->second.request);
    it = pulls_.erase(it);
  }
}

void PullTable::AskerDied(ProcessId asker) {
  for (auto& [object, pull] : pulls_) std::erase(pull.askers, asker);
}

void PullTable::AskAgain(const ObjectId& object, const Pull& pull, std::vector<rpc::ObjectResolve>* messages) {
  for (const ProcessId asker : pull.askers) messages->push_back({object, asker});
}

}  // namespace manta::runtime::node
