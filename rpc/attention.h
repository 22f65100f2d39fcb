// Attention is what a process says about itself to those who write into its rings: is somebody looking, or which bell
// is to be rung? PeerAttention is the same seen from a peer.
//
// Problem:    a call must cost no system call while its receiver looks anyway, must wake it when it sleeps, and must
// never
//             be left lying. One word per process, not one per ring: publishing costs the same for 1 ring and 4,000.
//
//   kAttended    somebody polls the rings                          nobody rings
//   kAsleep      a thread sleeps on the sleep bell                 ring it
//   kUnattended  user code runs, nobody waits                      ring the I/O bell: the I/O thread lets some 50 us
//                                                                  pass, then drains
//   kBusy        an executor runs user code and looks when done,   ring the I/O bell for urgent frames alone
//                the process has no call of its own outstanding
//
// Protocol:   producer: write frames; fence; mark them in the page (Mark); read the word; ring if it says so (Notify).
//             consumer: publish the word; fence; look once more at marks and rings. So one of the two sees the other.
//             The marks tell which of many rings to look at: a producer sets its mark if it is clear, the consumer
//             clears the mark of a ring that it stops looking at, fences, and looks at that ring once more.
// Invariant:  a frame in a ring has a consumer that is attended, or busy and looks when done, or a bell that was rung
//             after the frame was written. (tests/models/doorbell.pml)
// Bells:      the I/O bell is an eventfd. The sleep bell is a pipe, because it can be rung in two ways: who sleeps on a
//             pipe that is written to wakes on the core of the writer, which is good if the writer is about to sleep;
//             by vmsplice, or from an eventfd or a futex, it wakes where there is an idle core, which is good if the
//             writer goes on or polls, and else costs what it takes to wake a core. (Round trip after 3 ms of pause,
//             both asleep, medians of 12 runs: pipe 13-16 us, eventfd 13-73, futex 13-85, blocking unix socket 12-21.)
//             Its one descriptor is open for both directions, so that a dead reader costs no SIGPIPE.
// Epochs:     what was rung is remembered as the *epoch* in which it was: the consumer begins a new epoch each time
//             before it looks once more, and a bell rung in the current epoch is not rung again. The epoch is noted
//             after the bell is rung, so a peer that is killed or stopped between the two costs one bell more, and
//             silences nobody.
// Trust:      peers map the page read-write, because marks and epochs are theirs to write. A hostile peer can make us
//             look for nothing, and silence itself and others until the next Mend.
// Threads:    thread-safe, except that the states of one Attention are set by one thread at a time.
// See:        rpc/shm_port.h (who calls this in which order)
#ifndef MANTA_RPC_ATTENTION_H_
#define MANTA_RPC_ATTENTION_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/memfd.h"
#include "base/status.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace manta::rpc {

enum class Attending : uint8_t { kUnattended = 0, kAttended = 1, kAsleep = 2, kBusy = 3 };

// One memfd of one page per process.
struct AttentionPage {
  static constexpr size_t kMarkWords = 256;
  static constexpr uint32_t kMarksMax = kMarkWords * 64;

  // By the owner: the state in the lowest 8 bits, the epoch of the sleep bell above; the epoch of the I/O bell. Epochs
  // count from 1.
  alignas(64) std::atomic<uint64_t> sleep_word;
  std::atomic<uint64_t> io_epoch;
  // By the peers: the epochs in which the bells were last rung.
  alignas(64) std::atomic<uint64_t> sleep_rung;
  std::atomic<uint64_t> io_rung;
  // Set by peers, cleared by the owner: look at ring i.
  alignas(64) std::array<std::atomic<uint64_t>, kMarkWords> marks;
};
inline constexpr size_t kAttentionBytes = 4096;
static_assert(sizeof(AttentionPage) <= kAttentionBytes && std::atomic<uint64_t>::is_always_lock_free);

// What a peer needs to notify us: descriptors of the page and the two bells.
struct AttentionFds {
  base::UniqueFd page;
  base::UniqueFd sleep_bell;
  base::UniqueFd io_bell;
};

class Attention {
 public:
  static absl::StatusOr<std::unique_ptr<Attention>> Create();

  // Duplicates for a peer.
  absl::StatusOr<AttentionFds> Share() const;

  // Publishes. After kAttended the caller polls; after kUnattended or kBusy it MUST look at all its rings once more
  // (a frame that came before has rung nobody).
  void Set(Attending state);
  Attending state() const { return static_cast<Attending>(sleep_word_.load(std::memory_order_relaxed) & 0xFF); }

  // Publishes kAsleep. Then the caller MUST look once more, and may Sleep() only if it found nothing.
  void PrepareSleep();
  // Sleeps until the sleep bell is rung or `timeout` (negative: for ever) has passed; may wake for nothing. The state
  // stays kAsleep. REQUIRES: PrepareSleep.
  void Sleep(Duration timeout);
  // Rings our own sleep bell if somebody sleeps on it. The caller has made the sleeper's condition true before.
  void WakeSleeper();

  // Takes the I/O bell back after it rang: whoever writes from now on rings it again. Then the caller MUST look at all
  // its rings.
  void TakeIoBell();
  // Peers can overwrite the page. Publishes again what they did overwrite, and takes back bells that are noted as rung.
  // True: somebody may have been silenced, and the caller MUST look at all its rings, and wake the sleeper if there is
  // something. By the thread that takes the I/O bell.
  bool Mend();

  // Readable when the I/O bell was rung, for an event loop to watch.
  int io_bell_fd() const { return io_bell_.get(); }

  // Marks, by number (< AttentionPage::kMarksMax).
  uint64_t mark_word(size_t word) const { return page()->marks[word].load(std::memory_order_acquire); }
  void SetMark(uint32_t mark);
  // Clears it and fences; then the caller MUST look at that ring once more.
  void ClearMark(uint32_t mark);

 private:
  Attention() = default;
  AttentionPage* page() const { return reinterpret_cast<AttentionPage*>(mapping_.mutable_data()); }

  base::Mapping mapping_;
  base::UniqueFd page_fd_;
  base::UniqueFd sleep_bell_;
  base::UniqueFd io_bell_;
  // Our own copies of what we published: what stands in the page could be overwritten.
  std::atomic<uint64_t> sleep_word_ = 0;
  uint64_t io_epoch_ = 0;
};

class PeerAttention {
 public:
  // kInvalidArgument unless `fds` are a sealed page and two bells that neither block nor kill who rings them.
  static absl::StatusOr<PeerAttention> Open(AttentionFds fds);

  enum class Urgency {
    kCall,    // may wait until a busy consumer is done
    kUrgent,  // everything else, and rings that are full
  };
  // Where a sleeper had better wake: on the caller's core, which is about to be free, or on another.
  enum class Core { kThis, kOther };
  enum class Rang { kNothing, kIoBell, kSleeper };
  // Tells the peer that ring `mark` of its rings has frames (or room). kSleeper: the peer slept, and is being woken.
  // REQUIRES: frames were written before, and a seq_cst fence stands between.
  Rang Notify(uint32_t mark, Urgency urgency, Core core = Core::kThis);
  // Whether Notify would ring a sleeper's bell, as far as one can know beforehand.
  bool WouldRingSleeper() const;

 private:
  PeerAttention() = default;
  AttentionPage* page() const { return reinterpret_cast<AttentionPage*>(mapping_.mutable_data()); }

  base::Mapping mapping_;
  base::UniqueFd sleep_bell_;
  base::UniqueFd io_bell_;
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_ATTENTION_H_
