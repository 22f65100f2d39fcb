#include "runtime/head/state_fanout.h"

#include <algorithm>

#include "base/status.h"
#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

rpc::StateReply Refusal(const rpc::StateQuery& query, std::string why) {
  rpc::StateReply reply;
  reply.request = query.request;
  reply.error = std::move(why);
  return reply;
}

bool OnlyTheHeadKnows(rpc::StateKind kind) {
  return kind == rpc::StateKind::kJobs || kind == rpc::StateKind::kPrograms;
}

std::string Join(const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts) joined += (joined.empty() ? "" : "; ") + part;
  return joined;
}

std::string NameOf(NodeId node) { return "node " + ToString(DaemonOf(node)); }

}  // namespace

void StateFanout::OnQuery(Time now, uint64_t client, bool is_member, const rpc::StateQuery& query, Output* out) {
  if (query.kind == rpc::StateKind::kKillActor) return Kill(client, is_member, query, out);
  if (queries_.size() >= kQueriesMax) {
    out->answers.emplace_back(client, Refusal(query, "the head answers " + std::to_string(kQueriesMax) +
                                                         " other questions now: ask again in a second"));
    return;
  }
  Ask(now, client, query, out);
}

void StateFanout::Ask(Time now, uint64_t client, const rpc::StateQuery& query, Output* out) {
  const auto [at, fresh] = queries_.try_emplace(++last_request_);
  Query& waiting = at->second;
  waiting.client = client;
  waiting.asked = query;
  waiting.give_up_at = now + kTimeout;
  const bool is_own_page = query.subject == kStatePage && query.node == 0;
  if (!OnlyTheHeadKnows(query.kind) && !is_own_page) {
    for (const NodeId node : core_->connected_nodes()) {
      if (query.node == 0 || query.node == node) waiting.waiting_for.insert(node);
    }
    if (query.node != 0 && waiting.waiting_for.empty()) waiting.missing.push_back(NameOf(query.node) + " is not there");
  }
  rpc::StateQuery to_node = query;
  to_node.request = at->first;
  for (const NodeId node : waiting.waiting_for) out->asks.emplace_back(node, to_node);
  AnswerIfDone(at, out);
}

void StateFanout::Kill(uint64_t client, bool is_member, const rpc::StateQuery& query, Output* out) const {
  if (!is_member) {
    out->answers.emplace_back(client, Refusal(query, "only members of the cluster may kill an actor"));
    return;
  }
  const absl::StatusOr<ActorId> actor = core_->FindActor(query.subject);
  if (!actor.ok()) {
    out->answers.emplace_back(client, Refusal(query, base::Message(actor.status())));
    return;
  }
  out->kills.push_back({*actor, query.no_restart});
  StateRows rows(query, 0);
  rows.Add(StateRow().Text("actor_id", ToString(*actor)));
  out->answers.emplace_back(client, rows.Take());
}

void StateFanout::OnReply(NodeId from, rpc::StateReply reply, Output* out) {
  const auto at = queries_.find(reply.request);
  if (at == queries_.end() || at->second.waiting_for.erase(from) == 0) return;
  if (!reply.error.empty()) at->second.missing.push_back(NameOf(from) + ": " + reply.error);
  at->second.replies.emplace(from, std::move(reply));
  AnswerIfDone(at, out);
}

void StateFanout::NodeGone(NodeId node, Output* out) {
  for (auto at = queries_.begin(); at != queries_.end();) {
    const auto next = std::next(at);
    if (at->second.waiting_for.erase(node) != 0) {
      at->second.missing.push_back(NameOf(node) + " went while it was asked");
      AnswerIfDone(at, out);
    }
    at = next;
  }
}

void StateFanout::ClientGone(uint64_t client) {
  std::erase_if(queries_, [client](const auto& item) { return item.second.client == client; });
}

void StateFanout::Tick(Time now, Output* out) {
  while (!queries_.empty() && queries_.begin()->second.give_up_at <= now) {
    Query& query = queries_.begin()->second;
    for (const NodeId node : query.waiting_for) {
      query.missing.push_back(NameOf(node) + " did not answer within " + ToString(kTimeout));
    }
    query.waiting_for.clear();
    AnswerIfDone(queries_.begin(), out);
  }
}

Time StateFanout::next_deadline() const {
  return queries_.empty() ? kInfiniteFuture : queries_.begin()->second.give_up_at;
}

void StateFanout::AnswerIfDone(Queries::iterator at, Output* out) {
  if (!at->second.waiting_for.empty()) return;
  const bool is_page = at->second.asked.subject == kStatePage;
  out->answers.emplace_back(at->second.client, is_page ? PageOf(at->second) : Merge(at->second));
  queries_.erase(at);
}

// As one source has answered.
rpc::StateReply StateFanout::PageOf(const Query& query) const {
  rpc::StateReply page;
  if (query.asked.node == 0) {
    page = core_->Describe(query.asked);
  } else if (!query.replies.empty()) {
    page = query.replies.begin()->second;
  }
  page.request = query.asked.request;
  page.error = Join(query.missing);
  return page;
}

// The head's rows first. Rows about the same thing become one; who comes first is right where they differ.
rpc::StateReply StateFanout::Merge(const Query& query) const {
  std::vector<rpc::StateRow> merged;
  std::map<std::string, size_t> by_key;
  bool truncated = false;
  Bytes text;
  const auto add = [&](const rpc::StateReply& reply) {
    truncated = truncated || reply.truncated;
    if (text.empty()) text = reply.text;
    for (const rpc::StateRow& row : reply.rows) {
      const std::string key = KeyOf(query.asked, row);
      const auto [at, fresh] = by_key.try_emplace(key, merged.size());
      if (key.empty() || fresh) {
        merged.push_back(row);
      } else {
        MergeRow(row, &merged[at->second]);
      }
    }
  };
  const std::string node_id = ToString(DaemonOf(query.asked.node));
  rpc::StateReply own = core_->Describe(query.asked);
  if (query.asked.node != 0 && !OnlyTheHeadKnows(query.asked.kind)) {
    std::erase_if(own.rows, [&](const rpc::StateRow& row) { return ValueOf(row, "node_id") != node_id; });
  }
  add(own);
  for (const auto& [node, reply] : query.replies) add(reply);

  StateRows rows(query.asked, 0);
  for (rpc::StateRow& row : merged) {
    if (!rows.Add(std::move(row))) break;
  }
  if (truncated) rows.SetTruncated();
  rpc::StateReply answer = rows.Take();
  answer.text = std::move(text);
  answer.error = Join(query.missing);
  return answer;
}

}  // namespace manta::runtime
