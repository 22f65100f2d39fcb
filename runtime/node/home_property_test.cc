// Random interleavings of everything that happens to references (docs/objects.md), against one HomeTable and its
// DeathTable: calls and replies with refs, stored results, deaths of processes, streams that
// overtake one another.
//
// The model's processes follow the rules of runtime/worker/ref_table.h in the plainest way. Each has a stream to its
// node, each node one to the home; a step delivers one message of a random stream, or lets a random process act.
//   safe:  whatever a live process refers to, or will when it reads what is under way to it, has an entry at its home.
//   empty: when all have ended, no entry, ticket or copy is left.
// Built twice: as it is, and with each rule of the home taken out in turn (MANTA_MUTANTS), when some seed must find a
// violation. (What callers and callees must do is checked exhaustively by tests/models/references.pml.)
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/random.h"
#include "base/rule.h"
#include "runtime/node/death_table.h"
#include "runtime/node/home_table.h"

namespace manta::runtime::node {
namespace {

constexpr NodeId kHome = 1;
constexpr ProcessId kAllHere{kHome, 99};  // stands for the home's processes

// A call, or the reply to one.
struct Letter {
  bool reply = false;
  CallId call;
  std::vector<ObjectId> refs;  // of a request: ticketed by the caller; of a reply: by the callee
  bool kept = false;           // reply: the callee registered the request's ref 0
  NodeId stored_on = 0;        // reply: the result was sealed there
};

struct Running {
  Letter request;
  ProcessId from;
};

struct Held {
  uint32_t handles = 0;
  bool registered = false;
  uint64_t borrow = 0;
  bool owned = false;
  bool published = false;
  bool lent = false;  // passed on while only tickets of calls from others covered it
  NodeId sealed_on = 0;
};

struct Process {
  ProcessId id;
  bool alive = true;
  uint64_t next_call = 0;
  uint64_t next_borrow = 0;
  std::map<ObjectId, Held> holds;
  std::map<CallId, std::pair<ProcessId, std::vector<ObjectId>>> calls;  // to whom, with what
  std::deque<Running> running;
  std::set<ProcessId> dead;
  std::deque<rpc::Message> to_node;
};

class World {
 public:
  explicit World(uint64_t seed) : rng_(seed), home_(&deaths_) {
    deaths_.SetSelf(kHome);
    home_.SetSelf(kHome);
    DeathTable::Output output;
    deaths_.SetNodes({1, 2, 3}, 3, &output);
    for (const ProcessId id : {ProcessId{1, 1}, ProcessId{1, 2}, ProcessId{2, 1}, ProcessId{2, 2}, ProcessId{3, 1}}) {
      processes_[id].id = id;
    }
  }

  // What is wrong; empty: nothing.
  std::string Run() {
    slow_node_ = rng_.Uniform(4);
    const uint64_t steps = 150 + rng_.Uniform(250);
    uint64_t deaths_left = rng_.Uniform(4);
    for (uint64_t step = 0; step < steps && violation_.empty(); ++step) {
      Process* process = AnyAlive();
      if (process != nullptr && deaths_left != 0 && rng_.Bernoulli(0.02)) {
        --deaths_left;
        // On a slow node more often: what a dead process said is then on its way for long.
        const auto victim =
            Choose(processes_, [this](const auto& item) { return item.second.alive && item.first.node == slow_node_; });
        Die(victim != processes_.end() && rng_.Bernoulli(0.7) ? &victim->second : process);
      } else if (process != nullptr && rng_.Bernoulli(0.45)) {
        Act(process);
      } else {
        DeliverSomething();
      }
      CheckSafety();
    }
    End();
    return violation_;
  }

 private:
  // ---- user code
  void Act(Process* process) {
    const uint64_t what = rng_.Uniform(10);
    if (what < 2) return Create(process);
    if (what < 5) return Call(process);
    if (what < 8) return FinishOne(process);
    Drop(process);
  }

  void Create(Process* process) {
    if (process->id.node != kHome) return;  // all objects have this home
    // Few objects that everybody passes about and drops.
    std::set<ObjectId> known;
    for (const auto& [id, other] : processes_) {
      for (const auto& [object, held] : other.holds) known.insert(object);
    }
    if (known.size() >= 3) return Drop(process);
    const ObjectId object{process->id, ++process->next_call, 0};
    process->holds[object] = {.handles = 1, .owned = true};
  }

