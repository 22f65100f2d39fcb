// KvStore holds the head's facts: text keys and values that must outlive the head.
//
// Threads:    loop-confined. A store is not destroyed inside a callback of its own, except `opened`'s.
// Invariants: (1) `done` of a Write runs only when the whole batch is durable, and in the order of the Writes.
//             (2) a batch is durable as a whole or not at all.
//             (3) epochs rise: of two heads that opened the same store only the later one still gets a `done`.
// See:        docs/metadata.md
#ifndef MANTA_RUNTIME_HEAD_KV_STORE_H_
#define MANTA_RUNTIME_HEAD_KV_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace manta::runtime {

// Keys to write (a value) or to erase (none); of the same key twice the later one counts.
using KvBatch = std::vector<std::pair<std::string, std::optional<std::string>>>;

// What a store held when it was taken over.
struct KvOpened {
  uint64_t epoch = 1;  // this life of the head: higher than of all before it
  std::map<std::string, std::string> facts;
};

class KvStore {
 public:
  virtual ~KvStore() = default;

  // Takes the store over from earlier lives of the head. `opened` runs once, perhaps inside this call.
  virtual void Open(std::function<void(absl::StatusOr<KvOpened>)> opened) = 0;

  // REQUIRES: opened. `done` may run inside this call, or never (the store is away, or was taken over).
  virtual void Write(KvBatch batch, std::function<void()> done) = 0;

  // What keeps writes from becoming durable, for people; empty: nothing.
  virtual std::string health() const = 0;
};

// In memory: facts live as long as the head, which has them anyway (embedded clusters, `--metadata memory`).
class MemoryKvStore final : public KvStore {
 public:
  void Open(std::function<void(absl::StatusOr<KvOpened>)> opened) override { opened(KvOpened{}); }
  void Write(KvBatch, std::function<void()> done) override { done(); }
  std::string health() const override { return ""; }
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_KV_STORE_H_
