// Window is the shared memory of members of one machine, and the rules by which they use it.
//
// Problem:    hand pieces of values around between processes, in the cache, without a message and without a lock.
// Layout:     a line of counters for each member, then kSlots slots of each member, then their labels.
//             A *piece* is what one round of the protocol moves; pieces are numbered through the window's life, and
//             piece p of member m lies in m's slot p % kSlots, which m alone writes.
// Protocol:   for each piece every member goes through three stages, and publishes each by its counter:
//               1 entered   its input is in its slot   (may begin when all have left piece p - kSlots)
//               2 reduced   its part of the result is  (may begin when all have entered p)
//               3 left      it reads no slot any more  (may begin when all have reduced p)
//             A member that publishes a stage it has no work in may skip the wait for it.
// Waiting:    look for a while; then sleep on the counter (futex), kNap at most, and ask whether the others live.
//             How long to look is learnt: a sleep that was short should have been looked through, a long one not.
// Labels:     with each piece a member says which operation it belongs to: who differs is told.
// Threads:    externally synchronised; one member's end.
#ifndef MANTA_ML_COLLECTIVE_WINDOW_H_
#define MANTA_ML_COLLECTIVE_WINDOW_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "manta/shared_memory.h"
#include "ml/collective/label.h"

namespace manta::ml::internal {

class Window {
 public:
  static constexpr uint32_t kSlots = 4;
  static constexpr std::chrono::milliseconds kNap{20};

  enum class Stage : uint8_t { kEntered, kReduced, kLeft };

  // The memory for `members`, made by one of them.
  static SharedMemory Make(size_t members);

  // `ranks`: who shares it, by the numbers that errors call them; this is member ranks[index]. All else here calls them
  // by their index. `check_others(rank)` throws when it makes no sense to wait for that one any longer; called every
  // kNap at most. Throws what SharedMemory::bytes throws.
  Window(SharedMemory memory, std::vector<size_t> ranks, size_t index, std::function<void(size_t)> check_others);

  size_t members() const { return ranks_.size(); }
  size_t index() const { return index_; }

  // Bytes of a piece: what a slot holds.
  size_t slot_bytes() const { return slot_bytes_; }
  std::byte* slot(size_t member, uint32_t piece) const {
    return slots_ + (member * kSlots + piece % kSlots) * slot_bytes_;
  }

  // The number of the next piece.
  uint32_t NextPiece() { return next_piece_++; }
  // Waits until this member's slot of `piece` is free, and labels it.
  void Open(uint32_t piece, const Label& label);
  void Publish(Stage stage, uint32_t piece);
  // Waits until all others have published. kEntered: and compares labels; InvalidArgumentError: they differ.
  void Await(Stage stage, uint32_t piece);
  // This member will publish nothing more: who waits for it, or is going to, gets a MemberDiedError.
  void Abandon();

 private:
  struct Line;

  Line& line(size_t member) const;
  Label& label(size_t member, uint32_t piece) const;
  void AwaitMember(size_t member, Stage stage, uint32_t target);
  void Sleep(size_t member, Stage stage, uint32_t target);
  void LeaveSharedCore(size_t member);
  void CheckLabels(uint32_t piece) const;

  SharedMemory memory_;
  const std::vector<size_t> ranks_;
  const size_t index_;
  const std::function<void(size_t)> check_others_;
  std::byte* const base_;
  const size_t slot_bytes_;
  std::byte* const slots_;
  std::chrono::nanoseconds polling_;                 // how long to look before sleeping; learnt
  std::chrono::steady_clock::time_point last_move_;  // off a core
  uint32_t next_piece_ = 0;
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_WINDOW_H_
