#include "ml/collective/window.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <thread>

#include "manta/ml/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace manta::ml::internal {
namespace {

constexpr size_t kLineBytes = 128;  // two cache lines: the prefetcher fetches pairs
constexpr size_t kPageBytes = 4096;
constexpr size_t kSlotBytesMax = 256 << 10;
constexpr size_t kWindowBytesMax = 16 << 20;  // so that a window stays in a last-level cache

// Waking a thread on another core takes some 50 us: two that sleep at each wait stay at that for ever unless they look
// for longer than it takes. But where there are more threads than cores, who looks keeps the core from whoever is
// waited for.
constexpr std::chrono::microseconds kPollingMin(10);
constexpr std::chrono::microseconds kPollingMax(200);
constexpr std::chrono::microseconds kPollingOfCrowd(2);  // of more members than cores

size_t SlotBytes(size_t members) {
  return std::min(kSlotBytesMax, kWindowBytesMax / (members * Window::kSlots) / kPageBytes * kPageBytes);
}

size_t LabelsBegin(size_t members) { return members * kLineBytes; }

size_t SlotsBegin(size_t members) {
  const size_t end = LabelsBegin(members) + members * Window::kSlots * sizeof(Label);
  return (end + kPageBytes - 1) / kPageBytes * kPageBytes;
}

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Counters wrap around.
bool HasReached(uint32_t value, uint32_t target) { return static_cast<int32_t>(value - target) >= 0; }

}  // namespace

// What one member publishes: how many pieces it has entered, reduced, left.
struct Window::Line {
  std::atomic<uint32_t> counters[3];
  std::atomic<uint32_t> sleepers;  // on any of them
  std::atomic<uint32_t> has_abandoned;
  std::atomic<int32_t> core;  // where it last published, plus one
};

SharedMemory Window::Make(size_t members) {
  return SharedMemory::Create(SlotsBegin(members) + members * kSlots * SlotBytes(members));
}

Window::Window(SharedMemory memory, std::vector<size_t> ranks, size_t index, std::function<void(size_t)> check_others)
    : memory_(std::move(memory)),
      ranks_(std::move(ranks)),
      index_(index),
      check_others_(std::move(check_others)),
      base_(memory_.bytes().data()),
      slot_bytes_(SlotBytes(members())),
      slots_(base_ + SlotsBegin(members())),
      polling_(members() <= std::thread::hardware_concurrency() ? kPollingMax : kPollingOfCrowd) {
  static_assert(sizeof(Line) <= kLineBytes && std::atomic<uint32_t>::is_always_lock_free);
}

Window::Line& Window::line(size_t member) const { return *reinterpret_cast<Line*>(base_ + member * kLineBytes); }

Label& Window::label(size_t member, uint32_t piece) const {
  return reinterpret_cast<Label*>(base_ + LabelsBegin(members()))[member * kSlots + piece % kSlots];
}

void Window::Open(uint32_t piece, const Label& label_of_piece) {
  // A counter says how many pieces are through: the one of kSlots ago has number piece - kSlots.
  for (size_t i = 1; i < members(); ++i) AwaitMember((index_ + i) % members(), Stage::kLeft, piece - kSlots + 1);
  label(index_, piece) = label_of_piece;
}

void Window::Publish(Stage stage, uint32_t piece) {
  Line& mine = line(index_);
  std::atomic<uint32_t>& counter = mine.counters[static_cast<size_t>(stage)];
  mine.core.store(sched_getcpu() + 1, std::memory_order_relaxed);
  counter.store(piece + 1, std::memory_order_seq_cst);
  if (mine.sleepers.load(std::memory_order_seq_cst) != 0) {
    syscall(SYS_futex, &counter, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

void Window::Await(Stage stage, uint32_t piece) {
  for (size_t i = 1; i < members(); ++i) AwaitMember((index_ + i) % members(), stage, piece + 1);
  if (stage == Stage::kEntered) CheckLabels(piece);
}

void Window::Abandon() { line(index_).has_abandoned.store(1, std::memory_order_release); }

void Window::AwaitMember(size_t member, Stage stage, uint32_t target) {
  constexpr int kLooks = 32;  // between two looks at the clock
  const std::atomic<uint32_t>& counter = line(member).counters[static_cast<size_t>(stage)];
  if (HasReached(counter.load(std::memory_order_acquire), target)) return;
  LeaveSharedCore(member);
  const auto start = std::chrono::steady_clock::now();
  const auto until = start + polling_;
  do {
    for (int i = 0; i < kLooks; ++i) {
      if (HasReached(counter.load(std::memory_order_acquire), target)) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  Sleep(member, stage, target);
  if (polling_ < kPollingMin) return;
  const bool was_short = std::chrono::steady_clock::now() - start < kPollingMax;
  polling_ = was_short ? std::min<std::chrono::nanoseconds>(2 * polling_, kPollingMax)
                       : std::max<std::chrono::nanoseconds>(polling_ / 2, kPollingMin);
}

// A thread is woken where its waker runs: two members can end up on one core and stay there, the other one being
// another program's. Who waits goes elsewhere, and is free again to go where the system likes.
void Window::LeaveSharedCore(size_t member) {
  constexpr std::chrono::milliseconds kMovePause(2);
  const int core = sched_getcpu();
  if (polling_ < kPollingMin || core < 0 || line(member).core.load(std::memory_order_relaxed) != core + 1) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_move_ < kMovePause) return;
  last_move_ = now;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  for (size_t i = 0; i < members(); ++i) {
    const int taken = line(i).core.load(std::memory_order_relaxed) - 1;
    if (i != index_ && taken >= 0) CPU_CLR(taken, &others);
  }
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}

void Window::Sleep(size_t member, Stage stage, uint32_t target) {
  constexpr timespec kNapTime{0, std::chrono::nanoseconds(kNap).count()};
  Line& theirs = line(member);
  std::atomic<uint32_t>& counter = theirs.counters[static_cast<size_t>(stage)];
  for (;;) {
    theirs.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const uint32_t value = counter.load(std::memory_order_seq_cst);
    if (!HasReached(value, target)) syscall(SYS_futex, &counter, FUTEX_WAIT, value, &kNapTime, nullptr, 0);
    theirs.sleepers.fetch_sub(1, std::memory_order_seq_cst);
    if (HasReached(counter.load(std::memory_order_acquire), target)) return;
    const bool has_abandoned = theirs.has_abandoned.load(std::memory_order_acquire) != 0;
    // It may have published, and then ended.
    if (HasReached(counter.load(std::memory_order_acquire), target)) return;
    if (has_abandoned) throw MemberDiedError(ranks_[member], "left the generation, or gave up an operation");
    check_others_(ranks_[member]);
  }
}

void Window::CheckLabels(uint32_t piece) const {
  const Label& mine = label(index_, piece);
  for (size_t i = 0; i < members(); ++i) {
    const Label& theirs = label(i, piece);
    if (theirs == mine) continue;
    throw InvalidArgumentError(DescribeMismatch(ranks_[i], theirs, ranks_[index_], mine));
  }
}

}  // namespace manta::ml::internal
