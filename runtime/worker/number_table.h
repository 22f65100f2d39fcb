// NumberTable finds records by rising numbers in O(1), and keeps the few that outlive their neighbours in a tree.
//
// Problem:    base::DenseWindow spends a slot on every number between the oldest and the newest record; one Put that a
//             program holds for a day would make it span every call of that day.
// How:        a ring of pointers over the newest numbers. When it is full and mostly holes, the oldest survivors move
// to
//             an ordered map below it; when it is well filled, it doubles.
// Ownership:  borrows the records; they stay where they are.
// Threads:    externally synchronised.
// Invariants: (1) memory is O(records), plus the ring's high-water mark.
//             (2) every number in the map is below every number in the ring, so iteration is in rising order.
#ifndef MANTA_RUNTIME_WORKER_NUMBER_TABLE_H_
#define MANTA_RUNTIME_WORKER_NUMBER_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace manta::runtime::worker {

template <typename T>
class NumberTable {
 public:
  T* Find(uint64_t number) const {
    if (number - base_ < ring_.size()) return ring_[number & mask_];
    if (sparse_.empty()) return nullptr;
    const auto it = sparse_.find(number);
    return it == sparse_.end() ? nullptr : it->second;
  }

  // False: the number is taken.
  bool Insert(uint64_t number, T* record) {
    if (number < base_) {
      const bool added = sparse_.emplace(number, record).second;
      size_ += added;
      return added;
    }
    if (number - base_ >= ring_.size()) Reach(number);
    T*& slot = ring_[number & mask_];
    if (slot != nullptr) return false;
    slot = record;
    ++in_ring_;
    ++size_;
    return true;
  }

  // True if it was there.
  bool Erase(uint64_t number) {
    if (number - base_ < ring_.size()) {
      T*& slot = ring_[number & mask_];
      if (slot == nullptr) return false;
      slot = nullptr;
      --in_ring_;
      --size_;
      return true;
    }
    const bool erased = sparse_.erase(number) != 0;
    size_ -= erased;
    return erased;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // visit(record) in rising order of the numbers. Nothing may be inserted or erased meanwhile.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [number, record] : sparse_) visit(record);
    if (in_ring_ == 0) return;
    for (size_t i = 0; i < ring_.size(); ++i) {
      if (T* record = ring_[(base_ + i) & mask_]) visit(record);
    }
  }

 private:
  static constexpr size_t kRingMin = 16;

  // Makes the ring cover `number`, which lies above it.
  void Reach(uint64_t number) {
    if (ring_.empty()) Resize(kRingMin);
    if (in_ring_ == 0) {
      base_ = number;
      return;
    }
    while (ring_[base_ & mask_] == nullptr) ++base_;
    size_t wanted = ring_.size();
    while (number - base_ >= wanted && in_ring_ * 4 >= wanted) wanted *= 2;
    if (wanted != ring_.size()) Resize(wanted);
    if (number - base_ < ring_.size()) return;
    const uint64_t base = number - ring_.size() + 1;
    for (size_t i = 0; i < ring_.size() && base_ != base; ++i, ++base_) MoveOut(base_);
    base_ = base;
  }
  void MoveOut(uint64_t number) {
    T*& slot = ring_[number & mask_];
    if (slot == nullptr) return;
    sparse_.emplace_hint(sparse_.end(), number, slot);
    slot = nullptr;
    --in_ring_;
  }
  void Resize(size_t slots) {
    std::vector<T*> ring(slots, nullptr);
    for (size_t i = 0; i < ring_.size(); ++i) ring[(base_ + i) & (slots - 1)] = ring_[(base_ + i) & mask_];
    ring_ = std::move(ring);
    mask_ = slots - 1;
  }

  uint64_t base_ = 0;  // the ring holds [base_, base_ + ring_.size())
  uint64_t mask_ = 0;
  size_t in_ring_ = 0;
  size_t size_ = 0;
  std::vector<T*> ring_;  // a power of two
  std::map<uint64_t, T*> sparse_;
};

// Pool hands out records and takes them back without freeing them, so that what they have allocated is used again.
// The taker resets a record. Threads: externally synchronised.
template <typename T>
class Pool {
 public:
  T* Take() {
    if (free_.empty()) Grow();
    T* record = free_.back();
    free_.pop_back();
    return record;
  }
  void GiveBack(T* record) { free_.push_back(record); }

 private:
  static constexpr size_t kChunk = 32;

  void Grow() {
    chunks_.push_back(std::make_unique<T[]>(kChunk));
    for (size_t i = kChunk; i > 0; --i) free_.push_back(&chunks_.back()[i - 1]);
  }
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<T*> free_;
};

// A list through its elements: T has `T* prev`, `T* next` and `LinkedList<T>* list`. An element is in one list at most.
// Threads: externally synchronised.
template <typename T>
class LinkedList {
 public:
  LinkedList() = default;
  LinkedList(const LinkedList&) = delete;
  LinkedList& operator=(const LinkedList&) = delete;

  T* front() const { return front_; }
  T* back() const { return back_; }
  bool empty() const { return front_ == nullptr; }
  size_t size() const { return size_; }

  void PushBack(T* element) { InsertAfter(back_, element); }
  void PushFront(T* element) { InsertAfter(nullptr, element); }
  // `after` null: at the front.
  void InsertAfter(T* after, T* element) {
    T* before = after != nullptr ? after->next : front_;
    element->prev = after;
    element->next = before;
    element->list = this;
    (after != nullptr ? after->next : front_) = element;
    (before != nullptr ? before->prev : back_) = element;
    ++size_;
  }
  void Remove(T* element) {
    (element->prev != nullptr ? element->prev->next : front_) = element->next;
    (element->next != nullptr ? element->next->prev : back_) = element->prev;
    element->prev = element->next = nullptr;
    element->list = nullptr;
    --size_;
  }
  T* PopFront() {
    T* element = front_;
    Remove(element);
    return element;
  }

 private:
  T* front_ = nullptr;
  T* back_ = nullptr;
  size_t size_ = 0;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_NUMBER_TABLE_H_
