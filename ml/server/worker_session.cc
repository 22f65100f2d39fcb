#include "manta/ml/worker_session.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "manta/manta.h"

namespace manta::ml {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLeaveMax{10};

}  // namespace

// Asks the scheduler, again and again, for shards that lost pushes. Ends when the session does, or the scheduler.
class WorkerSession::RecoveryThread {
 public:
  RecoveryThread(ActorHandle<ParameterScheduler> scheduler, std::function<void(uint64_t)> offer)
      : scheduler_(std::move(scheduler)), offer_(std::move(offer)), thread_([this] { Run(); }) {}
  ~RecoveryThread() {
    ends_ = true;
    thread_.join();
  }

 private:
  // An answer that does not come is looked after this often, so that the destructor need not wait for it.
  static constexpr std::chrono::milliseconds kLook{50};

  void Run() {
    std::vector<std::pair<uint64_t, uint64_t>> seen;
    try {
      while (!ends_) {
        const auto asked = scheduler_.Call<&ParameterScheduler::AwaitRecovering>().Remote(seen);
        while (!ends_ && Wait(std::vector{asked}, 1, kLook).ready.empty()) {
        }
        if (ends_) return;
        const auto recovering = Get(asked);
        for (const auto& shard : recovering) {
          if (std::find(seen.begin(), seen.end(), shard) == seen.end()) offer_(shard.first);
        }
        seen = recovering;
      }
    } catch (const Error&) {
      // The scheduler or the runtime is gone, or a shard refuses to go on: the worker's own calls say so.
    }
  }

  const ActorHandle<ParameterScheduler> scheduler_;
  const std::function<void(uint64_t)> offer_;
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

WorkerSession::WorkerSession(ActorHandle<ParameterScheduler> scheduler, Consistency consistency, uint32_t worker,
                             std::chrono::milliseconds patience)
    : scheduler_(std::move(scheduler)),
      consistency_(consistency),
      patience_(patience),
      place_(Get(scheduler_.Call<&ParameterScheduler::Join>().Remote(worker, ParameterScheduler::NewNumber()))) {}

WorkerSession::~WorkerSession() {
  try {
    Leave();
  } catch (const Error&) {
    // Nobody is left to be told.
  }
}

void WorkerSession::FinishIteration() {
  if (last_finish_) Get(std::exchange(last_finish_, {}));
  const uint64_t count = ++place_.finished;
  const auto finish = [&] {
    return scheduler_.Call<&ParameterScheduler::Finish>().Remote(place_.worker, place_.stream, count);
  };
  if (consistency_.kind == Consistency::kAsp) {
    last_finish_ = finish();
    return;
  }
  for (const auto deadline = Clock::now() + patience_;;) {
    const WorkerTurn turn = Get(finish());
    place_.closed = turn.closed;
    if (turn.may_enter) return;
    if (Clock::now() < deadline) continue;
    throw TimeoutError(ErrorCode::kTimeout, "worker " + std::to_string(place_.worker) + " waits to enter iteration " +
                                                std::to_string(count) + " since " + std::to_string(patience_.count()) +
                                                " ms (Options::patience): worker " + std::to_string(turn.slowest) +
                                                " has not finished iteration " + std::to_string(turn.closed) +
                                                ". If it is dead, let it Leave");
  }
}

void WorkerSession::AwaitAll(uint64_t count) {
  for (const auto deadline = Clock::now() + patience_;;) {
    if (Get(scheduler_.Call<&ParameterScheduler::AwaitAll>().Remote(count))) return;
    if (Clock::now() < deadline) continue;
    throw TimeoutError(ErrorCode::kTimeout, "not all workers finished " + std::to_string(count) + " iterations in " +
                                                std::to_string(patience_.count()) + " ms (Options::patience)");
  }
}

void WorkerSession::Leave() {
  if (std::exchange(has_left_, true)) return;
  if (before_leaving_) before_leaving_();
  if (last_finish_) Get(std::exchange(last_finish_, {}), kLeaveMax);
  Get(scheduler_.Call<&ParameterScheduler::Leave>().Remote(place_.worker, place_.stream), kLeaveMax);
}

void WorkerSession::AnswerRecoveries(std::function<void(uint64_t)> offer, std::function<void()> before_leaving) {
  before_leaving_ = std::move(before_leaving);
  recovery_thread_ = std::make_unique<RecoveryThread>(scheduler_, std::move(offer));
}

}  // namespace manta::ml
