// ShmPort is all of a process's ShmChannels and the one Attention that they share: it drains them, rings their peers'
// bells, and is where the process's waiting thread polls and sleeps.
//
// Problem:    a daemon has 4,000 rings, and must not look at each whenever one has a frame; a caller has one, and must
//             answer within a microsecond.
// Looking:    a few *hot* rings are looked at each time. The others are looked at when their mark is set
//             (rpc/attention.h). A ring becomes hot with its first frame and stays so until it was found empty
//             kIdlePassesMax times, so a busy ring costs its producer no write to the marks.
// Recipe:     the process's waiting thread (one at a time), `mutex` being its core lock:
//
//               lock;
//               while (true) {
//                 port.Drain(n);                      // handlers run; they send
//                 const auto rang = port.RingBells();  // always before the lock is given up
//                 if (done) break;
//                 unlock;
//                 port.Wait(deadline, rang, done);
//                 lock;
//               }
//               while (port.Leave(Attending::kBusy)) port.Drain(n);   // or kUnattended
//               port.RingBells();
//               unlock;
//
//             The I/O thread, when io_bell_fd() is readable: [pause 50 us]; port.TakeIoBell(); lock; Drain until it
//             returns less than asked for; RingBells; unlock. Any other thread that sends: lock; Send...; RingBells;
//             unlock. A thread that makes the waiting thread's `done` true: WakeWaiter(). Now and then the I/O thread
//             does lock; if (port.Mend()) Drain...; unlock: so no peer that overwrites our page silences others for
//             long.
// Threads:    externally synchronised by the owner's lock, except: Wait() and HasWork() by the one waiting thread,
// without
//             the lock; TakeIoBell() by the one I/O thread; WakeWaiter() and io_bell_fd() by any.
// Errors:     a peer that breaks the protocol: its channel's OnClosed(kInvalidArgument), from Drain.
// See:        rpc/shm_channel.h, rpc/attention.h, rpc/polling_page.h; tests/models/doorbell.pml
#ifndef MANTA_RPC_SHM_PORT_H_
#define MANTA_RPC_SHM_PORT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "base/time.h"
#include "rpc/attention.h"
#include "rpc/polling_page.h"
#include "rpc/shm_channel.h"

namespace manta::rpc {

class ShmPort {
 public:
  static constexpr size_t kHotMax = 32;
  static constexpr int kIdlePassesMax = 64;

  struct Options {
    bool copy_before_parse = false;  // daemons: true
    size_t message_bytes_max = kShmMessageBytesMax;
  };
  // The state is kUnattended: an I/O thread watches io_bell_fd() from now on.
  static absl::StatusOr<std::unique_ptr<ShmPort>> Create(const Options& options, PollingSlot polling);
  ~ShmPort();

  // ---- Making channels, over a socket that both trust (rpc/shm_channel.h). The port owns them. Two processes agree
  // beforehand who offers.

  // A: what to send to the peer. Every Offer is followed by one Connect or Withdraw with its mark.
  absl::StatusOr<ShmOffer> Offer();
  // B: takes what A sent; *answer goes back. Sending may begin at once. kInvalidArgument: the peer's descriptors are
  // not what they should be.
  absl::StatusOr<ShmChannel*> Accept(ShmOffer offer, Channel::Handler* handler, ShmOffer* answer);
  // A: takes the answer to the offer with `mark`. After an error the offer is withdrawn.
  absl::StatusOr<ShmChannel*> Connect(uint32_t mark, ShmOffer answer, Channel::Handler* handler);
  void Withdraw(uint32_t mark);

  // The peer has died: delivers what it left in its ring, then OnClosed(why). Bells that it had noted as rung but not
  // rung do no harm (rpc/attention.h).
  void PeerGone(ShmChannel* channel, const absl::Status& why);
  // Forgets the channel (closing it). Its memory goes as soon as nobody looks at it. May be called from a handler.
  void Remove(ShmChannel* channel);

  // ---- Under the lock.

  // Delivers up to `frames_max` frames of all rings, in turns, and writes what waited for room. The frames read:
  // `frames_max` if there may be more; then a thread that is not the waiting one MUST call it again.
  size_t Drain(size_t frames_max);
  // Tells the peers of all channels that were written to (or have room again). kSleeper: one of them slept, and the
  // caller is to pass it on to Wait.
  PeerAttention::Rang RingBells();
  // Whether RingBells would wake a sleeping peer; it may then take this thread's core before RingBells returns.
  bool WillRingSleeper() const;
  // A thread that does not wait is about to call RingBells and then Leave: until then peers need not ring for it.
  void Attend() { attention_->Set(Attending::kAttended); }
  // Drains one channel, whether or not anybody said that it has frames.
  void LookAt(ShmChannel* channel);
  void LookAtAll();
  // Puts right what a peer may have overwritten in the page (rpc/attention.h), and looks at every ring: one read each.
  // True: drain, as after the I/O bell. The I/O thread alone.
  [[nodiscard]] bool Mend();
  // The waiting thread goes off to do something else: publishes kBusy or kUnattended and looks once more. True: there
  // is work, drain it and call this again.
  [[nodiscard]] bool Leave(Attending state);

