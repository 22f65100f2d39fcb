@0xdc1f4cc7bf773bbe;
# The head and its nodes: membership, liveness, and what each node has to offer.
#
#   node -- NodeRegister -->  head     first on the connection, and after every restart of the head
#   node <-- NodeAccepted --  head     or NodeFenced
#   node -- Heartbeat    -->  head,  head -- Heartbeat --> node      on the control connection
#   node -- NodeReport   -->  head     on change, coalesced to 100 ms
#   node <-- ClusterView  --  head     on change, coalesced
#   node <-- NodeDied     --  head     to all nodes
#   node -- JobRegister  -->  head;  JobAccepted comes back
#   process -- NodesQuery --> own node;  NodesReply comes back, from the last ClusterView
#   node -- ProgramRequest --> head --> node of the job's driver;  ProgramInfo goes to the asker directly
#
# Order.   On each connection as sent. ClusterView and NodeReport are level-triggered: the highest version holds, and
#          any number of lower ones may be missed.
# Retry.   JobRegister is named by (node, request) and may be repeated. NodeRegister with a known id is a
#          reconciliation, with node 0 a new life.
# Loss.    A closed connection is confirmed at once (is the process gone?) and then by silence: suspected after 1 s,
#          dead after 3 s. Dead means: NodeDied to all, its objects lost, its registered actors started elsewhere. A
#          node that was declared dead and comes back is told NodeFenced, kills its workers and joins anew. A head
#          that dies takes nothing along: nodes go on, connect again and register.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
using Actor = import "/rpc/schema/actor.capnp";
$Cxx.namespace("manta::rpc::schema");

struct NodeInfo {
  node @0 :UInt64;
  name @1 :Text;
  address @2 :Text;            # where the daemon listens for other nodes
  total @3 :Common.ResourceSet;
  available @4 :Common.ResourceSet;
  version @5 :UInt64;          # rises with each change
  pid @6 :Int32;               # of the daemon
  machine @7 :Text;            # boot id: the same for all nodes of one machine
  besideHead @8 :Bool;         # it was started with the head
}

struct NodeRegister {
  # node -> head. Answered by NodeAccepted or NodeFenced.
  info @0 :NodeInfo;
  actors @1 :List(Actor.ActorStarted);  # registered actors that live here, for reconciliation
  ended @2 :List(Actor.ActorEnded);     # ... and that ended here lately: the head may have missed it
}

struct NodeAccepted {
  # head -> node. Your id, and which life of the head this is: a lower epoch is refused.
  node @0 :UInt64;
  headEpoch @1 :UInt64;
}

struct NodeFenced {
  # head -> node that was declared dead and came back. Kill your workers and join anew.
  node @0 :UInt64;
}

struct Heartbeat {
  # Both ways, every 250 ms, on a connection that carries nothing large.
  node @0 :UInt64;
  number @1 :UInt64;           # rises
}

struct NodeReport {
  # node -> head.
  info @0 :NodeInfo;
}

struct ClusterView {
  # head -> nodes. All live nodes.
  version @0 :UInt64;
  nodes @1 :List(NodeInfo);
}

struct NodeDied {
  # head -> nodes.
  node @0 :UInt64;
  reason @1 :Text;
}

struct JobRegister {
  # driver's node -> head. Answered by JobAccepted.
  request @0 :UInt64;
  node @1 :UInt64;
  driver @2 :Common.ProcessId;
  program @3 :Text;            # path, for people
}

struct JobAccepted {
  # head -> driver's node: the answer; and again (request 0) when the first detached actor of the job is created.
  request @0 :UInt64;
  driver @1 :Common.ProcessId;
  job @2 :UInt64;
  hasDetached @3 :Bool;        # detached actors of the job live: only the head ends it
}

struct NodesQuery {
  # process -> own node. Which nodes are there? Answered by NodesReply.
  request @0 :UInt64;          # the asker's number
}

struct NodesReply {
  request @0 :UInt64;
  nodes @1 :List(NodeInfo);    # in the order of their numbers
}

struct ProgramRequest {
  # node -> head -> node of the job's driver. Asks for the program that `job` runs. May be repeated.
  job @0 :UInt64;
  asker @1 :UInt64;
}

struct ProgramFile {
  path @0 :Text;               # relative to the program's folder
  sha256 @1 :Data;             # 32 bytes
  sizeBytes @2 :UInt64;
  executable @3 :Bool;
}

struct ProgramInfo {
  # node of the job's driver -> asker. Files are fetched by their hash over a data connection to `node`, and kept.
  job @0 :UInt64;
  node @1 :UInt64;
  files @2 :List(ProgramFile); # the first is the executable
  argv @3 :List(Text);
  error @4 :Text;              # absent: there it is
  nameSpace @5 :Text;          # of the job's named actors
}
