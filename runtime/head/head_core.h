// HeadCore is the cluster's memory: which nodes live, which jobs run, where registered actors are, and what
// names they have.
//
// Parts:      FailureDetector (nodes), JobTable, NameTable, ActorDirectory (registered actors; the same
//             machine that daemons use for anonymous ones), scheduling policy (runtime/scheduling.h).
// Threads:    externally synchronised.
// Invariants: (1) node and job numbers rise for ever (persisted before use).
//             (2) at most one incarnation of a registered actor is handed out, the newest.
//             (3) intent is persisted before it is acted upon: Persist comes before the sends that depend on it,
//                 and those are held back until Persisted.
// See:        docs/architecture.md, rpc/schema/head.capnp
#ifndef MANTA_RUNTIME_HEAD_HEAD_CORE_H_
#define MANTA_RUNTIME_HEAD_HEAD_CORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/core.h"

namespace manta::runtime {

// ------------------------------------------------------------------ events (and runtime::MessageReceived from daemons)

// A daemon's connection is up; its NodeRegister follows. `connection` names it until NodeAccepted gives it a NodeId;
// messages before that come as HeadHello.
struct HeadHello {
  uint64_t connection = 0;
  rpc::NodeRegister message;
};
// The connection is lost (at once when the process died, confirmed by the shell if it can: `dead`).
struct NodeConnectionLost {
  NodeId node = 0;
  bool dead = false;
};
// The batch of Persist actions up to `batch` is durable.
struct Persisted {
  uint64_t batch = 0;
};
struct HeadTick {};
// A person wants an actor killed. Registered or not: who knows it is told.
struct KillActorAsked {
  ActorId actor;
  bool no_restart = true;
};

using HeadEvent = std::variant<MessageReceived, HeadHello, NodeConnectionLost, Persisted, HeadTick, KillActorAsked>;

// ------------------------------------------------------------------ actions (SendMessage to daemons, LogLine)

// Bind `connection` to the node and send it NodeAccepted (or NodeFenced with node 0 meaning: join anew).
struct AcceptNode {
  uint64_t connection = 0;
  rpc::NodeAccepted accepted;
};
// Write (value) or erase (none) this key. All writes of one Handle call form one batch.
struct Persist {
  uint64_t batch = 0;
  std::string key;
  std::optional<std::string> value;
};

using HeadAction = std::variant<SendMessage, LogLine, AcceptNode, Persist>;

// ------------------------------------------------------------------ the machine

struct HeadOptions {
  uint64_t epoch = 1;  // this life of the head, allotted by its KvStore
  Duration suspect_after = std::chrono::seconds(1);
  Duration dead_after = std::chrono::seconds(3);
  uint64_t seed = 1;
  bool embedded = false;  // ends with its driver: no detached actors
};

struct HeadCounts {
  uint64_t nodes_alive = 0;
  uint64_t jobs = 0;
  uint64_t actors = 0;
  uint64_t names = 0;
};

class HeadCore {
 public:
  // `stored`: everything that earlier lives persisted (empty: a new cluster).
  HeadCore(HeadOptions options, Time now, const std::map<std::string, std::string>& stored);
  ~HeadCore();
  HeadCore(const HeadCore&) = delete;
  HeadCore& operator=(const HeadCore&) = delete;

  void Handle(Time now, HeadEvent event, std::vector<HeadAction>* actions);
  Time next_deadline() const;
  HeadCounts counts() const;

  // ---- the state API; no side effects
  // What the head knows of what is asked for: nodes, jobs, programs, registered actors; of the status its share.
  rpc::StateReply Describe(const rpc::StateQuery& query) const;
  // The nodes that can be asked for theirs.
  std::vector<NodeId> connected_nodes() const;
  // The actor that a person means by "n1.p2.a3", "name" or "namespace/name". kNotFound, kInvalidArgument (several have
  // that name): the text says what to do.
  absl::StatusOr<ActorId> FindActor(const std::string& what) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HEAD_CORE_H_
