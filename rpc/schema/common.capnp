@0xe3df2ce1a1874076;
# Values that every message is made of. Nobody sends this file; task, lease, actor, object, node and head do.
#
# Transport.  A message is one frame (rpc/frame.h): its type (MessageType), one Cap'n Proto message of up to 16 segments
#             with a segment table, then the raw parts: the bytes of every inline Value (and of ObjectPulled.data and
#             Output.text) in the order in which a depth-first reader of the schema meets their sizes, each padded
#             to 8 bytes with zeros. Parts never pass through a builder, and a frame ends where its last part ends.
# Order.      Messages of one channel arrive in the order of Send, each once, or the channel closes. Between channels
#             there is no order: where one is needed, the message that needs it says so.
# Retry.      A socket between nodes may break and come back: its session (rpc/session.h) resends what was not
#             acknowledged and drops what came twice. A ring or a unix socket never reconnects: it ends with its
#             process.
# Loss.       What a closed channel destroys stands in the file of the messages concerned.
# Refusal.    A receiver closes a channel on which any of these arrives: a type it does not know, an enum value out of
#             range, a list or text longer than the bytes that could hold it, a name that is not UTF-8, an amount of
#             a resource that is not above 0, a nesting deeper than 16. Unknown means refused: both sides of a
#             channel speak the same protocol version (handshake.capnp), so there is no older peer to be kind to.
#
# rpc/message.h mirrors these files struct by struct; rpc/codec.h converts. "none" is an id of zeros, or an absent
# pointer. Ids here are flat (no struct inside a struct) because each pointer costs 8 bytes and 5 ns.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("manta::rpc::schema");

enum MessageType {
  # The frame's type, which is also the position in rpc::Message. A new message goes to the end of both.
  callRequest @0;
  callReply @1;
  callCancel @2;

  leaseRequest @3;
  leaseCancel @4;
  leaseGrant @5;
  leaseReturn @6;
  leaseFence @7;
  leaseBlocked @8;
  leasePending @9;

  actorCreate @10;
  actorStart @11;
  actorConstruct @12;
  actorStarted @13;
  actorEnded @14;
  actorWatch @15;
  actorUpdate @16;
  actorKill @17;
  actorLookup @18;
  actorFound @19;

  objectSeal @20;
  objectPublish @21;
  refTicket @22;
  refOutcome @23;
  refRegister @24;
  refRelease @25;
  objectResolve @26;
  objectResolved @27;
  objectPull @28;
  objectPulled @29;
  objectDrop @30;
  objectCopy @31;
  segmentRequest @32;
  segmentGrant @33;
  segmentReturn @34;
  segmentMap @35;

  processHello @36;
  processWelcome @37;
  processDied @38;
  deathDrained @39;
  processExit @40;
  jobEnd @41;
  output @42;
  peerOffer @43;
  peerAnswer @44;

  nodeRegister @45;
  nodeAccepted @46;
  nodeFenced @47;
  heartbeat @48;
  nodeReport @49;
  clusterView @50;
  nodeDied @51;
  jobRegister @52;
  jobAccepted @53;

  peerBroke @54;
  segmentGone @55;
  peerDial @56;
  peerLink @57;
  programRequest @58;
  programInfo @59;
  stateQuery @60;
  stateReply @61;
  nodesQuery @62;
  nodesReply @63;
}

struct ProcessId {
  # One life of one process: {0, 0} the head, {n, 0} the daemon of node n, {n, k} a driver or worker of node n.
  node @0 :UInt64;
  number @1 :UInt64;
}

struct CallId {
  # The call's number among those of the process that makes it, from 1. Also the id of what the call returns.
  callerNode @0 :UInt64;
  callerNumber @1 :UInt64;
  number @2 :UInt64;
}

struct ObjectId {
  # Result `index` of the owner's call `number`, or (index 0) the value of its Put. ownerNode is the object's home.
  ownerNode @0 :UInt64;
  ownerNumber @1 :UInt64;
  number @2 :UInt64;
  index @3 :UInt32;            # 0xFFFFFFFF: the handle of actor {owner, number}
}

