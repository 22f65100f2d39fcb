#include "runtime/node/pull_table.h"

#include "runtime/node/node_core.h"

namespace manta::runtime::node {

bool PullTable::Want(const rpc::ObjectResolved& answer, Output* out) {
  const auto [it, fresh] = pulls_.try_emplace(answer.object);
  Pull& pull = it->second;
  pull.askers.push_back(answer.asker);
  // A newer attempt replaces the one that is under way.
  const bool newer = !fresh && answer.attempt > pull.answer.attempt;
  if (!fresh && !newer) return false;
  Abandon(&pull, out);
  pull.answer = answer;
  pull.source = answer.value.location.node;
  pull.damaged = 0;
  return true;
}

std::optional<uint64_t> PullTable::Arrived(rpc::ObjectPulled pulled) {
  const auto it = pulls_.find(pulled.object);
  if (it == pulls_.end() || it->second.number != 0 || it->second.answer.attempt != pulled.attempt) return std::nullopt;
  it->second.number = ++last_number_;
  by_number_[it->second.number] = pulled.object;
  it->second.pulled = std::move(pulled);
  return it->second.number;
}

void PullTable::NotFound(const ObjectId& object, NodeId source, Output* out) {
  const auto it = pulls_.find(object);
  if (it == pulls_.end() || it->second.source != source || it->second.number != 0) return;
  AskAgain(it->second, out);
  pulls_.erase(it);
}

PullTable::Pull* PullTable::Write(uint64_t number, const rpc::StoreLocation& room) {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return nullptr;
  Pull& pull = pulls_.at(found->second);
  pull.room = room;
  return &pull;
}

std::optional<PullTable::Pull> PullTable::TakeRefused(uint64_t number) {
  const auto found = by_number_.find(number);
  if (found == by_number_.end()) return std::nullopt;
  const auto it = pulls_.find(found->second);
  std::optional<Pull> pull(std::move(it->second));
  pulls_.erase(it);
  by_number_.erase(found);
  return pull;
}

std::optional<PullTable::Written> PullTable::TakeWritten(uint64_t number) {
  if (const auto it = abandoned_.find(number); it != abandoned_.end()) {
    const Written written{it->second, std::nullopt};
    abandoned_.erase(it);
    return written;
  }
  std::optional<Pull> pull = TakeRefused(number);
  if (!pull) return std::nullopt;
  const rpc::StoreLocation room = pull->room;
  return Written{room, std::move(pull)};
}

void PullTable::AskAgain(const Pull& pull, Output* out) {
  for (const ProcessId asker : pull.askers) out->asks.push_back({pull.answer.object, asker});
}

bool PullTable::PullAgain(Pull* pull) {
  if (++pull->damaged >= kDamagedMax) return false;
  pull->number = 0;
  pull->room = {};
  pull->pulled = {};
  const ObjectId object = pull->answer.object;
  pulls_.emplace(object, std::move(*pull));
  return true;
}

void PullTable::SourceDied(NodeId source, Output* out) {
  EndIf(
      [source, out](const Pull& pull) {
        const bool bytes_are_here = pull.number != 0 && pull.pulled.size_bytes <= kPulledInlineBytesMax;
        if (pull.source != source || bytes_are_here) return false;
        AskAgain(pull, out);
        return true;
      },
      out);
}

void PullTable::HomeDied(NodeId home, Output* out) {
  EndIf([home](const Pull& pull) { return pull.answer.object.home() == home; }, out);
}

void PullTable::AskerDied(ProcessId asker, Output* out) {
  for (auto& [object, pull] : pulls_) std::erase(pull.askers, asker);
  EndIf([](const Pull& pull) { return pull.askers.empty(); }, out);
}

template <typename Gone>
void PullTable::EndIf(Gone gone, Output* out) {
  for (auto it = pulls_.begin(); it != pulls_.end();) {
    if (gone(it->second)) {
      Abandon(&it->second, out);
      it = pulls_.erase(it);
    } else {
      ++it;
    }
  }
}

// Back to where nothing has come. The grant of a request that is still out finds nobody, and is given back.
void PullTable::Abandon(Pull* pull, Output* out) {
  if (pull->writing()) {
    abandoned_[pull->number] = pull->room;
    out->abandoned.push_back(pull->number);
  }
  by_number_.erase(pull->number);
  pull->number = 0;
  pull->room = {};
  pull->pulled = {};
}

}  // namespace manta::runtime::node
