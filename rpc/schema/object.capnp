@0xacb61443f0524f3b;
# Objects and references: who holds what, where the bytes lie, how they move (docs/objects.md).
#
# An object's *home* is the daemon of its owner's node (ObjectId.ownerNode): it counts the references.
#
#   process -- ObjectSeal, ObjectPublish, RefTicket, RefOutcome, RefRegister, RefRelease, ObjectResolve -->  own node
#           -->  home                                 (the node forwards each at once, in order, in one stream)
#   home    -- ObjectResolved -->  node of the asker  -->  asker
#   home    -- ObjectDrop     -->  node with a copy;       node -- ObjectCopy --> home
#   node    -- ObjectPull     -->  node with a copy;       ObjectPulled comes back; larger objects' bytes
#                                                            follow on a data connection (store/transfer_wire.h)
#   process -- SegmentRequest, SegmentReturn, SegmentMap --> own node;  SegmentGrant, SegmentMap come back;
#                                                                        SegmentGone when it is destroyed
#
# Order.   Per channel, and kept by the forwarding node: this is what the protocol rests on. A ticket is written into
#          the holder's channel to its own node before the message that carries the ref is written anywhere; a node
#          drains a dead process's channel before it reports the death; it forwards tickets and deaths to a home in
#          one stream. So no death of a worker or driver loses a ticket.
# Retry.   Each is idempotent: registrations and releases carry a borrow number that rises with each new borrow of the
#          object by that holder, and a lower one is ignored; seals and copies carry the attempt.
# Loss.    A dead process holds nothing: the home drops its holds once its channels are drained everywhere (DeathDrained
#          in node.capnp). A home that dies takes its objects along (ObjectLost), and copies elsewhere are
#          dropped. A data connection that breaks is made again, and goes on where it broke.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
$Cxx.namespace("manta::rpc::schema");

struct ObjectSeal {
  # writer -> own node -> home. A sealed object exists; `holder` (the caller) holds it. No answer.
  object @0 :Common.ObjectId;
  attempt @1 :UInt32;
  location @2 :Common.StoreLocation;
  holder @3 :Common.ProcessId;
  refs @4 :List(Common.NestedRef);  # nested in it: held by the object's own entry at its home
}

struct ObjectPublish {
  # owner -> own node (= home). Before the ref leaves the process for the first time, and again when a pending one
  # resolves. The owner becomes a holder.
  object @0 :Common.ObjectId;
  pending @1 :Bool;            # else `value` or `error`
  value @2 :Common.Value;
  error @3 :Common.ErrorInfo;
}

struct RefTicket {
  # sender -> own node -> home. The object is held while a message with a ref to it travels.
  ticket @0 :Common.TicketId;
  object @1 :Common.ObjectId;
  holder @2 :Common.ProcessId;    # who sends the message
  receiver @3 :Common.ProcessId;  # replies: the caller; requests: none (they may be re-routed)
}

struct RefOutcome {
  # caller -> own node -> home. The call's attempt has ended: its ticket ends now, or, if the callee kept the ref, when
  # the callee's registration arrives (or the callee is dead).
  ticket @0 :Common.TicketId;
  object @1 :Common.ObjectId;
  keptBy @2 :Common.ProcessId;    # none: not kept
  ticketBy @3 :Common.ProcessId;  # replies: the callee, whose RefTicket may come later, or never if it is dead
}

struct RefRegister {
  # borrower -> own node -> home. The borrower holds the object; `ticket` ends.
  object @0 :Common.ObjectId;
  holder @1 :Common.ProcessId;
  borrow @2 :UInt64;
  ticket @3 :Common.TicketId;     # number 0: none
  ticketBy @4 :Common.ProcessId;  # as in RefOutcome
}

struct RefRelease {
  # holder -> own node -> home. The holder holds the object no more.
  object @0 :Common.ObjectId;
  holder @1 :Common.ProcessId;
  borrow @2 :UInt64;           # the owner's own hold is borrow 0
  sealedOn @3 :UInt64;         # the owner releases a sealed result: the node from which its Seal may still be coming
  sealedAttempt @4 :UInt32;    # sealedOn: by which attempt
}

struct ObjectResolve {
  # process -> own node -> home. Where is it? Answered by ObjectResolved when it is no longer pending and, if stored,
  # once a copy is on the asker's node.
  object @0 :Common.ObjectId;
  asker @1 :Common.ProcessId;
}

struct ObjectResolved {
  # home -> node of the asker -> asker.
  object @0 :Common.ObjectId;
  asker @1 :Common.ProcessId;
  attempt @2 :UInt32;
  value @3 :Common.Value;
  error @4 :Common.ErrorInfo;
}

struct ObjectPull {
  # node -> node that has a copy. Answered by ObjectPulled.
  object @0 :Common.ObjectId;
  attempt @1 :UInt32;
  puller @2 :UInt64;
}

struct ObjectPulled {
  # node -> node. The bytes of an object of at most 256 KiB are the frame's last raw part; larger ones are there to be
  # fetched, until the home has them dropped.
  object @0 :Common.ObjectId;
  attempt @1 :UInt32;
  found @2 :Bool;
  sizeBytes @3 :UInt64;        # of the object
  dataBytes @4 :UInt32;        # of the raw part; 0: to be fetched
  refs @5 :List(Common.NestedRef);
}

struct ObjectDrop {
  # home -> node with a copy. Drop it, if it is of `attempt` or a lower one.
  object @0 :Common.ObjectId;
  attempt @1 :UInt32 = 0xFFFFFFFF;  # all: nobody refers to the object
}

struct ObjectCopy {
  # node -> home. A copy came (after a pull), went (evicted), or cannot be had by other nodes.
  object @0 :Common.ObjectId;
  attempt @1 :UInt32;
  location @2 :Common.StoreLocation;
  present @3 :Bool;
  damaged @4 :Bool;            # not present: the bytes came damaged to the sender, again and again; they are kept there
}

struct SegmentRequest {
  # process -> own node. Lease me room for writing. Answered by SegmentGrant. The leases of a process end with it.
  request @0 :UInt64;
  sizeBytes @1 :UInt64;
}

struct SegmentGrant {
  # node -> process, with the segment's descriptor (rpc/socket_channel.h, SendDescriptors) unless it is refused.
  request @0 :UInt64;
  segment @1 :UInt64;
  offset @2 :UInt64;
  sizeBytes @3 :UInt64;        # 0: refused, `error` says why
  error @4 :Common.ErrorInfo;
}

struct SegmentReturn {
  # process -> own node. The unused rest of a lease.
  segment @0 :UInt64;
  offset @1 :UInt64;
  sizeBytes @2 :UInt64;
}

struct SegmentMap {
  # process -> own node: I want to read this segment. The answer is the same message, with its descriptor.
  segment @0 :UInt64;
}

struct SegmentGone {
  # node -> process that was given the segment's descriptor, on its ring. The node has destroyed it; a mapping keeps its
  # memory in use, beyond the store's quota, and goes once nothing in it is being read.
  segment @0 :UInt64;
}
