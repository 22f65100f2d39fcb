// NumberSet remembers rising numbers that are used once, such as those of dead processes, as few intervals.
//
// Problem:    a dead process must be known as dead for ever, and a node that starts a thousand workers a minute must
// not keep
//             a thousand entries a minute.
// Threads:    externally synchronised.
#ifndef MANTA_RUNTIME_NODE_NUMBER_SET_H_
#define MANTA_RUNTIME_NODE_NUMBER_SET_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>

namespace manta::runtime::node {

class NumberSet {
 public:
  bool Contains(uint64_t number) const {
    const auto after = intervals_.upper_bound(number);
    return after != intervals_.begin() && std::prev(after)->second >= number;
  }
  // False if it was there.
  bool Insert(uint64_t number) {
    if (Contains(number)) return false;
    uint64_t last = number;
    const auto after = intervals_.upper_bound(number);
    if (after != intervals_.end() && after->first == number + 1) {
      last = after->second;
      intervals_.erase(after);
    }
    const auto before = intervals_.lower_bound(number);
    if (before != intervals_.begin() && std::prev(before)->second + 1 == number) {
      std::prev(before)->second = last;
    } else {
      intervals_[number] = last;
    }
    return true;
  }
  size_t interval_count() const { return intervals_.size(); }

 private:
  std::map<uint64_t, uint64_t> intervals_;  // first -> last
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_NUMBER_SET_H_
