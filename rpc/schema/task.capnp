@0xb1737ccd7f0866ab;
# Calls: a caller (driver or worker) hands a task, or a method of an actor, straight to the worker that runs it.
#
#   caller  -- CallRequest -->  worker        one per attempt
#   caller  -- CallCancel  -->  worker        at any time after it
#   caller <--  CallReply  ---  worker        one per attempt, whatever happened
#
# Order.   Tasks: none; a worker starts what it has in the order of arrival. Actor calls: the stream (caller, actor
#          incarnation) is numbered from 1 by `sequence` and runs in that order, retries included; the worker holds
#          back what came too early. A ref's RefTicket is written to the caller's own node before the request that
#          carries the ref is written anywhere; a reply's likewise, to the worker's node.
# Retry.   The channel delivers each frame once. An attempt is retried by the caller, with `attempt` + 1 and the same
#          CallId, only after its outcome is known: a CallReply, or the death of the worker.
# Fences.  A worker refuses (notExecuted) a task under another lease than the one it has, and an actor call for another
#          incarnation than the one it hosts.
# Loss.    When the channel closes, the worker drops what the caller has not started and whatever replies it holds
#          for it. For the caller, every request without a reply becomes: notExecuted, if the worker's death
#          shows that it had not started; else unknown (WorkerDied or ActorDied with may_have_run).

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
$Cxx.namespace("manta::rpc::schema");

enum Outcome {
  ok @0;
  error @1;                    # the user's exception, or a typed error of the system
  notExecuted @2;              # certainly did not start: run it elsewhere, it does not count as a retry
  unknown @3;                  # it may have run
}

struct CallRequest {
  # caller -> worker. Run function `function` under `lease`, or as a method of `actor`. Answered by one CallReply.
  call :group {
    callerNode @0 :UInt64;
    callerNumber @1 :UInt64;
    number @2 :UInt64;
  }
  attempt @3 :UInt32;          # from 0
  depth @4 :UInt32;            # of the chain of parents; deeper calls are granted CPUs first
  job @5 :UInt64;
  function @6 :UInt64;         # hash of the registered name
  lease :group {               # tasks
    node @7 :UInt64;
    number @8 :UInt64;
  }
  actor :group {               # actor calls
    creatorNode @9 :UInt64;
    creatorNumber @10 :UInt64;
    number @11 :UInt64;
  }
  actorIncarnation @12 :UInt64;
  sequence @13 :UInt64;        # actor calls: position in the stream (caller, actor incarnation), from 1
  deadlineNs @14 :UInt64;      # time left when it was sent (clocks of two hosts do not compare); 0: none
  parent :group {              # the call that made this one
    callerNode @15 :UInt64;
    callerNumber @16 :UInt64;
    number @17 :UInt64;
  }
  trace @18 :UInt64;
  cancelToken @19 :UInt64;
  returnCount @20 :UInt32;
  concurrencyGroup @21 :UInt32;
  retryOnException @22 :Bool;  # an exception of this attempt will be retried: the worker keeps the arguments' refs
  nameSpace @23 :Text;
  args @24 :List(Common.Value);
  name @25 :Text;              # what the caller calls this call; absent: the function's name
}

struct CallReply {
  # worker -> caller. How the attempt ended. A reply for an attempt that is not the caller's current one is dropped, and
  # its tickets are ended.
  call :group {
    callerNode @0 :UInt64;
    callerNumber @1 :UInt64;
    number @2 :UInt64;
  }
  attempt @3 :UInt32;
  outcome @4 :Outcome;
  runNs @5 :UInt64;            # time in user code, for the pipelining rule
  returns @6 :List(Common.Value);  # ok
  error @7 :Common.ErrorInfo;  # error
  kept @8 :List(UInt32);       # positions of those refs of the request that the callee registered and holds on to
}

struct CallCancel {
  # caller -> worker. Takes back an attempt that has not started: its CallReply says notExecuted with `cancelled`, or
  # the real outcome if it had started. For an attempt the worker does not have: no answer (its reply is on its way).
  call :group {
    callerNode @0 :UInt64;
    callerNumber @1 :UInt64;
    number @2 :UInt64;
  }
  attempt @3 :UInt32;
}