  // A ref that user code of the process can reach: a handle, or an argument of what it runs.
  std::optional<ObjectId> AnyRef(Process* process) {
    std::vector<ObjectId> refs;
    for (const auto& [object, held] : process->holds) {
      if (held.handles != 0) refs.push_back(object);
    }
    for (const Running& running : process->running) {
      refs.insert(refs.end(), running.request.refs.begin(), running.request.refs.end());
    }
    if (refs.empty()) return std::nullopt;
    return refs[rng_.Uniform(refs.size())];
  }

  void Lend(Process* process, const ObjectId& object, const TicketId& ticket, ProcessId receiver) {
    Held& held = process->holds[object];
    if (held.owned && !held.published && (!held.registered || held.borrow == 0)) {
      held.registered = held.published = true;
      rpc::ObjectPublish publish;
      publish.object = object;
      if (held.sealed_on != 0) {
        publish.value.kind = rpc::Value::Kind::kStored;
        publish.value.location = {held.sealed_on, 1, 0, 100'000};
      } else {
        publish.pending = rng_.Bernoulli(0.3);
      }
      process->to_node.push_back(std::move(publish));
    }
    if (!held.owned && !held.registered) held.lent = true;
    process->to_node.push_back(rpc::RefTicket{ticket, object, process->id, receiver});
  }

  void Call(Process* process) {
    Process* callee = AnyAlive();
    if (callee == nullptr || callee == process || process->dead.contains(callee->id)) return;
    Letter letter;
    letter.call = {process->id, ++process->next_call};
    if (const std::optional<ObjectId> object = AnyRef(process)) {
      Lend(process, *object, {letter.call, 0, 0, false}, {});
      letter.refs.push_back(*object);
      ++process->holds[*object].handles;  // the caller keeps its arguments until the call has ended
    }
    process->calls[letter.call] = {callee->id, letter.refs};
    channels_[{process->id, callee->id}].push_back(letter);
  }

  void Register(Process* process, const ObjectId& object, const TicketId& ticket) {
    Held& held = process->holds[object];
    if (!held.registered) held.borrow = ++process->next_borrow;  // else the same borrow, which ends another ticket
    held.registered = true;
    process->to_node.push_back(rpc::RefRegister{object, process->id, held.borrow, ticket});
  }

  void FinishOne(Process* process) {
    if (process->running.empty()) return;
    Running done = std::move(process->running.front());
    process->running.pop_front();
    Letter reply;
    reply.reply = true;
    reply.call = done.request.call;
    // The reply may carry a ref; it may seal its result; it may keep the argument.
    const std::optional<ObjectId> returned = AnyRef(process);
    if (returned && rng_.Bernoulli(0.4)) {
      Lend(process, *returned, {reply.call, 0, 0, true}, done.from);
      reply.refs.push_back(*returned);
    }
    if (!done.request.refs.empty()) {
      const ObjectId& object = done.request.refs.front();
      Held& held = process->holds[object];
      if (rng_.Bernoulli(0.5)) ++held.handles;
      // What the home has not heard of yet must not depend on the caller's ticket.
      if (!held.owned && (held.handles != 0 || held.lent || held.registered)) {
        Register(process, object, {reply.call, 0, 0, false});
        reply.kept = true;
      }
      if (held.handles == 0 && !Runs(*process, object)) Forget(process, object);
    }
    if (done.from.node == kHome && rng_.Bernoulli(0.5)) {
      const ObjectId result{done.from, reply.call.number, 1};
      reply.stored_on = process->id.node;
      copies_.insert({result, reply.stored_on});
      process->to_node.push_back(rpc::ObjectSeal{result, 0, {reply.stored_on, 1, 0, 100'000}, done.from, {}});
    }
    channels_[{process->id, done.from}].push_back(reply);
  }

  void Drop(Process* process) {
    std::vector<ObjectId> objects;
    for (const auto& [object, held] : process->holds) {
      if (held.handles != 0) objects.push_back(object);
    }
    if (objects.empty()) return;
    const ObjectId object = objects[rng_.Uniform(objects.size())];
    // What a call of its own waits with cannot be dropped.
    uint32_t needed = 0;
    for (const auto& [call, what] : process->calls) {
      for (const ObjectId& ref : what.second) needed += ref == object ? 1 : 0;
    }
    if (process->holds[object].handles > needed) Unhandle(process, object);
  }

  void Unhandle(Process* process, const ObjectId& object) {
    if (--process->holds[object].handles == 0 && !Runs(*process, object)) Forget(process, object);
  }
  // It is an argument of what waits or runs: the hold ends with that.
  static bool Runs(const Process& process, const ObjectId& object) {
    return std::any_of(process.running.begin(), process.running.end(), [&object](const Running& running) {
      return !running.request.refs.empty() && running.request.refs.front() == object;
    });
  }

  void Forget(Process* process, const ObjectId& object) {
    const Held held = process->holds[object];
    process->holds.erase(object);
    if (!held.registered) return;
    process->to_node.push_back(rpc::RefRelease{object, process->id, held.borrow, held.sealed_on, 0});
  }

  // ---- channels
  void Read(ProcessId from, Process* process, const Letter& letter) {
    if (letter.reply) {
      const auto call = process->calls.find(letter.call);
      for (const ObjectId& object : letter.refs) {
        Held& held = process->holds[object];  // its own, after it had let go of it, is like any other
        if (held.owned || held.registered) {
          process->to_node.push_back(rpc::RefOutcome{{letter.call, 0, 0, true}, object, {}});
        } else {
          Register(process, object, {letter.call, 0, 0, true});
        }
        ++held.handles;
      }
      if (letter.stored_on != 0) {
        const ObjectId result{process->id, letter.call.number, 1};
        Held& held = process->holds[result];
        held = {.handles = 1, .registered = true, .borrow = 0, .owned = true, .sealed_on = letter.stored_on};
      }
      if (call != process->calls.end()) EndCall(process, call->first, letter.kept ? from : ProcessId{});
      return;
    }
    for (const ObjectId& object : letter.refs) process->holds.try_emplace(object);
    process->running.push_back({letter, from});
  }

  void EndCall(Process* process, const CallId call, ProcessId kept_by) {
    const std::vector<ObjectId> refs = process->calls.at(call).second;
    process->calls.erase(call);
    for (const ObjectId& object : refs) {
      process->to_node.push_back(rpc::RefOutcome{{call, 0, 0, false}, object, kept_by});
      Unhandle(process, object);
    }
  }

  // ---- deaths
  void Die(Process* process) {
    process->alive = false;
    // Its node drains its rings, and reports the death after that in the same streams.
    Node& node = nodes_[process->id.node];
    for (rpc::Message& message : process->to_node) {
      if (!std::holds_alternative<rpc::DeathDrained>(message)) node.to_home.push_back(std::move(message));
    }
    process->to_node.clear();
    rpc::ProcessDied death;
    death.process = process->id;
    death.newest_node = 3;
    for (auto& [dead, waiting] : node.draining) {
      waiting.erase(process->id);
    }
    CheckDrains(process->id.node);
    node.to_home.push_back(death);
    for (auto& [number, other] : nodes_) StartDrain(number, process->id);
  }

  void StartDrain(NodeId number, ProcessId dead) {
    Node& node = nodes_[number];
    std::set<ProcessId>& waiting = node.draining[dead];
    for (auto& [id, process] : processes_) {
      if (id.node != number || !process.alive) continue;
      waiting.insert(id);
      notices_[id].push_back(dead);
    }
    CheckDrains(number);
  }

  void CheckDrains(NodeId number) {
    Node& node = nodes_[number];
    for (auto it = node.draining.begin(); it != node.draining.end();) {
      if (!it->second.empty()) {
        ++it;
        continue;
      }
      node.to_home.push_back(rpc::DeathDrained{it->first, number});
      it = node.draining.erase(it);
    }
  }

  // The process hears of a death: it reads all that the dead has written to it, then says so.
  void Hear(Process* process, ProcessId dead) {
    std::deque<Letter> letters = std::exchange(channels_[{dead, process->id}], {});
    for (const Letter& letter : letters) Read(dead, process, letter);
    process->dead.insert(dead);
    for (auto it = process->running.begin(); it != process->running.end();) {
      if (it->from != dead) {
        ++it;
        continue;
      }
      for (const ObjectId& object : it->request.refs) {
        Held& held = process->holds[object];
        if (!held.owned && !held.registered) Register(process, object, {it->request.call, 0, 0, false});
        ++held.handles;  // kept for good, in this plain model
      }
      it = process->running.erase(it);
    }
    std::vector<CallId> lost;
    for (const auto& [call, what] : process->calls) {
      if (what.first == dead) lost.push_back(call);
    }
    for (const CallId& call : lost) {
      // What the dead passed on may still be on its way: the ticket stays until that has been drained.
      EndCall(process, call, dead);
      // The worker may have sealed the result before it died.
      if (process->id.node == kHome)
        process->to_node.push_back(rpc::RefRelease{{process->id, call.number, 1}, process->id, 0, 0, 0});
    }
    process->to_node.push_back(rpc::DeathDrained{dead, process->id.node});
  }

  // ---- delivery
  void DeliverSomething() {
    const uint64_t first = rng_.Uniform(4);
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t kind = (first + i) % 4;
      if (kind == 0 ? DeliverLetter() : kind == 1 ? DeliverToNode() : kind == 2 ? DeliverToHome() : DeliverNotice())
        return;
    }
  }

  template <typename Map, typename Has>
  typename Map::iterator Choose(Map& map, Has has) {
    std::vector<typename Map::iterator> full;
    for (auto it = map.begin(); it != map.end(); ++it) {
      if (has(*it)) full.push_back(it);
    }
    return full.empty() ? map.end() : full[rng_.Uniform(full.size())];
  }

  bool DeliverLetter() {
    const auto channel = Choose(channels_, [](const auto& item) { return !item.second.empty(); });
    if (channel == channels_.end()) return false;
    const auto [from, to] = channel->first;
    const Letter letter = channel->second.front();
    channel->second.pop_front();
    Process& process = processes_.at(to);
    if (process.alive && !process.dead.contains(from)) Read(from, &process, letter);
    return true;
  }
  bool DeliverToNode() {
    const auto process = Choose(
        processes_, [this](const auto& item) { return !item.second.to_node.empty() && !Dawdles(item.first.node); });
    if (process == processes_.end()) return false;
    rpc::Message message = std::move(process->second.to_node.front());
    process->second.to_node.pop_front();
    Node& node = nodes_[process->first.node];
    if (const auto* drained = std::get_if<rpc::DeathDrained>(&message)) {
      const auto it = node.draining.find(drained->process);
      if (it != node.draining.end()) it->second.erase(process->first);
      CheckDrains(process->first.node);
    } else {
      node.to_home.push_back(std::move(message));
    }
    return true;
  }
  bool DeliverToHome() {
    const auto node =
        Choose(nodes_, [this](const auto& item) { return !item.second.to_home.empty() && !Dawdles(item.first); });
    if (node == nodes_.end()) return false;
    rpc::Message message = std::move(node->second.to_home.front());
    node->second.to_home.pop_front();
    AtHome(message);
    return true;
  }
  // One node's streams may be much slower than the others'.
  bool Dawdles(NodeId node) { return node == slow_node_ && rng_.Bernoulli(0.95); }
  bool DeliverNotice() {
    const auto notice = Choose(notices_, [](const auto& item) { return !item.second.empty(); });
    if (notice == notices_.end()) return false;
    const ProcessId dead = notice->second.front();
    notice->second.pop_front();
    Process& process = processes_.at(notice->first);
    if (process.alive) Hear(&process, dead);
    return true;
  }

  void AtHome(const rpc::Message& message) {
    HomeTable::Output output;
    DeathTable::Output drains;
    if (const auto* seal = std::get_if<rpc::ObjectSeal>(&message)) {
      opened_.insert(seal->object);
      home_.Seal(*seal, &output);
    } else if (const auto* publish = std::get_if<rpc::ObjectPublish>(&message)) {
      opened_.insert(publish->object);
      home_.Publish(*publish, &output);
    } else if (const auto* ticket = std::get_if<rpc::RefTicket>(&message)) {
      home_.Ticket(*ticket, &output);
    } else if (const auto* outcome = std::get_if<rpc::RefOutcome>(&message)) {
      home_.Outcome(*outcome, &output);
    } else if (const auto* registration = std::get_if<rpc::RefRegister>(&message)) {
      home_.Register(*registration, &output);
    } else if (const auto* release = std::get_if<rpc::RefRelease>(&message)) {
      home_.Release(*release, &output);
    } else if (const auto* died = std::get_if<rpc::ProcessDied>(&message)) {
      std::set<ProcessId> local;
      if (!drained_here_.contains(died->process)) local.insert(kAllHere);
      deaths_.Report(*died, local, &drains);
      home_.OwnerDied(died->process, "killed", &output);
    } else if (const auto* drained = std::get_if<rpc::DeathDrained>(&message)) {
      // The model gathers the answers of the home's own processes, too, and puts them into the home's stream.
      if (drained->by == kHome) {
        drained_here_.insert(drained->process);
        deaths_.AnsweredHere(drained->process, kAllHere, &drains);
      } else {
        deaths_.Answered(drained->process, drained->by, &drains);
      }
    }
    for (const ProcessId dead : drains.drained) home_.Drained(dead, &output);
    for (const auto& [node, sent] : output.sends) {
      if (const auto* drop = std::get_if<rpc::ObjectDrop>(&sent)) copies_.erase({drop->object, node});
    }
  }

  // ---- oracle
  void CheckSafety() {
    std::set<ObjectId> reachable;
    for (const auto& [id, process] : processes_) {
      if (!process.alive) continue;
      for (const auto& [object, held] : process.holds) {
        if (held.handles != 0) reachable.insert(object);
      }
      for (const Running& running : process.running)
        reachable.insert(running.request.refs.begin(), running.request.refs.end());
    }
    for (const auto& [ends, letters] : channels_) {
      const Process& to = processes_.at(ends.second);
      if (!to.alive || to.dead.contains(ends.first)) continue;
      for (const Letter& letter : letters) reachable.insert(letter.refs.begin(), letter.refs.end());
    }
    for (const ObjectId& object : reachable) {
      if (opened_.contains(object) && !home_.Contains(object)) {
        violation_ = ToString(object) + " was freed while it is referred to";
      }
    }
  }

  // All user code ends and lets go of everything; then everybody dies. Nothing may be left after either.
  void End() {
    for (auto& [id, process] : processes_) {
      while (process.alive && DeliverAll() && !process.running.empty()) FinishOne(&process);
    }
    DeliverAll();
    for (auto& [id, process] : processes_) {
      while (process.alive && !process.holds.empty()) {
        const ObjectId object = process.holds.begin()->first;
        process.holds.begin()->second.handles = 0;
        Forget(&process, object);
      }
    }
    DeliverAll();
    CheckEmpty("when everybody has let go");
    for (auto& [id, process] : processes_) {
      if (process.alive) Die(&process);
    }
    DeliverAll();
    CheckEmpty("when everybody is dead");
  }

  // False: a violation was found.
  bool DeliverAll() {
    while (violation_.empty() && Pending()) {
      DeliverSomething();
      CheckSafety();
    }
    return violation_.empty();
  }

  void CheckEmpty(const std::string& when) {
    if (!violation_.empty()) return;
    if (home_.entry_count() != 0) violation_ = std::to_string(home_.entry_count()) + " entries are left " + when;
    if (home_.ticket_count() != 0) violation_ = std::to_string(home_.ticket_count()) + " tickets are left " + when;
    if (!copies_.empty()) violation_ = std::to_string(copies_.size()) + " copies are left " + when;
    if (deaths_.open() != 0) violation_ = std::to_string(deaths_.open()) + " deaths are not drained " + when;
  }

  bool Pending() const {
    const auto full = [](const auto& map) {
      return std::any_of(map.begin(), map.end(), [](const auto& item) { return !item.second.empty(); });
    };
    const bool streams =
        std::any_of(processes_.begin(), processes_.end(),
                    [](const auto& item) { return !item.second.to_node.empty(); }) ||
        std::any_of(nodes_.begin(), nodes_.end(), [](const auto& item) { return !item.second.to_home.empty(); });
    return streams || full(channels_) || full(notices_);
  }

  Process* AnyAlive() {
    const auto process = Choose(processes_, [](const auto& item) { return item.second.alive; });
    return process == processes_.end() ? nullptr : &process->second;
  }

  struct Node {
    std::deque<rpc::Message> to_home;
    std::map<ProcessId, std::set<ProcessId>> draining;
  };

  base::Rng rng_;
  NodeId slow_node_ = 0;
  DeathTable deaths_;
  HomeTable home_;
  std::map<ProcessId, Process> processes_;
  std::map<NodeId, Node> nodes_{{1, {}}, {2, {}}, {3, {}}};
  std::map<std::pair<ProcessId, ProcessId>, std::deque<Letter>> channels_;
  std::map<ProcessId, std::deque<ProcessId>> notices_;
  std::set<ObjectId> opened_;  // the home has heard of it
  std::set<std::pair<ObjectId, NodeId>> copies_;
  std::set<ProcessId> drained_here_;
  std::string violation_;
};

TEST(HomeProperty, NothingIsFreedThatIsReferredToAndNothingIsLeft) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    const std::string violation = World(seed).Run();
    ASSERT_EQ(violation, "") << "seed " << seed;
  }
}

#ifdef MANTA_MUTANTS
class HomeMutant : public ::testing::TestWithParam<const char*> {};

TEST_P(HomeMutant, IsCaught) {
  base::SetActiveMutant(GetParam());
  std::string violation;
  for (uint64_t seed = 1; seed <= 2000 && violation.empty(); ++seed) violation = World(seed).Run();
  EXPECT_NE(violation, "") << GetParam() << " was taken out, and no seed noticed";
  base::SetActiveMutant("");
}

INSTANTIATE_TEST_SUITE_P(Rules, HomeMutant,
                         ::testing::Values("home.early_register", "home.death_waits_for_drain",
                                           "home.kept_awaits_registration", "home.seal_after_release",
                                           "home.ticket_before_publish"));
#endif

}  // namespace
}  // namespace manta::runtime::node
