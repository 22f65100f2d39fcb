#include "ml/collective/rank_actor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/process.h"

namespace manta::ml::internal {

RankActor::RankActor(int64_t member_process) {
  if (member_process == getpid()) return;
  absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(static_cast<pid_t>(member_process));
  if (!pidfd.ok()) {
    throw Error(ErrorCode::kActorDied, "the member's process, " + std::to_string(member_process) +
                                           ", cannot be watched: " + std::string(pidfd.status().message()));
  }
  stop_ = base::UniqueFd(eventfd(0, EFD_CLOEXEC));
  watch_ = std::thread([this, fd = *std::move(pidfd)] { WatchMember(fd.get()); });
}

RankActor::~RankActor() {
  if (!watch_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof one);
  watch_.join();
}

void RankActor::WatchMember(int pidfd) const {
  pollfd signs[] = {{pidfd, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (poll(signs, 2, -1) < 0 || (signs[0].revents == 0 && signs[1].revents == 0)) {
  }
  if (signs[1].revents == 0) _exit(0);
}

void RankActor::Begin(uint64_t generation) {
  base::MutexLock lock(&mutex_);
  generation_ = generation;
  messages_.erase(messages_.begin(), messages_.lower_bound({generation, MessageKey{}}));
  gone_.erase(gone_.begin(), gone_.lower_bound(generation));
  changed_.NotifyAll();
}

bool RankActor::Post(uint64_t generation, const MessageKey& key, const Message& message) {
  base::MutexLock lock(&mutex_);
  if (generation < generation_) return false;
  messages_.insert_or_assign({generation, key}, message);
  changed_.NotifyAll();
  return true;
}

Taken RankActor::Take(uint64_t generation, const MessageKey& key, const Label& label, uint64_t timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  base::MutexLock lock(&mutex_);
  for (;;) {
    if (std::optional<Taken> taken = TryTake(generation, key, label)) return *std::move(taken);
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) {
      Taken taken;
      taken.outcome = Taken::Outcome::kTimeout;
      return taken;
    }
    changed_.WaitFor(&mutex_, left);
  }
}

std::optional<Taken> RankActor::TryTake(uint64_t generation, const MessageKey& key, const Label& label) {
  Taken taken;
  if (auto message = messages_.find({generation, key}); message != messages_.end()) {
    taken.message = std::move(message->second);
    messages_.erase(message);
    return taken;
  }
  if ((key.operation & MessageKey::kPointToPoint) == 0) {
    for (auto it = messages_.lower_bound({generation, {key.operation, 0, 0}});
         it != messages_.end() && it->first.first == generation && it->first.second.operation == key.operation; ++it) {
      if (it->second.label == label) continue;
      taken.outcome = Taken::Outcome::kMismatch;
      taken.gone = it->first.second.from;
      taken.message.label = it->second.label;
      return taken;
    }
  }
  if (generation < generation_) {
    taken.outcome = Taken::Outcome::kStale;
    return taken;
  }
  if (auto gone = gone_.find(generation); gone != gone_.end()) {
    for (const auto& [rank, how] : gone->second) {
      if (!how.is_dead && rank != key.from) continue;
      taken.outcome = Taken::Outcome::kGone;
      taken.gone = rank;
      taken.reason = how.reason;
      return taken;
    }
  }
  return std::nullopt;
}

void RankActor::MarkGone(uint64_t generation, uint32_t rank, bool is_dead, const std::string& reason) {
  base::MutexLock lock(&mutex_);
  if (generation < generation_) return;
  gone_[generation].try_emplace(rank, Gone{is_dead, reason});
  changed_.NotifyAll();
}

void RankActor::Recall(uint64_t generation) {
  base::MutexLock lock(&mutex_);
  recalled_ = std::max(recalled_, generation);
}

bool RankActor::IsRecalled(uint64_t generation) {
  base::MutexLock lock(&mutex_);
  return recalled_ >= generation;
}

}  // namespace manta::ml::internal
