// FailureDetector tells which peers have been silent for too long.
//
// Problem:    silence has two ends. When this process itself was stopped (SIGSTOP, a swapped-out host), every peer
//             looks silent, and none of them is.
// How:        whoever owns it calls Heard for every message and Advance at next_deadline(). An Advance that comes more
// than
//             late_after after its deadline starts all timers anew.
//
//                    silent for suspect_after          silent for dead_after
//        alive ───────────────────────────► suspected ───────────────────────► dead (forgotten)
//          ▲                                    │
//          └──────────── Heard ─────────────────┘
//
// Threads:    externally synchronised; pure.
// Invariants: (1) a peer is reported dead once, and then forgotten.
//             (2) nobody is reported dead within dead_after of Watch or of a late Advance.
#ifndef MANTA_RUNTIME_FAILURE_DETECTOR_H_
#define MANTA_RUNTIME_FAILURE_DETECTOR_H_

#include <map>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace manta::runtime {

class FailureDetector {
 public:
  struct Options {
    Duration suspect_after = std::chrono::seconds(1);
    Duration dead_after = std::chrono::seconds(3);
    Duration late_after = std::chrono::milliseconds(500);
  };
  struct Verdict {
    std::vector<NodeId> suspected;
    std::vector<NodeId> dead;
  };

  explicit FailureDetector(Options options) : options_(options) {}

  // Starts (or restarts) the timer of `node`.
  void Watch(NodeId node, Time now);
  void Forget(NodeId node);
  // Ignored for a node that is not watched. Returns whether it was suspected until now.
  bool Heard(NodeId node, Time now);
  Verdict Advance(Time now);
  // When Advance is wanted next; kInfiniteFuture: nobody is watched.
  Time next_deadline() const { return peers_.empty() ? kInfiniteFuture : next_advance_; }
  bool suspected(NodeId node) const;

 private:
  struct Peer {
    Time last_heard;
    bool suspected = false;
  };
  Duration period() const { return options_.suspect_after / 4; }

  const Options options_;
  std::map<NodeId, Peer> peers_;
  Time next_advance_ = kInfiniteFuture;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_FAILURE_DETECTOR_H_
