// The words of collectives: what is computed (Reduction), how (Algorithm), what it cost (CollectiveStats), and the
// handle of one that is under way (Work). See communicator.h.
#ifndef MANTA_ML_COLLECTIVE_H_
#define MANTA_ML_COLLECTIVE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "manta/internal/export.h"

namespace manta::ml {

// How the members' values of one element become one. kMean is the sum divided by the number of members, of floating
// point only. kMax and kMin: a NaN of any member is the result.
enum class Reduction : uint8_t { kSum, kMean, kMax, kMin };

// S: bytes of one member's values; n: members. All of them give bitwise the same result on every member.
enum class Algorithm : uint8_t {
  // What CostModel says is fastest for S and the group.
  kAuto,
  // Reduce-scatter and all-gather around a ring (Patarasu and Yuan, 2009): each member sends 2 S (n-1)/n bytes, the
  // least possible, in 2 (n-1) steps.
  kRing,
  // Up and down a binomial tree: 2 ceil(log2 n) steps of S bytes.
  kTree,
  // Recursive halving, then doubling (Rabenseifner, 2004): the ring's bytes in 2 log2 n steps; where n is no power of
  // two the members beyond one hand theirs to a partner first, and get the result last.
  kHalvingDoubling,
  // All send to member 0, which answers all: 2 steps; member 0 moves 2 S (n-1) bytes.
  kStar,
  // A window that all members of one machine have mapped: each reduces its part of all values, in pieces that stay in
  // the cache. Members of one node only.
  kSharedMemory,
  // For several members on each of several nodes: those of a node reduce to one of them, the leader, through a window;
  // the leaders do an AllReduce by messages, by what CostModel says is fastest for so many; and back (Awan et al.,
  // EuroMPI 2016). A node's S bytes cross the network once, whatever its number of members.
  kHierarchical,
};

MANTA_EXPORT const char* ReductionName(Reduction reduction);  // "sum"
MANTA_EXPORT const char* AlgorithmName(Algorithm algorithm);  // "halving-doubling"
// InvalidArgumentError: there is none of that name (it lists those there are).
MANTA_EXPORT Algorithm AlgorithmNamed(const std::string& name);

// What one member's Communicator has done since it was made.
struct CollectiveStats {
  uint64_t operations = 0;
  uint64_t messages_sent = 0;
  uint64_t bytes_sent = 0;  // of values: in messages, or written to the window for others
  // Of the last operation that went by messages: the most that had to follow one another before this member was done.
  uint32_t longest_chain = 0;
  Algorithm last_algorithm = Algorithm::kAuto;  // of the last operation; never kAuto after the first
};

// A collective that was begun by an ...Async method. The values must live, and stay untouched, until Wait has returned
// or thrown.
// Threads: thread-safe; copies are the same work.
class MANTA_EXPORT Work {
 public:
  Work() = default;  // nothing: done
  // Waits until it is done; throws what the method without Async throws, each time it is called.
  void Wait() const;
  // Whether Wait would return or throw at once.
  bool IsDone() const;

  struct State;
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_COLLECTIVE_H_
