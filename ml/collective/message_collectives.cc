#include "ml/collective/message_collectives.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "manta/ml/error.h"
#include "ml/collective/partition.h"
#include "ml/collective/reduce.h"

namespace manta::ml::internal {
namespace {

Tensor Pack(const void* values, size_t bytes) {
  Tensor packed = Create<std::byte>({static_cast<int64_t>(bytes)});
  if (bytes != 0) std::memcpy(packed.mutable_data<std::byte>(), values, bytes);
  return packed;
}

// One operation under way. Steps of segments, phases and rounds are numbered alike on all members.
class Run {
 public:
  Run(Generation& generation, const Operation& operation, const Label& label, TimePoint deadline,
      std::span<const size_t> ranks)
      : generation_(generation),
        ranks_(ranks),
        operation_(operation),
        label_(label),
        deadline_(deadline),
        n_(ranks.empty() ? generation.size() : ranks.size()),
        rank_(IndexOf(generation.rank())),
        item_bytes_(ItemBytes(operation.dtype)),
        // A mean is a sum until the end.
        reduction_(operation.reduction == Reduction::kMean ? Reduction::kSum : operation.reduction) {}

  Traffic Do();

 private:
  static constexpr uint32_t kStepsOfPhase = 2 * ProcessGroup::kMembersMax;
  // Elements [begin, end) of a segment.
  struct Range {
    size_t begin;
    size_t end;
    size_t count() const { return end - begin; }
  };

  void AllReduce(std::byte* values, size_t count);
  void AllReduceHalvingDoubling(std::byte* values, size_t count);
  void ReduceScatter();
  void AllGather();
  void Broadcast(std::byte* values, size_t count);
  void BroadcastTree(std::byte* values, size_t count);
  void Reduce(std::byte* values, size_t count);
  void ReduceTree(std::byte* values, size_t count);
  void ReduceStar(std::byte* values, size_t count);

  // After n-1 steps member r has the reduction of part r; then, of what each has in its part, everyone has everything.
  void ScatterAroundRing(std::byte* values, size_t count);
  void GatherAroundRing(std::byte* values, size_t count);
  std::vector<Range> Halve(std::byte* values, size_t count, size_t virtual_rank, size_t power);
  void Double(std::byte* values, const std::vector<Range>& ranges, size_t virtual_rank);

  Range Part(size_t count, size_t part) const {
    return {PartBegin(count, part % n_, n_), PartBegin(count, part % n_ + 1, n_)};
  }
  std::byte* At(std::byte* values, size_t element) const { return values + element * item_bytes_; }
  void Send(size_t to, uint32_t step, const std::byte* values, size_t count) {
    Send(to, step, Pack(values, count * item_bytes_));
  }
  void Send(size_t to, uint32_t step, const Tensor& packed);
  Tensor Receive(size_t from, uint32_t step, size_t count);
  void ReceiveInto(size_t from, uint32_t step, std::byte* values, size_t count) {
    const Tensor received = Receive(from, step, count);
    if (count != 0) std::memcpy(values, received.raw_data(), count * item_bytes_);
  }
  void Combine(const Tensor& received, std::byte* values, size_t count) {
    const std::array<const void*, 2> sources = {values, received.raw_data()};
    if (count != 0) ReduceValues(operation_.dtype, reduction_, sources, values, count);
  }
  void FinishMean(std::byte* values, size_t count) {
    if (operation_.reduction == Reduction::kMean) DivideValues(operation_.dtype, values, count, n_);
  }
  // Calls `run(values, count)` for segments of the values, each with steps of its own.
  template <class F>
  void InSegments(std::byte* values, F run);
  void NextPhase() { phase_ += kStepsOfPhase; }

  size_t IndexOf(size_t rank) const {
    return ranks_.empty() ? rank : size_t(std::ranges::lower_bound(ranks_, rank) - ranks_.begin());
  }
  size_t RankOf(size_t index) const { return ranks_.empty() ? index : ranks_[index]; }

