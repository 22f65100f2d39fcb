#include "manta/ml/communicator.h"

#include <utility>

#include "ml/collective/member.h"

namespace manta::ml {

using internal::CollectiveKind;
using internal::Member;

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  // The old group is left before the new one is looked at.
  std::shared_ptr<Member> old = std::exchange(member_, std::move(other.member_));
  return *this;
}

Communicator::~Communicator() = default;

Member& Communicator::member() const {
  if (member_ == nullptr) throw InvalidArgumentError("Communicator: of no group; ProcessGroup::Join gives one");
  return *member_;
}

size_t Communicator::rank() const { return member().rank(); }
size_t Communicator::size() const { return member().size(); }
uint64_t Communicator::generation() const { return member().generation(); }
bool Communicator::shares_window() const { return member().shares_window(); }
CollectiveStats Communicator::stats() const { return member().stats(); }
const CostModel& Communicator::cost_model() const { return member().cost_model(); }

Tensor Communicator::AllReduce(Tensor values, Reduction reduction, Algorithm algorithm) {
  const auto reduce = [&](const void* in, void* out) {
    Run({CollectiveKind::kAllReduce, values.dtype(), reduction, algorithm, 0, values.size(), in, out});
  };
  if (values.is_writable() || values.empty()) {
    void* const data = values.raw_mutable_data();
    reduce(data, data);
    return values;
  }
  // Read where they are: what others may read, too, need not be copied for that.
  Tensor result = values.in_store() ? Tensor::CreateInStore(values.dtype(), values.shape())
                                    : Tensor(values.dtype(), values.shape());
  reduce(values.raw_data(), result.raw_mutable_data());
  return result;
}

void Communicator::Barrier(Algorithm algorithm) {
  Run({CollectiveKind::kBarrier, DType::kFloat32, Reduction::kSum, algorithm, 0, 0, nullptr, nullptr});
}

Communicator Communicator::Reform(size_t members) { return Communicator(member().Reform(members)); }
void Communicator::Leave() { member().Leave(); }

void Communicator::Run(const internal::Operation& operation) { member().Run(operation); }
Work Communicator::Start(const internal::Operation& operation) { return member().Start(operation); }
void Communicator::SendBytes(const void* values, size_t bytes, size_t to, uint32_t tag) {
  member().Send(values, bytes, to, tag);
}
void Communicator::ReceiveBytes(void* values, size_t bytes, size_t from, uint32_t tag) {
  member().Receive(values, bytes, from, tag);
}

void Communicator::CheckParts(size_t all, size_t part) const {
  if (all == part * size()) return;
  throw InvalidArgumentError("a part of " + std::to_string(part) + " elements, and " + std::to_string(all) +
                             " in all: a group of " + std::to_string(size()) + " needs " +
                             std::to_string(part * size()));
}

void Communicator::CheckRank(size_t rank) const {
  if (rank < size()) return;
  throw InvalidArgumentError("member " + std::to_string(rank) + " of a group of " + std::to_string(size()));
}

void Work::Wait() const {
  if (state_ == nullptr) return;
  std::exception_ptr error;
  {
    base::MutexLock lock(&state_->mutex);
    while (!state_->is_done) state_->changed.Wait(&state_->mutex);
    error = state_->error;
  }
  if (error != nullptr) std::rethrow_exception(error);
}

bool Work::IsDone() const {
  if (state_ == nullptr) return true;
  base::MutexLock lock(&state_->mutex);
  return state_->is_done;
}

}  // namespace manta::ml
