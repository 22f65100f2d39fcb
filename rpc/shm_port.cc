#include "rpc/shm_port.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/check.h"

namespace manta::rpc {
namespace {

// One ring's turn, so that a flood in one does not hold up the others.
constexpr size_t kFramesPerTurn = 64;
// Between two looks at the clock, and at the polling page, while polling (about 1 and 8 us).
constexpr int kSpinsPerClock = 32;
constexpr int kSpinsPerPollingPage = 256;
// A thread that is woken, or rings a sleeper, at shorter intervals would do better to poll: above the time of a call
// and its answer between two that sleep, or they would never find out.
constexpr Duration kOften = std::chrono::microseconds(200);
// More frames than a ring can hold.
constexpr size_t kWholeRing = kRingBytes / 8;

void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

absl::StatusOr<base::Mapping> MapRings(int fd) {
  if (const auto size = base::CheckSealed(fd, kRingFileBytes); !size.ok()) {
    return base::Annotate(size.status(), "rings");
  }
  return base::Mapping::Map(fd, kRingFileBytes, base::Mapping::Access::kReadWrite);
}

absl::StatusOr<PeerAttention> OpenPeer(ShmOffer* offer) {
  if (offer->mark >= AttentionPage::kMarksMax) {
    return absl::InvalidArgumentError("mark " + std::to_string(offer->mark) + " is out of range");
  }
  return PeerAttention::Open(std::move(offer->attention));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShmPort>> ShmPort::Create(const Options& options, PollingSlot polling) {
  MANTA_ASSIGN_OR_RETURN(std::unique_ptr<Attention> attention, Attention::Create());
  return std::unique_ptr<ShmPort>(new ShmPort(options, std::move(attention), std::move(polling)));
}

ShmPort::ShmPort(const Options& options, std::unique_ptr<Attention> attention, PollingSlot polling)
    : attention_(std::move(attention)), polling_(std::move(polling)) {
  shared_.copy_before_parse = options.copy_before_parse;
  shared_.message_bytes_max = options.message_bytes_max;
}

ShmPort::~ShmPort() { MANTA_CHECK(draining_ == 0 && !looking_.load()) << "a port ends while it is used"; }

// ---------------------------------------------------------------- making channels

absl::StatusOr<ShmOffer> ShmPort::Offer() {
  ShmOffer offer;
  MANTA_ASSIGN_OR_RETURN(offer.ring, base::CreateSealedMemfd("manta-rings", kRingFileBytes));
  MANTA_ASSIGN_OR_RETURN(base::Mapping rings, MapRings(offer.ring.get()));
  MANTA_ASSIGN_OR_RETURN(offer.attention, attention_->Share());
  MANTA_ASSIGN_OR_RETURN(offer.mark, TakeMark());
  places_[offer.mark].offered = std::move(rings);
  return offer;
}

absl::StatusOr<ShmChannel*> ShmPort::Accept(ShmOffer offer, Channel::Handler* handler, ShmOffer* answer) {
  MANTA_ASSIGN_OR_RETURN(base::Mapping rings, MapRings(offer.ring.get()));
  MANTA_ASSIGN_OR_RETURN(PeerAttention peer, OpenPeer(&offer));
  MANTA_ASSIGN_OR_RETURN(answer->attention, attention_->Share());
  MANTA_ASSIGN_OR_RETURN(answer->mark, TakeMark());
  return Seat(std::make_unique<ShmChannel>(ShmChannel::Side::kAccepted, std::move(rings), std::move(peer), offer.mark,
                                           answer->mark, handler, &shared_));
}

absl::StatusOr<ShmChannel*> ShmPort::Connect(uint32_t mark, ShmOffer answer, Channel::Handler* handler) {
  MANTA_CHECK(mark < places_.size() && places_[mark].offered) << "mark " << mark << " was not offered";
  absl::StatusOr<PeerAttention> peer = OpenPeer(&answer);
  if (!peer.ok()) {
    Withdraw(mark);
    return std::move(peer).status();
  }
  base::Mapping rings = std::exchange(places_[mark].offered, base::Mapping());
  return Seat(std::make_unique<ShmChannel>(ShmChannel::Side::kOffered, std::move(rings), *std::move(peer), answer.mark,
                                           mark, handler, &shared_));
}

void ShmPort::Withdraw(uint32_t mark) {
  MANTA_CHECK(mark < places_.size() && places_[mark].offered) << "mark " << mark << " was not offered";
  places_[mark].offered = base::Mapping();
  FreeMark(mark);
}

ShmChannel* ShmPort::Seat(std::unique_ptr<ShmChannel> channel) {
  ShmChannel* const seated = channel.get();
  places_[seated->mark()].channel = std::move(channel);
  ++channel_count_;
  // What the peer wrote before now may have had its mark cleared.
  attention_->SetMark(seated->mark());
  return seated;
}

absl::StatusOr<uint32_t> ShmPort::TakeMark() {
  // The lowest: HasWork looks at all words up to the highest one ever used.
  if (!free_marks_.empty()) return free_marks_.extract(free_marks_.begin()).value();
  if (places_.size() == AttentionPage::kMarksMax) {
    return absl::ResourceExhaustedError("this process has " + std::to_string(AttentionPage::kMarksMax) +
                                        " shared-memory channels");
  }
  const auto mark = static_cast<uint32_t>(places_.size());
  places_.emplace_back();
  mark_words_used_.store(mark / 64 + 1, std::memory_order_release);
  return mark;
}

void ShmPort::FreeMark(uint32_t mark) {
  attention_->ClearMark(mark);
  free_marks_.insert(mark);
}

void ShmPort::PeerGone(ShmChannel* channel, const absl::Status& why) {
  LookAt(channel);
  channel->End(why);
}

void ShmPort::Remove(ShmChannel* channel) {
  channel->Close();
  const uint32_t mark = channel->mark();
  Cool(mark);
  buried_.push_back(std::move(places_[mark].channel));
  --channel_count_;
  FreeMark(mark);
  FreeBuried();
}

void ShmPort::FreeBuried() {
  // With the fence in Wait: we see that it looks, or it sees what is no longer hot.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (draining_ == 0 && !looking_.load(std::memory_order_acquire)) buried_.clear();
}

// ---------------------------------------------------------------- draining

size_t ShmPort::Drain(size_t frames_max) {
  if (!buried_.empty()) FreeBuried();
  ++draining_;
  size_t frames = 0;
  do {
    frames += DrainMarked(frames_max - frames);
    frames += DrainHot(frames_max - frames);
  } while (CoolIdle() && frames < frames_max);
  --draining_;
  return frames;
}

size_t ShmPort::DrainMarked(size_t frames_max) {
  size_t frames = 0;
  const size_t words = mark_words_used_.load(std::memory_order_relaxed);
  for (size_t word = 0; word < words; ++word) {
    uint64_t marked = attention_->mark_word(word) & ~hot_bits_[word].load(std::memory_order_relaxed);
    for (; marked != 0; marked &= marked - 1) {
      const auto mark = static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(marked)));
      ShmChannel* const channel = mark < places_.size() ? places_[mark].channel.get() : nullptr;
      if (channel == nullptr || channel->closed()) {
        attention_->ClearMark(mark);  // what lies in an offered ring is found when it is seated
      } else if (!Heat(mark)) {
        if (frames == frames_max) return frames;
        frames += DrainCold(channel, frames_max - frames);
      }
    }
  }
  return frames;
}

size_t ShmPort::DrainCold(ShmChannel* channel, size_t frames_max) {
  const uint32_t mark = channel->mark();
  attention_->ClearMark(mark);
  if (channel->waits_for_room()) channel->Flush();
  const size_t frames = channel->Drain(frames_max);
  // Removed in a handler: buried until the drain ends, and its mark is free.
  if (frames == frames_max && !channel->closed() && channel->HasWork()) attention_->SetMark(mark);
  return frames;
}

size_t ShmPort::DrainHot(size_t frames_max) {
  size_t frames = 0;
  for (bool first = true;; first = false) {
    const size_t before = frames;
    const size_t count = hot_count();
    ++turn_;
    for (size_t i = 0; i < count; ++i) {
      ShmChannel* const channel = hot_[(turn_ + i) % count].load(std::memory_order_relaxed);
      if (channel == nullptr) continue;
      if (channel->waits_for_room()) channel->FlushIfRoom();
      if (frames == frames_max) return frames;
      const size_t got = channel->Drain(std::min(kFramesPerTurn, frames_max - frames));
      frames += got;
      if (got != 0) {
        channel->idle_passes = 0;
      } else if (first) {
        ++channel->idle_passes;
      }
    }
    if (frames == before) return frames;
  }
}

bool ShmPort::Heat(uint32_t mark) {
  size_t place = 0;
  while (place < kHotMax && hot_[place].load(std::memory_order_relaxed) != nullptr) ++place;
  if (place == kHotMax) return false;
  ShmChannel* const channel = places_[mark].channel.get();
  channel->idle_passes = 0;
  hot_[place].store(channel, std::memory_order_release);
  if (place >= hot_count()) hot_count_.store(place + 1, std::memory_order_release);
  hot_bits_[mark / 64].fetch_or(uint64_t{1} << mark % 64, std::memory_order_release);
  // The waiting thread may have passed this place, and no longer sees the mark. What we drain next we look at after
  // this fence; what is written after that look finds the waiting thread told, or past a look that saw the place.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return true;
}

bool ShmPort::CoolIdle() {
  bool found = false;
  for (size_t i = 0; i < hot_count(); ++i) {
    ShmChannel* const channel = hot_[i].load(std::memory_order_relaxed);
    if (channel == nullptr) continue;
    if (!channel->closed() && channel->idle_passes <= kIdlePassesMax) continue;
    const uint32_t mark = channel->mark();
    Cool(mark);
    attention_->ClearMark(mark);
    // Looked at once more: a producer that still saw the mark did not set it. It is ours to drain: the waiting thread
    // may have looked just now, seen neither place nor mark, and gone to sleep.
    if (!channel->closed() && channel->HasWork()) {
      attention_->SetMark(mark);
      found = true;
    }
  }
  return found;
}

void ShmPort::Cool(uint32_t mark) {
  // Places do not move: the waiting thread, which may be looking now, must not miss the others.
  for (size_t i = 0; i < hot_count(); ++i) {
    const ShmChannel* channel = hot_[i].load(std::memory_order_relaxed);
    if (channel != nullptr && channel->mark() == mark) hot_[i].store(nullptr, std::memory_order_release);
  }
  size_t count = hot_count();
  while (count > 0 && hot_[count - 1].load(std::memory_order_relaxed) == nullptr) --count;
  hot_count_.store(count, std::memory_order_release);
  hot_bits_[mark / 64].fetch_and(~(uint64_t{1} << mark % 64), std::memory_order_release);
}

PeerAttention::Rang ShmPort::RingBells() {
  PeerAttention::Rang rang = PeerAttention::Rang::kNothing;
  if (shared_.to_notify.empty()) return rang;
  // One fence for all that was written: each costs as long as the last written lines take to come from the other core
  // (a fence per frame: 300 ns per message more).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (ShmChannel* channel : shared_.to_notify) {
    PeerAttention::Core core = PeerAttention::Core::kThis;
    if (channel->WillRingSleeper()) [[unlikely]]
      core = NoteSleeperRung();
    rang = std::max(rang, channel->Notify(core));
    if (channel->broken()) attention_->SetMark(channel->mark());  // the next Drain ends it
  }
  shared_.to_notify.clear();
  return rang;
}

