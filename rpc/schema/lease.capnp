@0xed1e581529413624;
# Leases: the right of a caller to push tasks of one resource shape to one worker.
#
#   caller -- LeaseRequest -->  own node  [-->  other node]     caller-minted request number, rising
#   caller -- LeaseCancel  -->  own node  [-->  other node]
#   caller <-- LeasePending --  own node                        whenever the reason for waiting changes
#   caller <-- LeaseGrant  ---  node that granted, relayed by the caller's own
#   caller -- LeaseReturn  -->  node of the lease, by way of its own
#   node   -- LeaseFence   -->  worker
#   worker -- LeaseBlocked -->  own node
#
# Order.   On each channel as sent. A LeaseFence is written to the worker before the grant of the lease that it makes
#          the lowest is written to anybody, but may arrive later than the first push: a worker that sees a higher
#          lease than it knows takes it as current.
# Retry.   (caller, request) names the request: a second LeaseRequest with the same number is the same request. A node
#          that forwards keeps the request until it is answered, and asks another node if the one asked dies.
# Loss.    A lease ends with its caller, its worker or its node. When a caller's channel to its node closes, its
#          requests are dropped and its leases are fenced and given to others. A grant that crosses a cancel
#          comes back as a LeaseReturn.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
$Cxx.namespace("manta::rpc::schema");

struct LeaseRequest {
  # caller -> own node [-> other node]. Asks for a worker of the job with `shape`. Answered by one LeaseGrant.
  caller @0 :Common.ProcessId;
  request @1 :UInt64;
  job @2 :UInt64;
  shape @3 :Common.ResourceSet;
  depth @4 :UInt32;            # of the deepest call that waits for it; deeper is granted first
  forwarded @5 :Bool;          # came from another node: grant or queue here, do not forward again
  hint @6 :Common.SchedulingHint;
}

struct LeaseCancel {
  # caller -> own node [-> other node]. The caller needs no worker any more. Unknown numbers are ignored.
  caller @0 :Common.ProcessId;
  request @1 :UInt64;
}

struct LeaseGrant {
  # node -> caller. The lease, or `error` and nothing else.
  caller @0 :Common.ProcessId;
  request @1 :UInt64;
  lease @2 :Common.LeaseId;
  worker @3 :Common.ProcessId;
  address @4 :Text;            # where the worker listens
  error @5 :Common.ErrorInfo;  # set: refused
}

struct LeaseReturn {
  # caller -> node of the lease. The worker is free again (or dead, as far as the caller knows). Ignored when the lease
  # has been fenced meanwhile.
  lease @0 :Common.LeaseId;
}

struct LeaseFence {
  # node -> worker. Pushes under a lease with a lower number are refused (notExecuted) from now on.
  lowest @0 :Common.LeaseId;
}

struct LeaseBlocked {
  # worker -> node. The running task blocks in Get and its CPU is free (`blocked`), or goes on.
  lease @0 :Common.LeaseId;
  blocked @1 :Bool;
}

struct LeasePending {
  # node -> caller. Why a request waits, for the log and for Get's error.
  caller @0 :Common.ProcessId;
  request @1 :UInt64;
  reason @2 :Text;
  workerLimit @3 :Bool;        # the node runs as many workers as it may: WorkerLimitError, if its Timeout passes
}