  // ---- The waiting thread, without the lock.

  enum class Woken { kWork, kDone, kDeadline };  // kWork: there is, or was
  // Waits until there is something to Drain, done() is true, or `deadline` has passed: polls while that pays
  // (rpc/polling_page.h), then sleeps. The state is kAttended afterwards. The thread is counted as awake in the polling
  // page but while it sleeps. `done` is called without the lock, and often.
  // `rang` kSleeper: sleeps at once, so that the woken peer runs on this core; unless sleepers were rung so often
  // lately that both had better poll: then it was woken on another. The woken thread, having answered, sleeps at once
  // likewise: who woke it may be waiting for this core.
  Woken Wait(Time deadline, PeerAttention::Rang rang, absl::FunctionRef<bool()> done);
  // Whether Drain would find something.
  bool HasWork() const;

  // ---- Any thread.

  void WakeWaiter() { attention_->WakeSleeper(); }
  int io_bell_fd() const { return attention_->io_bell_fd(); }
  void TakeIoBell() { attention_->TakeIoBell(); }

  // For status and tests.
  size_t channel_count() const { return channel_count_; }
  size_t hot_count() const { return hot_count_.load(std::memory_order_relaxed); }
  Attending state() const { return attention_->state(); }

 private:
  struct Place {  // of a mark
    std::unique_ptr<ShmChannel> channel;
    base::Mapping offered;  // rings of an offer that is not answered
  };

  ShmPort(const Options& options, std::unique_ptr<Attention> attention, PollingSlot polling);

  absl::StatusOr<uint32_t> TakeMark();
  void FreeMark(uint32_t mark);
  ShmChannel* Seat(std::unique_ptr<ShmChannel> channel);
  void FreeBuried();

  size_t DrainMarked(size_t frames_max);
  size_t DrainCold(ShmChannel* channel, size_t frames_max);
  size_t DrainHot(size_t frames_max);
  // False if there is no place.
  bool Heat(uint32_t mark);
  // True if it found a frame while it did so: drain again.
  bool CoolIdle();
  void Cool(uint32_t mark);

  // True when there is work; false when polling no longer pays.
  bool Poll(Time deadline, absl::FunctionRef<bool()> done);
  // False at the deadline.
  bool SleepUntilWork(Time deadline, absl::FunctionRef<bool()> done);
  void BeginLooking();
  void EndLooking();
  PeerAttention::Core NoteSleeperRung();
  void NoteWoken();

  // How often something happens, as a moving mean of the intervals between.
  struct Rhythm {
    Time last{};
    Duration mean = Duration::max();
    // Whether it happens often, now that it happened at `now` too. After a pause it takes some six times.
    bool Note(Time now);
  };

  // Immutable.
  const std::unique_ptr<Attention> attention_;
  const base::SystemClock clock_;

  // Under the lock.
  ShmShared shared_;
  std::vector<Place> places_;  // by mark
  std::set<uint32_t> free_marks_;
  size_t channel_count_ = 0;
  size_t turn_ = 0;  // which hot ring is first
  int draining_ = 0;
  std::vector<std::unique_ptr<ShmChannel>> buried_;
  Rhythm rung_;  // of sleepers

  // Written under the lock, read by the waiting thread.
  std::array<std::atomic<ShmChannel*>, kHotMax> hot_ = {};
  std::atomic<size_t> hot_count_ = 0;
  std::array<std::atomic<uint64_t>, AttentionPage::kMarkWords> hot_bits_ = {};
  std::atomic<size_t> mark_words_used_ = 0;
  std::atomic<bool> rings_often_ = false;

  PollingSlot polling_;  // thread-safe

  // The waiting thread's.
  std::atomic<bool> looking_ = false;  // it may hold a pointer out of hot_
  Rhythm woken_;
  bool woken_rarely_ = false;
};

// A channel between two ports, of one process (tests) or of two after a fork: the whole hand-over without a socket.
struct ShmPair {
  ShmChannel* a = nullptr;
  ShmChannel* b = nullptr;
};
absl::StatusOr<ShmPair> CreateShmPair(ShmPort* port_a, Channel::Handler* handler_a, ShmPort* port_b,
                                      Channel::Handler* handler_b);

}  // namespace manta::rpc

#endif  // MANTA_RPC_SHM_PORT_H_
