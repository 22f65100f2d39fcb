// Communicator is a member's end of a ProcessGroup: the collectives.
//
//   manta::ml::Communicator all = group.Join(rank);
//   all.AllReduce(std::span<float>(gradient), Reduction::kMean);       // every member has the mean
//   all.Broadcast(std::span<float>(parameters), 0);                    // every member has member 0's
//
//   Work work = all.AllReduceAsync(std::span<float>(bucket));          // beside what the member computes
//   ...
//   work.Wait();
//
// Every member calls the same operations in the same order, with values of the same type and number, as MPI's; a member
// that does not is found out, and gives all an InvalidArgumentError. Element types: float, double, int32_t, int64_t.
// Sums of floating point are within n eps sum|x| of the exact one. The results of an operation are bitwise the same on
// all members, and bitwise repeatable for the same number of members and the same algorithm.
//
// Errors of every operation, and of Work::Wait:
//   MemberDiedError       another member died, left, or gave up; within 2 s, wherever this one waits. Values that the
//                         operation writes are unspecified then. A member that was done sooner may have its result:
//                         members must agree on what counts (a step's number) after Reform.
//   TimeoutError          the others did not come within the group's timeout.
//   InvalidArgumentError  members called different operations; or an argument makes no sense: then nothing has
//   happened. OutOfMemoryError      the object store has no room for messages.
// After any of the first two, or a mismatch, this generation is over: every operation throws the same until Reform.
//
// Threads:    thread-safe in that operations are done one after another, in the order of the calls.
#ifndef MANTA_ML_COMMUNICATOR_H_
#define MANTA_ML_COMMUNICATOR_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "manta/dtype.h"
#include "manta/ml/collective.h"
#include "manta/ml/cost_model.h"
#include "manta/ml/error.h"
#include "manta/tensor.h"

namespace manta::ml {

template <class T>
concept CollectiveElement =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, int32_t> || std::same_as<T, int64_t>;

namespace internal {

class Member;

enum class CollectiveKind : uint8_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kReduce, kBarrier };

// One operation, without its element type.
struct Operation {
  CollectiveKind kind = CollectiveKind::kBarrier;
  DType dtype = DType::kFloat32;
  Reduction reduction = Reduction::kSum;
  Algorithm algorithm = Algorithm::kAuto;
  uint32_t root = 0;
  size_t count = 0;          // elements; of kReduceScatter and kAllGather: of one member's part
  const void* in = nullptr;  // may be `out`
  void* out = nullptr;
};

}  // namespace internal

class MANTA_EXPORT Communicator {
 public:
  Communicator() = default;  // of no group
  explicit Communicator(std::shared_ptr<internal::Member> member) : member_(std::move(member)) {}
  Communicator(Communicator&&) = default;
  Communicator& operator=(Communicator&& other) noexcept;
  ~Communicator();  // Leave

  explicit operator bool() const { return member_ != nullptr; }
  size_t rank() const;
  size_t size() const;          // members
  uint64_t generation() const;  // from 1
  // Whether all members share a window, as kSharedMemory needs.
  bool shares_window() const;

  // Every element becomes the reduction of all members' ones.
  template <CollectiveElement T>
  void AllReduce(std::span<T> values, Reduction reduction = Reduction::kSum, Algorithm algorithm = Algorithm::kAuto) {
    Run(AllReduceOf(values, reduction, algorithm));
  }
  // The same beside the caller, in a thread of the communicator's. Several may be under way; they are done in order.
  template <CollectiveElement T>
  [[nodiscard]] Work AllReduceAsync(std::span<T> values, Reduction reduction = Reduction::kSum,
                                    Algorithm algorithm = Algorithm::kAuto) {
    return Start(AllReduceOf(values, reduction, algorithm));
  }
  // The same of a tensor of any shape, which all members have alike. In place if Tensor::is_writable(); else the result
  // lies in memory of its own, of the store if `values` do, and they are read where they are: neither is copied.
  Tensor AllReduce(Tensor values, Reduction reduction = Reduction::kSum, Algorithm algorithm = Algorithm::kAuto);

