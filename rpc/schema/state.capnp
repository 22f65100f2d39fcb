@0xb4d1f0a6c2e97538;
# What there is in a cluster: asked by people (the command line), answered by whoever knows.
#
#   client -- StateQuery -->  head  -->  nodes;  StateReply comes back, one from the head for all
#
# Order.   None between queries.
# Retry.   By the client: a query changes nothing, but for killActor, which is an upsert.
# Loss.    A client's connection takes its queries along. A node that does not answer in time is named in the reply's
#          error, and the rest is told.
# Access.  Readers may ask; killActor is for members.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("manta::rpc::schema");

enum StateKind {
  status @0;
  nodes @1;
  workers @2;
  actors @3;
  tasks @4;
  objects @5;
  jobs @6;
  programs @7;
  logs @8;                     # reads a log file: `subject` names it
  killActor @9;                # `subject`: the actor's id, or its name
}

struct StateQuery {
  request @0 :UInt64;          # the asker's number
  kind @1 :StateKind;
  node @2 :UInt64;             # only this node's; 0: all
  subject @3 :Text;            # lists: "summary" asks for counts instead of rows
  offset @4 :UInt64;           # logs: bytes from the start
  limit @5 :UInt64;            # rows; logs: bytes
  noRestart @6 :Bool;          # killActor: for good, else this incarnation
  filters @7 :List(Text);      # lists: "KEY=VALUE", "KEY!=VALUE"; a row without the column may be among the answers
}

struct StateField {
  key @0 :Text;
  value @1 :Text;
  isJson @2 :Bool;             # the value is a JSON number, bool, object or array; else a string
}

struct StateRow {
  fields @0 :List(StateField);
}

struct StateReply {
  request @0 :UInt64;
  node @1 :UInt64;             # who answers; 0: the head
  rows @2 :List(StateRow);
  textBytes @3 :UInt32;        # logs: the frame's raw part
  truncated @4 :Bool;          # there are more
  error @5 :Text;              # absent: none
}
