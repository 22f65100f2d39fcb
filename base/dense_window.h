// DenseWindow is a map whose keys are rising numbers: a deque of slots above a base.
//
// Problem:    calls, leases and frames are numbered from one counter, live briefly, and are looked up all the time; a
//             tree or a hash table pays for an order that the numbers already have.
// Ownership:  owns its values. Pointers to a value stay good until it is erased.
// Threads:    externally synchronised.
// Invariants: (1) memory is one slot per number between the lowest and the highest key, at most span_max.
//             (2) iteration is in rising order of the keys.
#ifndef MANTA_BASE_DENSE_WINDOW_H_
#define MANTA_BASE_DENSE_WINDOW_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "base/check.h"

namespace manta::base {

template <typename T>
class DenseWindow {
 public:
  static constexpr uint64_t kSpanMaxDefault = uint64_t{1} << 24;

  // `span_max`: how far apart the lowest and the highest key may be.
  explicit DenseWindow(uint64_t span_max = kSpanMaxDefault) : span_max_(span_max) {}

  // The value of `key`, or null. O(1).
  T* Find(uint64_t key) {
    if (key < base_ || key - base_ >= slots_.size()) return nullptr;
    std::optional<T>& slot = slots_[key - base_];
    return slot ? &*slot : nullptr;
  }
  const T* Find(uint64_t key) const { return const_cast<DenseWindow*>(this)->Find(key); }
  bool Contains(uint64_t key) const { return Find(key) != nullptr; }

  // Adds `key` if it is new; {value, whether it was added}, {null, false} if the span would exceed span_max (a peer's
  // number too far ahead or behind: the caller refuses it). O(1) at the back, O(gap) elsewhere.
  template <typename... Args>
  std::pair<T*, bool> TryEmplace(uint64_t key, Args&&... args) {
    if (slots_.empty()) base_ = key;
    if (key < base_) {
      if (base_ - key > span_max_ - slots_.size()) return {nullptr, false};
      for (; base_ > key; --base_) slots_.emplace_front();
    }
    if (key - base_ >= span_max_) return {nullptr, false};
    while (key - base_ >= slots_.size()) slots_.emplace_back();
    std::optional<T>& slot = slots_[key - base_];
    if (slot) return {&*slot, false};
    slot.emplace(std::forward<Args>(args)...);
    ++size_;
    return {&*slot, true};
  }

  // True if it was there. Amortised O(1).
  bool Erase(uint64_t key) {
    if (!Contains(key)) return false;
    slots_[key - base_].reset();
    --size_;
    if (size_ == 0) {
      slots_.clear();
      return true;
    }
    for (; !slots_.front(); ++base_) slots_.pop_front();
    while (!slots_.back()) slots_.pop_back();
    return true;
  }
  // The value, taken out.
  std::optional<T> Take(uint64_t key) {
    T* found = Find(key);
    if (found == nullptr) return std::nullopt;
    std::optional<T> value(std::move(*found));
    Erase(key);
    return value;
  }
  void Clear() {
    slots_.clear();
    size_ = 0;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // REQUIRES: !empty().
  uint64_t lowest_key() const {
    MANTA_DCHECK(size_ != 0);
    return base_;
  }
  uint64_t highest_key() const {
    MANTA_DCHECK(size_ != 0);
    return base_ + slots_.size() - 1;
  }

  // for (auto [key, value] : window): `value` is a reference. Nothing may be added or erased meanwhile.
  template <typename Window, typename Value>
  class Iterator {
   public:
    Iterator(Window* window, size_t index) : window_(window), index_(index) { SkipHoles(); }
    std::pair<uint64_t, Value&> operator*() const { return {window_->base_ + index_, *window_->slots_[index_]}; }
    Iterator& operator++() {
      ++index_;
      SkipHoles();
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    void SkipHoles() {
      while (index_ < window_->slots_.size() && !window_->slots_[index_]) ++index_;
    }
    Window* window_;
    size_t index_;
  };
  auto begin() { return Iterator<DenseWindow, T>(this, 0); }
  auto end() { return Iterator<DenseWindow, T>(this, slots_.size()); }
  auto begin() const { return Iterator<const DenseWindow, const T>(this, 0); }
  auto end() const { return Iterator<const DenseWindow, const T>(this, slots_.size()); }

 private:
  uint64_t span_max_;
  uint64_t base_ = 0;  // the key of slots_.front(), which is filled, as is slots_.back()
  size_t size_ = 0;    // filled slots
  std::deque<std::optional<T>> slots_;
};

}  // namespace manta::base

#endif  // MANTA_BASE_DENSE_WINDOW_H_
