// SlowProxy stands between two daemons and passes on what they say: late, slowly, or not at all.
//
// Threads:    thread-safe; it has a thread of its own.
// Invariants: (1) no byte is lost, changed or reordered while a connection lives.
//             (2) it holds at most kHeldBytesMax per connection and direction: then it reads no more.
#ifndef MANTA_TESTS_CLUSTER_SLOW_PROXY_H_
#define MANTA_TESTS_CLUSTER_SLOW_PROXY_H_

#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "base/unique_fd.h"

namespace manta::cluster {

class SlowProxy {
 public:
  static constexpr size_t kHeldBytesMax = 64 << 10;

  struct Shape {
    double bytes_per_second = 1e12;  // each way
    std::chrono::milliseconds delay{0};
  };

  // Listens on any port of 127.0.0.1, and connects to `target` ("host:port") for each connection that comes.
  explicit SlowProxy(std::string target);
  ~SlowProxy();  // closes all
  SlowProxy(const SlowProxy&) = delete;
  SlowProxy& operator=(const SlowProxy&) = delete;

  const std::string& address() const { return address_; }
  void Set(Shape shape);
  // The connections of now are half open from now on: nothing is read, written or closed.
  void FreezeThoseOfNow();
  size_t connections() const { return connections_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Piece {
    Clock::time_point due;
    std::string bytes;
  };
  struct Way {
    std::deque<Piece> held;
    size_t held_bytes = 0;
    double credit_bytes = 0;
    bool ended = false;  // its reader has seen the end
  };
  struct Pair {
    base::UniqueFd ends[2];
    Way ways[2];  // from ends[i] to the other
    bool frozen = false;
  };

  void Serve();
  void Accept();
  // False: the pair is over.
  bool Forward(Pair& pair, double elapsed_seconds);
  bool Read(Pair& pair, int from);
  bool Write(Pair& pair, int from, double elapsed_seconds);

  const std::string target_;
  base::UniqueFd listener_;
  std::string address_;
  std::mutex mutex_;
  Shape shape_;            // guarded by mutex_
  bool freeze_ = false;    // guarded by mutex_
  std::list<Pair> pairs_;  // of the thread
  std::atomic<size_t> connections_ = 0;
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

}  // namespace manta::cluster

#endif  // MANTA_TESTS_CLUSTER_SLOW_PROXY_H_