  Generation& generation_;
  const std::span<const size_t> ranks_;  // who takes part; empty: all. Below, members are called by their index of them
  const Operation& operation_;
  const Label& label_;
  const TimePoint deadline_;
  const size_t n_;
  const size_t rank_;
  const size_t item_bytes_;
  const Reduction reduction_;
  uint32_t phase_ = 0;
  Traffic traffic_;
};

Traffic Run::Do() {
  auto* const out = static_cast<std::byte*>(operation_.out);
  switch (operation_.kind) {
    case CollectiveKind::kAllReduce:
      if (operation_.in != operation_.out) {
        std::memcpy(operation_.out, operation_.in, operation_.count * item_bytes_);
      }
      InSegments(out, [&](std::byte* values, size_t count) { AllReduce(values, count); });
      break;
    case CollectiveKind::kReduceScatter:
      ReduceScatter();
      break;
    case CollectiveKind::kAllGather:
      AllGather();
      break;
    case CollectiveKind::kBroadcast:
      InSegments(out, [&](std::byte* values, size_t count) { Broadcast(values, count); });
      break;
    case CollectiveKind::kReduce: {
      if (rank_ == operation_.root) {
        InSegments(out, [&](std::byte* values, size_t count) { Reduce(values, count); });
        break;
      }
      std::vector<std::byte> copy(operation_.count * item_bytes_);
      if (!copy.empty()) std::memcpy(copy.data(), operation_.in, copy.size());
      InSegments(copy.data(), [&](std::byte* values, size_t count) { Reduce(values, count); });
      break;
    }
    case CollectiveKind::kBarrier:
      AllReduce(nullptr, 0);
      break;
  }
  return traffic_;
}

template <class F>
void Run::InSegments(std::byte* values, F run) {
  const size_t segment = kSegmentBytes / item_bytes_;
  size_t begin = 0;
  do {
    const size_t count = std::min(segment, operation_.count - begin);
    run(At(values, begin), count);
    begin += count;
    NextPhase();
  } while (begin < operation_.count);
}

void Run::AllReduce(std::byte* values, size_t count) {
  switch (operation_.algorithm) {
    case Algorithm::kRing:
      ScatterAroundRing(values, count);
      NextPhase();
      GatherAroundRing(values, count);
      break;
    case Algorithm::kHalvingDoubling:
      AllReduceHalvingDoubling(values, count);
      break;
    default:  // kTree, kStar: to member 0, and back
      Reduce(values, count);
      NextPhase();
      Broadcast(values, count);
  }
}

// ---------------------------------------------------------------- ring

void Run::ScatterAroundRing(std::byte* values, size_t count) {
  const size_t next = (rank_ + 1) % n_;
  const size_t before = (rank_ + n_ - 1) % n_;
  for (size_t step = 0; step + 1 < n_; ++step) {
    const Range out = Part(count, rank_ + 2 * n_ - step - 1);
    const Range in = Part(count, rank_ + 2 * n_ - step - 2);
    Send(next, phase_ + uint32_t(step), At(values, out.begin), out.count());
    Combine(Receive(before, phase_ + uint32_t(step), in.count()), At(values, in.begin), in.count());
  }
  const Range own = Part(count, rank_);
  FinishMean(At(values, own.begin), own.count());
}

void Run::GatherAroundRing(std::byte* values, size_t count) {
  const size_t next = (rank_ + 1) % n_;
  const size_t before = (rank_ + n_ - 1) % n_;
  // What came from the one goes on to the other as it is.
  const Range own = Part(count, rank_);
  Tensor moving = Pack(At(values, own.begin), own.count() * item_bytes_);
  for (size_t step = 0; step + 1 < n_; ++step) {
    const Range in = Part(count, rank_ + 2 * n_ - step - 1);
    Send(next, phase_ + uint32_t(step), moving);
    moving = Receive(before, phase_ + uint32_t(step), in.count());
    if (in.count() != 0) std::memcpy(At(values, in.begin), moving.raw_data(), moving.size_bytes());
  }
}

void Run::ReduceScatter() {
  const size_t count = operation_.count * n_;
  std::vector<std::byte> values(count * item_bytes_);
  if (!values.empty()) std::memcpy(values.data(), operation_.in, values.size());
  // Parts here are the caller's, not PartBegin's.
  const size_t next = (rank_ + 1) % n_;
  const size_t before = (rank_ + n_ - 1) % n_;
  auto part = [&](size_t of) { return At(values.data(), of % n_ * operation_.count); };
  for (size_t step = 0; step + 1 < n_; ++step) {
    Send(next, uint32_t(step), part(rank_ + 2 * n_ - step - 1), operation_.count);
    Combine(Receive(before, uint32_t(step), operation_.count), part(rank_ + 2 * n_ - step - 2), operation_.count);
  }
  FinishMean(part(rank_), operation_.count);
  if (operation_.count != 0) std::memcpy(operation_.out, part(rank_), operation_.count * item_bytes_);
}

void Run::AllGather() {
  const size_t bytes = operation_.count * item_bytes_;
  auto* const values = static_cast<std::byte*>(operation_.out);
  auto part = [&](size_t of) { return values + of % n_ * bytes; };
  if (bytes != 0 && part(rank_) != operation_.in) std::memmove(part(rank_), operation_.in, bytes);
  Tensor moving = Pack(part(rank_), bytes);
  for (size_t step = 0; step + 1 < n_; ++step) {
    Send((rank_ + 1) % n_, uint32_t(step), moving);
    moving = Receive((rank_ + n_ - 1) % n_, uint32_t(step), operation_.count);
    if (bytes != 0) std::memcpy(part(rank_ + n_ - step - 1), moving.raw_data(), bytes);
  }
}

// ---------------------------------------------------------------- halving-doubling

void Run::AllReduceHalvingDoubling(std::byte* values, size_t count) {
  const size_t power = std::bit_floor(n_);
  const size_t folded = n_ - power;  // pairs (2i, 2i + 1) of the first members act as one: the odd one does
  const uint32_t last = phase_ + kStepsOfPhase - 1;
  if (rank_ < 2 * folded && rank_ % 2 == 0) {
    Send(rank_ + 1, phase_, values, count);
    ReceiveInto(rank_ + 1, last, values, count);
    return;
  }
  if (rank_ < 2 * folded) Combine(Receive(rank_ - 1, phase_, count), values, count);
  const size_t virtual_rank = rank_ < 2 * folded ? rank_ / 2 : rank_ - folded;
  const std::vector<Range> ranges = Halve(values, count, virtual_rank, power);
  FinishMean(At(values, ranges.back().begin), ranges.back().count());
  Double(values, ranges, virtual_rank);
  if (rank_ < 2 * folded) Send(rank_ - 1, last, values, count);
}

// ranges[i]: what this member answers for after i exchanges.
std::vector<Run::Range> Run::Halve(std::byte* values, size_t count, size_t virtual_rank, size_t power) {
  const size_t folded = n_ - power;
  std::vector<Range> ranges = {{0, count}};
  uint32_t step = phase_ + 1;
  for (size_t mask = power / 2; mask > 0; mask /= 2, ++step) {
    const size_t partner = virtual_rank ^ mask;
    const size_t to = partner < folded ? 2 * partner + 1 : partner + folded;
    const Range all = ranges.back();
    const size_t middle = all.begin + all.count() / 2;
    const Range low = {all.begin, middle};
    const Range high = {middle, all.end};
    const bool keeps_low = (virtual_rank & mask) == 0;
    const Range& kept = keeps_low ? low : high;
    const Range& given = keeps_low ? high : low;
    Send(to, step, At(values, given.begin), given.count());
    Combine(Receive(to, step, kept.count()), At(values, kept.begin), kept.count());
    ranges.push_back(kept);
  }
  return ranges;
}

void Run::Double(std::byte* values, const std::vector<Range>& ranges, size_t virtual_rank) {
  const size_t folded = n_ - std::bit_floor(n_);
  uint32_t step = phase_ + ProcessGroup::kMembersMax;
  size_t mask = 1;
  for (size_t i = ranges.size() - 1; i > 0; --i, mask *= 2, ++step) {
    const size_t partner = virtual_rank ^ mask;
    const size_t to = partner < folded ? 2 * partner + 1 : partner + folded;
    const Range& mine = ranges[i];
    const Range& all = ranges[i - 1];
    const Range theirs = mine.begin == all.begin ? Range{mine.end, all.end} : Range{all.begin, mine.begin};
    Send(to, step, At(values, mine.begin), mine.count());
    ReceiveInto(to, step, At(values, theirs.begin), theirs.count());
  }
}

// ---------------------------------------------------------------- tree and star

void Run::Reduce(std::byte* values, size_t count) {
  if (operation_.algorithm == Algorithm::kStar) {
    ReduceStar(values, count);
  } else {
    ReduceTree(values, count);
  }
  if (rank_ == operation_.root) FinishMean(values, count);
}

// A member's number counted from the root: its children differ in one bit below its lowest.
void Run::ReduceTree(std::byte* values, size_t count) {
  const size_t number = (rank_ + n_ - operation_.root) % n_;
  for (size_t bit = 1; bit < n_; bit *= 2) {
    if ((number & bit) != 0) {
      Send((number - bit + operation_.root) % n_, phase_, values, count);
      return;
    }
    if (number + bit < n_) Combine(Receive((number + bit + operation_.root) % n_, phase_, count), values, count);
  }
}

void Run::ReduceStar(std::byte* values, size_t count) {
  if (rank_ != operation_.root) return Send(operation_.root, phase_, values, count);
  for (size_t i = 1; i < n_; ++i) Combine(Receive((rank_ + i) % n_, phase_, count), values, count);
}

void Run::Broadcast(std::byte* values, size_t count) {
  if (operation_.algorithm != Algorithm::kStar) return BroadcastTree(values, count);
  if (rank_ != operation_.root) return ReceiveInto(operation_.root, phase_, values, count);
  const Tensor packed = Pack(values, count * item_bytes_);
  for (size_t i = 1; i < n_; ++i) Send((rank_ + i) % n_, phase_, packed);
}

void Run::BroadcastTree(std::byte* values, size_t count) {
  const size_t number = (rank_ + n_ - operation_.root) % n_;
  Tensor packed;
  size_t bit = number == 0 ? std::bit_ceil(n_) : number & -number;
  if (number == 0) {
    packed = Pack(values, count * item_bytes_);
  } else {
    packed = Receive((number - bit + operation_.root) % n_, phase_, count);
    if (count != 0) std::memcpy(values, packed.raw_data(), packed.size_bytes());
  }
  for (bit /= 2; bit > 0; bit /= 2) {
    if (number + bit < n_) Send((number + bit + operation_.root) % n_, phase_, packed);
  }
}

// ---------------------------------------------------------------- messages

void Run::Send(size_t to, uint32_t step, const Tensor& packed) {
  const MessageKey key{label_.operation, step, uint32_t(generation_.rank())};
  generation_.Post(RankOf(to), key, {label_, traffic_.chain + 1, packed});
  ++traffic_.messages;
  traffic_.bytes += packed.size_bytes();
}

Tensor Run::Receive(size_t from, uint32_t step, size_t count) {
  Message message = generation_.Take({label_.operation, step, uint32_t(RankOf(from))}, label_, deadline_);
  if (message.values.size_bytes() != count * item_bytes_) {
    throw InternalError(ErrorCode::kInternal, label_.ToString() + ": a message of another size");
  }
  traffic_.chain = std::max(traffic_.chain, message.chain);
  return std::move(message.values);
}

}  // namespace

Traffic RunByMessages(Generation& generation, const Operation& operation, const Label& label, TimePoint deadline,
                      std::span<const size_t> ranks) {
  return Run(generation, operation, label, deadline, ranks).Do();
}

void ShiftAround(Generation& generation, uint64_t operation, uint32_t step, size_t bytes, TimePoint deadline) {
  const size_t n = generation.size();
  const size_t rank = generation.rank();
  Tensor out = Create<std::byte>({static_cast<int64_t>(bytes)});
  std::memset(out.mutable_data<std::byte>(), 0, bytes);
  generation.Post((rank + 1) % n, {operation, step, uint32_t(rank)}, {{}, 1, out});
  const Message in = generation.Take({operation, step, uint32_t((rank + n - 1) % n)}, {}, deadline);
  Tensor sum(DType::kFloat32, {static_cast<int64_t>(bytes / sizeof(float))});
  const std::array<const void*, 2> sources = {in.values.raw_data(), in.values.raw_data()};
  ReduceValues(DType::kFloat32, Reduction::kSum, sources, sum.raw_mutable_data(), sum.size());
}

}  // namespace manta::ml::internal
