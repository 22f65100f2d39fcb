// The simulated program: tasks, and the methods of one class of actor. Numbers are what CallRequest.function carries.
#ifndef MANTA_TESTS_SIM_FUNCTIONS_H_
#define MANTA_TESTS_SIM_FUNCTIONS_H_

#include <cstdint>

namespace manta::sim {

enum Fn : uint64_t {
  kCounter = 0,  // constructor(start, refs...): holds the refs of its first argument
  kAdd,          // the sum of the arguments
  kSleepAdd,     // (us, number): the number, after a while
  kTree,         // (depth, fanout): fanout^depth, by tasks that call tasks
  kMakeLarge,    // (number, bytes): the number, in the store
  kSumNested,    // (refs inside): the sum of what they are
  kPass,         // (refs inside, hops): hands the refs on, then the sum
  kGiveRefs,     // (n, base): n refs to base, base + 1, ..., some of them pending, some large
  kThrow,        // (number): throws
  kFlaky,        // (number): throws now and then
  kKeep,         // (refs inside, us): keeps them for a while, and drops them one by one
  kReadLarge,    // (stored values): their sum; looks again after a while
  kInc,          // (by): the total
  kHold,         // (refs inside): how many it holds now
  kSumHeld,      // (): the sum of what it holds
  kGiveHeld,     // (): refs to what it holds
  kDropHeld,     // (): drops them
  kSlow,         // (us)
  kFail,         // (): throws
  kRelay,        // (handle inside, number): what the other actor's Echo says
  kExit,         // (): ends the actor
  kHoldView,     // (stored value): keeps reading it; looks at everything kept
  kSpawn,        // (a, b): a + b, by a task
  kEcho,         // (number): the number
  kGrow,         // (stored value, by, bytes): their sum, in the store
  kFnCount
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_FUNCTIONS_H_