struct ActorId {
  creatorNode @0 :UInt64;
  creatorNumber @1 :UInt64;
  number @2 :UInt64;
}

struct LeaseId {
  # Rises with every grant of `node`, so a worker can refuse all that are older than the one it knows.
  node @0 :UInt64;
  number @1 :UInt64;
}

struct TicketId {
  # The hold on an object while a message with a ref to it travels. It names the call, not the receiver, so that
  # resending and re-routing keep it.
  callerNode @0 :UInt64;
  callerNumber @1 :UInt64;
  number @2 :UInt64;
  attempt @3 :UInt32;
  index @4 :UInt32;            # position among the refs of the request (or of the reply)
  reply @5 :Bool;              # held by the callee, else by the caller
}

struct StoreLocation {
  # Where a sealed object lies. Good as long as the object is referenced: a segment is not reused before.
  node @0 :UInt64;
  segment @1 :UInt64;
  offset @2 :UInt64;           # bytes from the segment's start
  sizeBytes @3 :UInt64;
}

enum ErrorCode {
  none @0;
  taskError @1;                # the user's code threw; type, message and where are its own
  workerDied @2;
  actorDied @3;
  objectLost @4;
  ownerDied @5;
  nodeDied @6;
  outOfMemory @7;
  timeout @8;
  cancelled @9;
  backPressure @10;
  functionNotFound @11;
  nameTaken @12;
  workerLimit @13;
  invalidArgument @14;
  serialization @15;
  shutdown @16;
  internal @17;
}

struct ErrorInfo {
  # How a call ended when it did not end well. Its texts are a user's own and need not be UTF-8. Absent: no error.
  code @0 :ErrorCode;
  mayHaveRun @1 :Bool;
  type @2 :Text;               # the user's exception type, demangled
  message @3 :Text;            # what happened and what to do
  where @4 :Text;              # process, function
  chain @5 :List(Text);        # the calls from the outermost to this one
}

struct NestedRef {
  # A ref inside a value. The location is a hint (node 0: none): a reader on that node needs to ask nobody.
  object :group {
    ownerNode @0 :UInt64;
    ownerNumber @1 :UInt64;
    number @2 :UInt64;
    index @3 :UInt32;
  }
  location :group {
    node @4 :UInt64;
    segment @5 :UInt64;
    offset @6 :UInt64;
    sizeBytes @7 :UInt64;
  }
}

struct StoredValue {
  object :group {
    ownerNode @0 :UInt64;
    ownerNumber @1 :UInt64;
    number @2 :UInt64;
    index @3 :UInt32;
  }
  location :group {
    node @4 :UInt64;
    segment @5 :UInt64;
    offset @6 :UInt64;
    sizeBytes @7 :UInt64;
  }
}

struct Value {
  # A value on its way. `inline`: the next raw part of the frame is its bytes, `inlineBytes` of them. `stored`: it lies
  # in a store, at `stored`. A value that is still a ref does not travel: its caller waits for it first.
  kind @0 :Kind;
  inlineBytes @1 :UInt32;
  stored @2 :StoredValue;
  refs @3 :List(NestedRef);    # the refs nested in it, in the order in which they appear

  enum Kind {
    inline @0;
    stored @1;
  }
}

struct Resource {
  # An amount of one resource in units of 1/10000, so that it is never NaN and adds up exactly. Above 0.
  name @0 :Text;               # "CPU", "GPU", or a user's own; UTF-8, 1 to 128 bytes
  units @1 :Int64;
}

enum Spreading {
  hybrid @0;                   # pack up to a point, then spread
  spread @1;                   # the emptiest node
}

struct SchedulingHint {
  # Where a task or actor should run. Absent: anywhere.
  spreading @0 :Spreading;
  affinity @1 :UInt64;         # this node; 0: none
  affinityHard @2 :Bool;       # ... and no other, whatever happens
}

struct ResourceSet {
  # At most 256 names, each once. What a node has handed out twice (below 0) is not listed: to others it is 0.
  resources @0 :List(Resource);
}
