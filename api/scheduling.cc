#include "manta/scheduling.h"

#include <charconv>

#include "manta/error.h"

namespace manta {

NodeAffinity::NodeAffinity(const std::string& node) {
  const char* const end = node.data() + node.size();
  const bool has_letter = node.size() > 1 && node.front() == 'n' && node[1] != '0';
  const auto [at, error] = std::from_chars(node.data() + (has_letter ? 1 : 0), end, hint_.node);
  if (!has_letter || error != std::errc() || at != end) {
    throw InvalidArgumentError("NodeAffinity(\"" + node +
                               "\"): not a node's id, such as \"n3\": manta::Nodes() lists them");
  }
}

std::vector<NodeInfo> Nodes() {
  std::vector<NodeInfo> nodes;
  for (internal::NodeValue& node : internal::Current().Nodes()) {
    nodes.push_back({"n" + std::to_string(node.number), std::move(node.name), std::move(node.address),
                     std::move(node.total), std::move(node.available), node.is_head});
  }
  return nodes;
}

}  // namespace manta
