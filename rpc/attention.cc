#include "rpc/attention.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace manta::rpc {
namespace {

constexpr int kStateBits = 8;
constexpr uint64_t kStateMask = (1 << kStateBits) - 1;

uint64_t EpochOf(uint64_t sleep_word) { return sleep_word >> kStateBits; }
Attending StateOf(uint64_t sleep_word) { return static_cast<Attending>(sleep_word & kStateMask); }

std::string PathOf(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Both kinds take 8 bytes. A bell that was rung so often that it is full is rung.
// False: there is no bell (any more).
bool RingBell(int bell) {
  const uint64_t one = 1;
  return write(bell, &one, sizeof(one)) > 0 || errno == EAGAIN;
}

// The same for a sleep bell, without the hint that the caller is about to sleep: the bytes are lent to the pipe.
bool RingFarBell(int bell) {
  static const uint64_t one = 1;
  const iovec bytes{.iov_base = const_cast<uint64_t*>(&one), .iov_len = sizeof(one)};
  return vmsplice(bell, &bytes, 1, SPLICE_F_NONBLOCK) >= 0 || RingBell(bell);
}

// An eventfd gives its whole count in 8 bytes; of a pipe that was rung oftener the rest wakes once for nothing.
void EmptyBell(int bell) {
  uint64_t counts[8];
  [[maybe_unused]] const ssize_t size = read(bell, counts, sizeof(counts));
}

absl::StatusOr<base::UniqueFd> CreateIoBell() {
  base::UniqueFd bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell) return base::ErrnoStatus(errno, "eventfd");
  return bell;
}

absl::StatusOr<base::UniqueFd> CreateSleepBell() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  const base::UniqueFd reader(ends[0]);
  const base::UniqueFd writer(ends[1]);
  // A page instead of sixteen: the kernel counts the pages of a user's pipes.
  fcntl(reader.get(), F_SETPIPE_SZ, 4096);
  base::UniqueFd bell(open(PathOf(reader.get()).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!bell) return base::ErrnoStatus(errno, "open a pipe for both directions");
  return bell;
}

absl::Status CheckIoBell(int fd) {
  char target[64];
  const ssize_t size = readlink(PathOf(fd).c_str(), target, sizeof(target));
  if (size < 0 || std::string_view(target, static_cast<size_t>(size)) != "anon_inode:[eventfd]") {
    return absl::InvalidArgumentError("an I/O bell is not an eventfd");
  }
  if ((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0) return absl::InvalidArgumentError("an I/O bell would block");
  return absl::OkStatus();
}

absl::Status CheckSleepBell(int fd) {
  struct stat file;
  if (fd < 0 || fstat(fd, &file) != 0 || !S_ISFIFO(file.st_mode)) {
    return absl::InvalidArgumentError("a sleep bell is not a pipe");
  }
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & O_ACCMODE) != O_RDWR || (flags & O_NONBLOCK) == 0) {
    return absl::InvalidArgumentError("a sleep bell would block or kill who rings it");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Attention>> Attention::Create() {
  std::unique_ptr<Attention> attention(new Attention);
  MANTA_ASSIGN_OR_RETURN(attention->page_fd_, base::CreateSealedMemfd("manta-attention", kAttentionBytes));
  MANTA_ASSIGN_OR_RETURN(attention->mapping_, base::Mapping::Map(attention->page_fd_.get(), kAttentionBytes,
                                                                 base::Mapping::Access::kReadWrite));
  MANTA_ASSIGN_OR_RETURN(attention->sleep_bell_, CreateSleepBell());
  MANTA_ASSIGN_OR_RETURN(attention->io_bell_, CreateIoBell());
  attention->sleep_word_.store(uint64_t{1} << kStateBits | uint64_t{static_cast<uint8_t>(Attending::kUnattended)});
  attention->page()->sleep_word.store(attention->sleep_word_);
  attention->io_epoch_ = 1;
  attention->page()->io_epoch.store(1);
  return attention;
}

absl::StatusOr<AttentionFds> Attention::Share() const {
  AttentionFds fds;
  MANTA_ASSIGN_OR_RETURN(fds.page, base::Dup(page_fd_.get()));
  MANTA_ASSIGN_OR_RETURN(fds.sleep_bell, base::Dup(sleep_bell_.get()));
  MANTA_ASSIGN_OR_RETURN(fds.io_bell, base::Dup(io_bell_.get()));
  return fds;
}

void Attention::Set(Attending state) {
  const uint64_t epoch = EpochOf(sleep_word_.load(std::memory_order_relaxed));
  const uint64_t word = epoch << kStateBits | static_cast<uint8_t>(state);
  sleep_word_.store(word, std::memory_order_relaxed);
  page()->sleep_word.store(word, std::memory_order_release);
  // Whoever polls looks again and again, and needs no fence.
  if (state != Attending::kAttended) std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Attention::PrepareSleep() {
  const uint64_t epoch = EpochOf(sleep_word_.load(std::memory_order_relaxed)) + 1;
  const uint64_t word = epoch << kStateBits | static_cast<uint8_t>(Attending::kAsleep);
  sleep_word_.store(word, std::memory_order_relaxed);
  page()->sleep_word.store(word, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Attention::Sleep(Duration timeout) {
  pollfd bell{.fd = sleep_bell_.get(), .events = POLLIN, .revents = 0};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec limit{.tv_sec = static_cast<time_t>(seconds.count()),
                       .tv_nsec = static_cast<long>((timeout - seconds).count())};
  if (ppoll(&bell, 1, timeout.count() < 0 ? nullptr : &limit, nullptr) > 0) EmptyBell(sleep_bell_.get());
}

void Attention::WakeSleeper() {
  // With the fence in PrepareSleep: we see the sleeper, or it sees what was made true.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (StateOf(sleep_word_.load(std::memory_order_relaxed)) == Attending::kAsleep) RingBell(sleep_bell_.get());
}

void Attention::TakeIoBell() {
  // In this order: a bell rung between the two belongs to the old epoch, and is at worst one too many. The other way
  // round it would be swallowed, and noted as rung.
  EmptyBell(io_bell_.get());
  page()->io_epoch.store(++io_epoch_, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool Attention::Mend() {
  // Our own copy is stored before the page's: one that is being published looks overwritten, and is put there twice.
  const uint64_t word = sleep_word_.load(std::memory_order_acquire);
  uint64_t published = page()->sleep_word.load(std::memory_order_relaxed);
  bool overwritten = published != word && page()->sleep_word.compare_exchange_strong(published, word);
  if (StateOf(word) == Attending::kAsleep && page()->sleep_rung.load(std::memory_order_relaxed) == EpochOf(word)) {
    RingBell(sleep_bell_.get());
  }
  overwritten |= page()->io_epoch.load(std::memory_order_relaxed) != io_epoch_ ||
                 page()->io_rung.load(std::memory_order_relaxed) == io_epoch_;
  if (overwritten) TakeIoBell();
  return overwritten;
}

void Attention::SetMark(uint32_t mark) {
  page()->marks[mark / 64].fetch_or(uint64_t{1} << mark % 64, std::memory_order_acq_rel);
}

void Attention::ClearMark(uint32_t mark) {
  page()->marks[mark / 64].fetch_and(~(uint64_t{1} << mark % 64), std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

absl::StatusOr<PeerAttention> PeerAttention::Open(AttentionFds fds) {
  if (const auto size = base::CheckSealed(fds.page.get(), kAttentionBytes); !size.ok()) {
    return base::Annotate(size.status(), "attention page");
  }
  MANTA_RETURN_IF_ERROR(CheckSleepBell(fds.sleep_bell.get()));
  MANTA_RETURN_IF_ERROR(CheckIoBell(fds.io_bell.get()));
  PeerAttention peer;
  MANTA_ASSIGN_OR_RETURN(peer.mapping_,
                         base::Mapping::Map(fds.page.get(), kAttentionBytes, base::Mapping::Access::kReadWrite));
  peer.sleep_bell_ = std::move(fds.sleep_bell);
  peer.io_bell_ = std::move(fds.io_bell);
  return peer;
}

bool PeerAttention::WouldRingSleeper() const {
  const uint64_t word = page()->sleep_word.load(std::memory_order_relaxed);
  return StateOf(word) == Attending::kAsleep && page()->sleep_rung.load(std::memory_order_relaxed) != EpochOf(word);
}

PeerAttention::Rang PeerAttention::Notify(uint32_t mark, Urgency urgency, Core core) {
  std::atomic<uint64_t>& marks = page()->marks[mark / 64];
  const uint64_t bit = uint64_t{1} << mark % 64;
  if ((marks.load(std::memory_order_relaxed) & bit) == 0) {
    marks.fetch_or(bit, std::memory_order_acq_rel);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  const uint64_t word = page()->sleep_word.load(std::memory_order_acquire);
  switch (StateOf(word)) {
    case Attending::kAttended:
      return Rang::kNothing;
    case Attending::kAsleep:
      if (page()->sleep_rung.load(std::memory_order_relaxed) != EpochOf(word)) {
        const bool rung = core == Core::kThis ? RingBell(sleep_bell_.get()) : RingFarBell(sleep_bell_.get());
        if (rung) page()->sleep_rung.store(EpochOf(word), std::memory_order_relaxed);
      }
      return Rang::kSleeper;
    case Attending::kBusy:
      if (urgency == Urgency::kCall) return Rang::kNothing;
      break;
    case Attending::kUnattended:
      break;
  }
  const uint64_t epoch = page()->io_epoch.load(std::memory_order_relaxed);
  if (page()->io_rung.load(std::memory_order_relaxed) == epoch) return Rang::kNothing;
  if (RingBell(io_bell_.get())) page()->io_rung.store(epoch, std::memory_order_relaxed);
  return Rang::kIoBell;
}

}  // namespace manta::rpc