  // `values` are size() parts of `part.size()` elements: `part` becomes the reduction of all members' part rank().
  // InvalidArgumentError: other sizes. kSharedMemory, kRing.
  template <CollectiveElement T>
  void ReduceScatter(std::type_identity_t<std::span<const T>> values, std::span<T> part,
                     Reduction reduction = Reduction::kSum, Algorithm algorithm = Algorithm::kAuto) {
    CheckParts(values.size(), part.size());
    Run({internal::CollectiveKind::kReduceScatter, DTypeOf<T>(), reduction, algorithm, 0, part.size(), values.data(),
         part.data()});
  }
  // `values` become the members' parts, in the order of their ranks; all of one size. `part` may be its own place in
  // `values`. InvalidArgumentError: other sizes. kSharedMemory, kRing.
  template <CollectiveElement T>
  void AllGather(std::type_identity_t<std::span<const T>> part, std::span<T> values,
                 Algorithm algorithm = Algorithm::kAuto) {
    CheckParts(values.size(), part.size());
    Run({internal::CollectiveKind::kAllGather, DTypeOf<T>(), Reduction::kSum, algorithm, 0, part.size(), part.data(),
         values.data()});
  }
  // `values` become member `root`'s. kSharedMemory, kTree, kStar.
  template <CollectiveElement T>
  void Broadcast(std::span<T> values, size_t root, Algorithm algorithm = Algorithm::kAuto) {
    CheckRank(root);
    Run({internal::CollectiveKind::kBroadcast, DTypeOf<T>(), Reduction::kSum, algorithm, uint32_t(root), values.size(),
         values.data(), values.data()});
  }
  // Member `root`'s `values` become the reduction of all members' ones; those of the others stay. kSharedMemory, kTree,
  // kStar.
  template <CollectiveElement T>
  void Reduce(std::span<T> values, size_t root, Reduction reduction = Reduction::kSum,
              Algorithm algorithm = Algorithm::kAuto) {
    CheckRank(root);
    Run({internal::CollectiveKind::kReduce, DTypeOf<T>(), reduction, algorithm, uint32_t(root), values.size(),
         values.data(), values.data()});
  }
  // Returns when all members have called it.
  void Barrier(Algorithm algorithm = Algorithm::kAuto);

  // Values for member `to`, which takes those of one tag in the order in which they were sent. Does not wait for it.
  // Beside the collectives: their order is not theirs. InvalidArgumentError: this member, or no such rank.
  template <CollectiveElement T>
  void Send(std::span<const T> values, size_t to, uint32_t tag = 0) {
    SendBytes(values.data(), values.size_bytes(), to, tag);
  }
  // Waits for values from member `from`. InvalidArgumentError: it sent another number of bytes.
  template <CollectiveElement T>
  void Receive(std::span<T> values, size_t from, uint32_t tag = 0) {
    ReceiveBytes(values.data(), values.size_bytes(), from, tag);
  }

  // The next generation of the group: waits until every member of this one that lives has called it with the same
  // `members`. 0: of these alone, ranks close up in their order. Else so many: members keep their ranks (those beyond
  // get the lowest free one), and what is free is for Join; more living than `members` is an InvalidArgumentError.
  // This communicator is over then. It need not have failed: a group grows, or shrinks, that way too. Errors: Join's.
  Communicator Reform(size_t members = 0);
  // Takes this member out of the group: others get a MemberDiedError, once they need it. Does nothing a second time.
  void Leave();

  CollectiveStats stats() const;
  // What kAuto goes by; the same on all members.
  const CostModel& cost_model() const;

 private:
  template <class T>
  static internal::Operation AllReduceOf(std::span<T> values, Reduction reduction, Algorithm algorithm) {
    return {internal::CollectiveKind::kAllReduce,
            DTypeOf<T>(),
            reduction,
            algorithm,
            0,
            values.size(),
            values.data(),
            values.data()};
  }
  internal::Member& member() const;
  void Run(const internal::Operation& operation);
  Work Start(const internal::Operation& operation);
  void SendBytes(const void* values, size_t bytes, size_t to, uint32_t tag);
  void ReceiveBytes(void* values, size_t bytes, size_t from, uint32_t tag);
  void CheckParts(size_t all, size_t part) const;
  void CheckRank(size_t rank) const;

  std::shared_ptr<internal::Member> member_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_COMMUNICATOR_H_
