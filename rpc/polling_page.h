// PollingPage rations polling among the processes of one node: it counts the threads that are awake, in a page that the
// node owns. PollingSlot is one process's line of it.
//
// Problem:    two processes that poll answer each other in a microsecond; four pairs that poll on two cores take turns
//             by the scheduler's slice (one pair 212 k calls/s, the others 15-22 k). A thread polls only while there is
//             a core for everybody who is awake.
// Counting:   a thread is awake while it runs or polls, and is not while it sleeps in Manta: going from one to the
// other
//             costs no write, since it is their sum that decides. Each slot is written by its process alone, and
//             cleared by the node at the process's death, so no death can leave a wrong sum behind.
// Trust:      every process of the node can write to every line. Wrong sums cost time: who polls, and who sleeps.
// Threads:    PollingPage externally synchronised; PollingSlot thread-safe.
// See:        rpc/shm_port.h (who polls), rpc/attention.h
#ifndef MANTA_RPC_POLLING_PAGE_H_
#define MANTA_RPC_POLLING_PAGE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "base/memfd.h"
#include "base/status.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace manta::rpc {

// What stands in the memfd. Zeros are a page without processes.
struct PollingLayout {
  static constexpr uint32_t kSlots = 16384;

  std::atomic<uint64_t> wake_cost_ns;  // as the node measured it; 0: not yet
  std::atomic<uint32_t> slots_used;    // no slot from here on was ever given out
  alignas(64) std::atomic<uint32_t> awake[kSlots];
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

class PollingSlot {
 public:
  // Maps a page that came from the node. kInvalidArgument if it is none, or has no slot `slot`. `cpus`: as of
  // base::AvailableCpus().
  static absl::StatusOr<PollingSlot> Open(int page_fd, uint32_t slot, int cpus);
  // A slot of a page of its own, for a process that shares with nobody (tests, benchmarks).
  static absl::StatusOr<PollingSlot> CreateAlone(int cpus, Duration wake_cost);

  // A thread of this process begins / ceases to run or poll. Calls pair up.
  void Awake() { line()->fetch_add(1, std::memory_order_relaxed); }
  void Asleep() { line()->fetch_sub(1, std::memory_order_relaxed); }

  // Whether a thread that is counted as awake may poll: no more threads are awake on the node than there are CPUs.
  bool MayPoll() const;
  // How long a thread polls at most before it sleeps: twice the cost of a wake, 20 to 200 us.
  Duration poll_time_max() const;

 private:
  PollingSlot(base::Mapping mapping, uint32_t slot, int cpus)
      : mapping_(std::move(mapping)), slot_(slot), cpus_(static_cast<uint32_t>(cpus)) {}
  PollingLayout* page() const { return reinterpret_cast<PollingLayout*>(mapping_.mutable_data()); }
  std::atomic<uint32_t>* line() const { return &page()->awake[slot_]; }

  base::Mapping mapping_;
  uint32_t slot_;
  uint32_t cpus_;
};

class PollingPage {
 public:
  static absl::StatusOr<std::unique_ptr<PollingPage>> Create();

  // A slot for a new process. kResourceExhausted when there is none.
  absl::StatusOr<uint32_t> TakeSlot();
  // The process is dead (or has not started): its threads no longer count. REQUIRES: it was taken.
  void ClearSlot(uint32_t slot);

  // What every process reads as the cost of a wake; see MeasureWakeCost.
  void SetWakeCost(Duration cost);

  // To be duplicated to the node's processes.
  int fd() const { return fd_.get(); }
  // Threads counted as awake on this node.
  uint32_t awake() const;

 private:
  PollingPage() = default;
  PollingLayout* page() const { return reinterpret_cast<PollingLayout*>(mapping_.mutable_data()); }

  base::UniqueFd fd_;
  base::Mapping mapping_;
  uint32_t slots_used_ = 0;  // our own copy: every process can write to the page
  std::set<uint32_t> free_;
};

// What it costs to wake a thread that sleeps on an eventfd on another core (on a machine with one core: on this one),
// until it runs. The median of some tries: blocks for about a millisecond.
Duration MeasureWakeCost();

}  // namespace manta::rpc

#endif  // MANTA_RPC_POLLING_PAGE_H_
