#include "ml/collective/generation.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/process.h"
#include "manta/error.h"
#include "manta/ml/error.h"

namespace manta::ml::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a wait lasts before it looks at the others.
constexpr milliseconds kSlice(100);
// Between two questions whether the group is recalled.
constexpr milliseconds kAskPause(200);
// How long to wait for what was posted to arrive.
constexpr milliseconds kFlushTime(2000);
// Of so many messages the arrival is waited for; those before them have arrived, too: calls of one process keep order.
constexpr size_t kPostedMax = 4 * ProcessGroup::kMembersMax;

}  // namespace

Generation::Generation(View view) : view_(std::move(view)), pidfds_(view_.seats.size()) {
  for (size_t i = 0; i < size(); ++i) {
    const Seat& seat = view_.seats[i];
    if (seat.node != view_.seats[rank()].node || seat.pid == getpid()) continue;
    absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(static_cast<pid_t>(seat.pid));
    if (pidfd.ok()) {
      pidfds_[i] = *std::move(pidfd);
    } else {
      Fail(i, "died before this one had met it");
    }
  }
}

std::shared_ptr<Generation> Generation::Begin(View view) {
  std::shared_ptr<Generation> generation(new Generation(std::move(view)));
  Get(generation->companion(generation->rank()).Call<&RankActor::Begin>().Remote(generation->view_.generation));
  std::weak_ptr<Generation> weak = generation;
  for (size_t i = 0; i < generation->size(); ++i) {
    generation->companion(i).OnDeath([weak, i](const ActorDiedError& error) {
      if (auto alive = weak.lock()) alive->OnCompanionDeath(i, error.what());
    });
  }
  return generation;
}

void Generation::OnCompanionDeath(size_t member, const std::string& how) {
  Fail(member, "died: " + how);
  if (member == rank()) return;
  try {  // who waits in Take need not wait for its slice to end
    companion(rank()).Call<&RankActor::MarkGone>().Remote(view_.generation, uint32_t(member), true,
                                                          std::string("died"));
  } catch (const ShutdownError&) {  // then nobody waits
  }
}

void Generation::Fail(size_t member, const std::string& how) {
  End(std::make_exception_ptr(MemberDiedError(member, "(" + view_.seats[member].process + ") " + how)));
}

void Generation::End(std::exception_ptr verdict) {
  base::MutexLock lock(&mutex_);
  if (verdict_ == nullptr) verdict_ = std::move(verdict);
  has_ended_.store(true, std::memory_order_release);
}

void Generation::ThrowIfEnded() const {
  if (!has_ended()) return;
  std::exception_ptr verdict;
  {
    base::MutexLock lock(&mutex_);
    verdict = verdict_;
  }
  std::rethrow_exception(verdict);
}

void Generation::LookAtOthers() {
  for (size_t i = 0; i < size(); ++i) {
    if (!pidfds_[i]) continue;
    pollfd sign{pidfds_[i].get(), POLLIN, 0};
    if (poll(&sign, 1, 0) == 1) Fail(i, "died: its process has ended");
  }
  ThrowIfEnded();
}

void Generation::LookForRecall() {
  bool is_recalled = false;
  {
    base::MutexLock lock(&mutex_);
    if (asked_) {
      if (Wait(std::vector{asked_}, 1, milliseconds(0)).ready.empty()) return;
      const Result<bool> answer = TryGet(std::exchange(asked_, {}));
      is_recalled = answer.ok() && *answer;  // a companion's death has a sign of its own
    } else if (const TimePoint now = steady_clock::now(); now >= ask_next_) {
      ask_next_ = now + kAskPause;
      asked_ = companion(rank()).Call<&RankActor::IsRecalled>().Remote(view_.generation);
    }
  }
  if (is_recalled) Fail(rank(), "was called back: the group is formed anew, call Reform");
  ThrowIfEnded();
}

void Generation::Check(TimePoint deadline, size_t member, const std::string& what) {
  LookAtOthers();
  LookForRecall();
  if (steady_clock::now() < deadline) return;
  throw TimeoutError(ErrorCode::kTimeout, what + ": member " + std::to_string(member) + " (" +
                                              view_.seats[member].process +
                                              ") did not come within the group's timeout");
}

void Generation::Post(size_t to, const MessageKey& key, const Message& message) {
  ObjectRef<bool> posted = companion(to).Call<&RankActor::Post>().Remote(view_.generation, key, message);
  base::MutexLock lock(&mutex_);
  posted_.push_back(std::move(posted));
  if (posted_.size() > kPostedMax) posted_.pop_front();
}

Message Generation::Take(const MessageKey& key, const Label& label, TimePoint deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  const uint64_t wait_ms = static_cast<uint64_t>(std::max<int64_t>(left.count(), 0));
  ObjectRef<Taken> ref = companion(rank()).Call<&RankActor::Take>().Remote(view_.generation, key, label, wait_ms);
  for (;;) {
    Result<Taken> result = TryGet(ref, kSlice);
    if (result.ok()) return Accept(*std::move(result), key, label);
    if (result.error().code() != ErrorCode::kTimeout) {
      Fail(rank(), std::string("has lost its companion: ") + result.error().what());
    }
    ThrowIfEnded();
    Check(deadline + kSlice, key.from, label.ToString());
  }
}

Message Generation::Accept(Taken taken, const MessageKey& key, const Label& label) {
  switch (taken.outcome) {
    case Taken::Outcome::kTaken:
      if (taken.message.label == label || (key.operation & MessageKey::kPointToPoint) != 0) {
        return std::move(taken.message);
      }
      taken.gone = key.from;
      [[fallthrough]];
    case Taken::Outcome::kMismatch:
      throw InvalidArgumentError(DescribeMismatch(taken.gone, taken.message.label, rank(), label));
    case Taken::Outcome::kGone:
      Fail(taken.gone, taken.reason);
      break;
    case Taken::Outcome::kStale:
      Fail(rank(), "belongs to a newer generation");
      break;
    case Taken::Outcome::kTimeout:
      Check(TimePoint::min(), key.from, label.ToString());
  }
  ThrowIfEnded();
  throw InternalError(ErrorCode::kInternal, "a Take of a companion's ended without an outcome");
}

void Generation::Flush() {
  std::vector<ObjectRef<bool>> posted;
  {
    base::MutexLock lock(&mutex_);
    posted.assign(posted_.begin(), posted_.end());
    posted_.clear();
  }
  if (!posted.empty()) Wait(posted, posted.size(), kFlushTime);
}

void Generation::TellOthers(const std::string& reason) {
  for (size_t i = 0; i < size(); ++i) {
    if (i == rank()) continue;
    companion(i).Call<&RankActor::MarkGone>().Remote(view_.generation, uint32_t(rank()), false, reason);
  }
}

}  // namespace manta::ml::internal
