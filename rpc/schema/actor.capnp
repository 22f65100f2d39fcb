@0xd3249c4e7ff3af75;
# Actors: how one is created, placed, found, watched and ended. Its calls are in task.capnp.
#
# An actor's *directory* knows where it lives: the head, if it is named or may restart (ActorSpec.registered), else the
# node of its creator.
#
#   creator   -- ActorCreate    -->  own node  [-->  head]
#   directory -- ActorStart     -->  node that shall host it
#   node      -- ActorConstruct -->  worker
#   worker    -- ActorStarted   -->  own node   -->  directory
#   worker    -- ActorEnded     -->  own node   -->  directory       (or the node itself, when the worker died)
#   process   -- ActorWatch     -->  own node  [-->  directory]
#   watcher  <-- ActorUpdate    ---  directory, relayed by the watcher's node
#   process   -- ActorKill      -->  directory  -->  node  -->  worker
#   process   -- ActorLookup    -->  own node   -->  head;   ActorFound comes back the same way
#
# Order.   Incarnations rise and are allotted by the directory before use; everybody refuses a lower one. ActorUpdate is
#          level-triggered: a watcher keeps the highest `version` and may miss any number of lower ones.
# Retry.   ActorCreate, ActorWatch and ActorStarted are upserts: each is sent again to a head that was restarted, and
#          may come any number of times. ActorStart of an incarnation that the node hosts already is answered by its
#          ActorStarted once more.
# Loss.    An anonymous actor that cannot restart dies with its creator's node, or with the last handle. When a worker's
#          channel to its node closes, its actors have ended. When a node's channel to the head closes, nothing has
#          happened yet: the head waits until the node is declared dead.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
$Cxx.namespace("manta::rpc::schema");

enum ActorState {
  pending @0;                  # no incarnation has started yet
  alive @1;
  restarting @2;
  dead @3;                     # for good
}

struct ActorSpec {
  # What is needed to make an incarnation. The head keeps those of registered actors (at most 64 KiB).
  actor @0 :Common.ActorId;
  job @1 :UInt64;
  name @2 :Text;               # absent: anonymous
  nameSpace @3 :Text;
  getIfExists @4 :Bool;        # a live actor of that name is the answer, not an error
  className @5 :Text;          # demangled, for people
  constructor @6 :UInt64;      # hash of the registered constructor
  args @7 :List(Common.Value);
  placement @8 :Common.ResourceSet;  # to be placed
  lifetime @9 :Common.ResourceSet;   # while it lives
  maxRestarts @10 :Int32;      # -1: for ever
  maxConcurrency @11 :UInt32;
  parent @12 :Common.CallId;   # the call that creates it
  maxTaskRetries @13 :Int32;   # of its calls that do not say otherwise; -1: for ever
  detached @14 :Bool;          # outlives its job: ends by Kill or ExitActor only
  hint @15 :Common.SchedulingHint;
}

struct ActorCreate {
  # creator -> own node [-> head, if registered]. An upsert.
  spec @0 :ActorSpec;
}

struct ActorStart {
  # directory -> node. Place incarnation `incarnation` there. Answered by ActorStarted.
  spec @0 :ActorSpec;
  incarnation @1 :UInt64;
}

struct ActorConstruct {
  # node -> worker. Construct it, under the worker's lease. Answered by ActorStarted.
  spec @0 :ActorSpec;
  incarnation @1 :UInt64;
  lease @2 :Common.LeaseId;
}

struct ActorStarted {
  # worker -> node -> directory. `error` set: the constructor threw, or no worker could be had.
  actor @0 :Common.ActorId;
  incarnation @1 :UInt64;
  worker @2 :Common.ProcessId;
  address @3 :Text;            # where the worker listens
  error @4 :Common.ErrorInfo;
  kept @5 :List(UInt32);       # positions of those refs of the constructor's arguments that the actor registered
}

struct ActorEnded {
  # worker or node -> directory. This incarnation is over.
  actor @0 :Common.ActorId;
  incarnation @1 :UInt64;
  intended @2 :Bool;           # ExitActor, Kill, or a constructor that failed: no restart
  error @3 :Common.ErrorInfo;
}

struct ActorWatch {
  # process -> own node [-> directory]. Asks for updates about an actor, now and whenever it changes.
  actor @0 :Common.ActorId;
  watcher @1 :Common.ProcessId;
}

struct ActorUpdate {
  # directory -> watcher. The actor's present state.
  actor @0 :Common.ActorId;
  watcher @1 :Common.ProcessId;
  version @2 :UInt64;          # rises with each change
  state @3 :ActorState;
  incarnation @4 :UInt64;
  worker @5 :Common.ProcessId;
  address @6 :Text;
  error @7 :Common.ErrorInfo;  # dead: why
  kept @8 :List(UInt32);       # to the creator: as in ActorStarted
  willRestart @9 :Bool;
  waiting @10 :Text;           # pending, restarting: what it lacks, and how much of that there is
  maxTaskRetries @11 :Int32;   # as in ActorSpec
  instead @12 :Common.ActorId; # dead, if getIfExists was asked for: the live actor that has the name
}

struct ActorKill {
  # process -> directory -> node -> worker. `graceful`: first runs the calls it already has (the last handle is gone).
  actor @0 :Common.ActorId;
  noRestart @1 :Bool;          # false: this incarnation only
  graceful @2 :Bool;
  incarnation @3 :UInt64;      # this one (directory -> node: and older ones); 0: whichever lives
}

struct ActorLookup {
  # process -> own node -> head. Answered by ActorFound.
  asker @0 :Common.ProcessId;
  request @1 :UInt64;
  nameSpace @2 :Text;
  name @3 :Text;
}

struct ActorFound {
  asker @0 :Common.ProcessId;
  request @1 :UInt64;
  actor @2 :Common.ActorId;    # none: no such name
  maxConcurrency @3 :UInt32;
}