PeerAttention::Core ShmPort::NoteSleeperRung() {
  // Who often rings sleepers would have done better to find them polling: wake this one elsewhere, and poll for its
  // answer.
  const bool rings_often = rung_.Note(clock_.Now()) && polling_.MayPoll();
  rings_often_.store(rings_often, std::memory_order_relaxed);
  return rings_often ? PeerAttention::Core::kOther : PeerAttention::Core::kThis;
}

void ShmPort::NoteWoken() { woken_rarely_ = !woken_.Note(clock_.Now()); }

bool ShmPort::Rhythm::Note(Time now) {
  mean = (3 * std::min(mean, 4 * kOften) + std::min(now - last, 4 * kOften)) / 4;
  last = now;
  return mean < kOften;
}

bool ShmPort::WillRingSleeper() const {
  for (const ShmChannel* channel : shared_.to_notify) {
    if (channel->WillRingSleeper()) return true;
  }
  return false;
}

void ShmPort::LookAt(ShmChannel* channel) {
  ++draining_;
  channel->Drain(kWholeRing);
  --draining_;
}

void ShmPort::LookAtAll() {
  ++draining_;
  for (size_t mark = 0; mark < places_.size(); ++mark) {
    ShmChannel* const channel = places_[mark].channel.get();
    if (channel != nullptr) channel->Drain(kWholeRing);
  }
  --draining_;
}

