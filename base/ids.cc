#include "base/ids.h"

namespace manta {

std::string ToString(const ProcessId& id) {
  if (id.is_head()) return "head";
  std::string text = "n" + std::to_string(id.node);
  if (id.is_user_process()) text += ".p" + std::to_string(id.number);
  return text;
}

std::string ToString(const CallId& id) { return ToString(id.caller) + ".c" + std::to_string(id.number); }

std::string ToString(const ObjectId& id) {
  if (id.is_actor()) return ToString(ActorId::FromHandle(id));
  return ToString(id.owner) + ".o" + std::to_string(id.number) + "." + std::to_string(id.index);
}

std::string ToString(const ActorId& id) { return ToString(id.creator) + ".a" + std::to_string(id.number); }

std::string ToString(const LeaseId& id) { return "n" + std::to_string(id.node) + ".l" + std::to_string(id.number); }

std::string ToString(const TicketId& id) {
  return ToString(id.call) + (id.reply ? ".r" : ".t") + std::to_string(id.attempt) + "." + std::to_string(id.index);
}

}  // namespace manta
