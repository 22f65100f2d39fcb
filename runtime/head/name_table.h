// NameTable maps (namespace, name) to the actor that has it.
//
// Threads:    externally synchronised; pure.
// Invariants: (1) a name belongs to at most one actor, from its creation to its permanent death.
#ifndef MANTA_RUNTIME_HEAD_NAME_TABLE_H_
#define MANTA_RUNTIME_HEAD_NAME_TABLE_H_

#include <map>
#include <string>
#include <utility>

#include "base/ids.h"

namespace manta::runtime {

class NameTable {
 public:
  // Takes the name for `actor`. Returns who has it now: `actor`, or another that had it before.
  ActorId Take(const std::string& name_space, const std::string& name, ActorId actor) {
    return names_.try_emplace({name_space, name}, actor).first->second;
  }
  // Frees it, if it is `actor` that has it.
  void Free(const std::string& name_space, const std::string& name, ActorId actor) {
    const auto it = names_.find({name_space, name});
    if (it != names_.end() && it->second == actor) names_.erase(it);
  }
  // None: nobody has it.
  ActorId Find(const std::string& name_space, const std::string& name) const {
    const auto it = names_.find({name_space, name});
    return it == names_.end() ? ActorId{} : it->second;
  }
  // Everybody of that name, in whatever namespace: "namespace/name" -> actor.
  std::map<std::string, ActorId> FindAnywhere(const std::string& name) const {
    std::map<std::string, ActorId> found;
    for (const auto& [key, actor] : names_) {
      if (key.second == name || key.first + "/" + key.second == name) found[key.first + "/" + key.second] = actor;
    }
    return found;
  }
  size_t size() const { return names_.size(); }

 private:
  std::map<std::pair<std::string, std::string>, ActorId> names_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_NAME_TABLE_H_