bool ShmPort::Mend() {
  bool found = attention_->Mend();
  for (const Place& place : places_) {
    const ShmChannel* channel = place.channel.get();
    if (channel == nullptr || channel->closed() || (!channel->HasWork() && channel->IsIntact())) continue;
    attention_->SetMark(channel->mark());
    found = true;
  }
  if (found) attention_->WakeSleeper();
  return found;
}

bool ShmPort::Leave(Attending state) {
  attention_->Set(state);
  return HasWork();
}

bool ShmPort::HasWork() const {
  const size_t count = hot_count_.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    const ShmChannel* channel = hot_[i].load(std::memory_order_acquire);
    if (channel != nullptr && channel->HasWork()) return true;
  }
  const size_t words = mark_words_used_.load(std::memory_order_acquire);
  for (size_t word = 0; word < words; ++word) {
    const uint64_t marks = attention_->mark_word(word);
    if ((marks & ~hot_bits_[word].load(std::memory_order_relaxed)) != 0) return true;
  }
  return false;
}

// ---------------------------------------------------------------- waiting

ShmPort::Woken ShmPort::Wait(Time deadline, PeerAttention::Rang rang, absl::FunctionRef<bool()> done) {
  attention_->Set(Attending::kAttended);
  BeginLooking();
  const bool gives_way = woken_rarely_ || rang == PeerAttention::Rang::kSleeper;
  const bool polls = !gives_way || rings_often_.load(std::memory_order_relaxed);
  bool late = false;
  if (!polls || !Poll(deadline, done)) {
    late = !SleepUntilWork(deadline, done);
    attention_->Set(Attending::kAttended);
  }
  EndLooking();
  // What was found may be drained already, by the I/O thread.
  return done() ? Woken::kDone : late ? Woken::kDeadline : Woken::kWork;
}

