// EventQueue is the simulator's time: things to do, in the order of their instants and then of their insertion.
//
// Threads:    externally synchronised.
// Invariants: (1) time never goes back.
#ifndef MANTA_TESTS_SIM_EVENT_QUEUE_H_
#define MANTA_TESTS_SIM_EVENT_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/time.h"

namespace manta::sim {

class EventQueue {
 public:
  Time now() const { return now_; }
  void At(Time when, std::function<void()> what) {
    heap_.push_back({when < now_ ? now_ : when, next_++, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }
  void After(Duration delay, std::function<void()> what) { At(now_ + delay, std::move(what)); }
  bool empty() const { return heap_.empty(); }
  // Does the next thing. REQUIRES: !empty().
  void RunOne() {
    std::pop_heap(heap_.begin(), heap_.end(), Later());
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.when;
    ++ran_;
    event.what();
  }
  uint64_t ran() const { return ran_; }

 private:
  struct Event {
    Time when;
    uint64_t number;
    std::function<void()> what;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.when != b.when ? a.when > b.when : a.number > b.number;
    }
  };
  Time now_ = TimeFromNanos(1'000'000'000);
  uint64_t next_ = 0;
  uint64_t ran_ = 0;
  std::vector<Event> heap_;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_EVENT_QUEUE_H_
