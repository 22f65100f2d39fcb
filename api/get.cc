#include "manta/get.h"

#include <string>

#include "base/ids.h"
#include "manta/error.h"

namespace manta::internal {
namespace {

constexpr uint32_t kActorIndex = 0xFFFFFFFFu;  // ObjectId::is_actor

}  // namespace

std::string KeyToString(const ObjectKey& key) {
  if (key == ObjectKey{}) return "none";
  const ObjectId id{{key.node, key.process}, key.number, key.index};
  return id.is_actor() ? manta::ToString(ActorId::FromHandle(id)) : manta::ToString(id);
}

void CheckRefArgument(const RefHandle& ref) { BackendOf(ref); }

void CheckActorRef(const RefHandle& handle) {
  if (handle && handle.get()->key.index != kActorIndex) {
    throw SerializationError("an actor handle that names the object " + KeyToString(handle.get()->key));
  }
}

void AskFor(const std::vector<const RefHandle*>& refs) {
  for (const RefHandle* const ref : refs) BackendOf(*ref);
  std::vector<bool> ready;
  Current().Wait(refs, 0, std::nullopt, &ready);
}

std::vector<bool> WaitUntil(const std::vector<const RefHandle*>& refs, size_t count, Deadline deadline) {
  if (count > refs.size()) {
    throw InvalidArgumentError("Wait for " + std::to_string(count) + " of " + std::to_string(refs.size()) + " refs");
  }
  for (const RefHandle* const ref : refs) BackendOf(*ref);
  std::vector<bool> ready(refs.size());
  if (count > 0) Current().Wait(refs, count, deadline, &ready);
  size_t taken = 0;
  for (size_t i = 0; i < refs.size(); ++i) {
    ready[i] = ready[i] && taken < count;
    taken += ready[i] ? 1 : 0;
  }
  return ready;
}

}  // namespace manta::internal