bool ShmPort::SleepUntilWork(Time deadline, absl::FunctionRef<bool()> done) {
  while (true) {
    attention_->PrepareSleep();
    if (HasWork() || done()) return true;
    const Time now = clock_.Now();
    if (now >= deadline) return false;
    EndLooking();
    polling_.Asleep();
    attention_->Sleep(deadline == kInfiniteFuture ? Duration(-1) : deadline - now);
    polling_.Awake();
    NoteWoken();
    BeginLooking();
    if (HasWork() || done()) return true;
  }
}

bool ShmPort::Poll(Time deadline, absl::FunctionRef<bool()> done) {
  Time until{};
  for (int spins = 1;; ++spins) {
    if (HasWork() || done()) return true;
    if (spins % kSpinsPerPollingPage == 1 && !polling_.MayPoll()) return false;
    CpuRelax();
    if (spins % kSpinsPerClock != 0) continue;
    const Time now = clock_.Now();
    if (until == Time{}) until = std::min(deadline, now + polling_.poll_time_max());
    if (now >= until) return false;
  }
}

void ShmPort::BeginLooking() {
  looking_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void ShmPort::EndLooking() { looking_.store(false, std::memory_order_release); }

absl::StatusOr<ShmPair> CreateShmPair(ShmPort* port_a, Channel::Handler* handler_a, ShmPort* port_b,
                                      Channel::Handler* handler_b) {
  ShmPair pair;
  MANTA_ASSIGN_OR_RETURN(ShmOffer offer, port_a->Offer());
  const uint32_t mark = offer.mark;
  ShmOffer answer;
  absl::StatusOr<ShmChannel*> b = port_b->Accept(std::move(offer), handler_b, &answer);
  if (!b.ok()) {
    port_a->Withdraw(mark);
    return std::move(b).status();
  }
  pair.b = *b;
  MANTA_ASSIGN_OR_RETURN(pair.a, port_a->Connect(mark, std::move(answer), handler_a));
  return pair;
}

}  // namespace manta::rpc
