#include "ml/collective/member.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "manta/ml/error.h"
#include "ml/collective/hierarchical.h"
#include "ml/collective/window_collectives.h"

namespace manta::ml::internal {
namespace {

using std::chrono::steady_clock;

// Beyond the group's own timeout, which its actor looks at.
constexpr std::chrono::seconds kGrace(5);

bool CanDo(CollectiveKind kind, Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kSharedMemory:
      return true;
    case Algorithm::kRing:
      return kind != CollectiveKind::kBroadcast && kind != CollectiveKind::kReduce;
    case Algorithm::kTree:
    case Algorithm::kStar:
      return kind != CollectiveKind::kReduceScatter && kind != CollectiveKind::kAllGather;
    case Algorithm::kHalvingDoubling:
      return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kBarrier;
    case Algorithm::kHierarchical:
      return kind == CollectiveKind::kAllReduce;
    case Algorithm::kAuto:
      break;
  }
  return false;
}

// By messages, where costs are not known.
Algorithm UnmeasuredAlgorithm(size_t bytes) { return bytes < 1 << 20 ? Algorithm::kHalvingDoubling : Algorithm::kRing; }

// What costs are measured with.
constexpr size_t kSmallBytes = 64;
constexpr size_t kLargeBytes = 512 << 10;

// Of several times the shortest, in seconds: the others tell of what else the machine did.
template <class Run>
double Shortest(int repeats, Run run) {
  double seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const auto start = steady_clock::now();
    run();
    seconds = std::min(seconds, std::chrono::duration<double>(steady_clock::now() - start).count());
  }
  return seconds;
}

}  // namespace

// ---------------------------------------------------------------- operations, one after another

void Member::Run(const Operation& given) {
  const Operation operation = Resolved(given);
  std::shared_ptr<Work::State> work;
  {
    base::MutexLock lock(&mutex_);
    if (is_busy_ || !queue_.empty()) {
      work = Enqueue(operation);
    } else {
      is_busy_ = true;
    }
  }
  if (work != nullptr) return Work(work).Wait();
  std::exception_ptr error;
  try {
    Execute(operation);
  } catch (...) {
    error = std::current_exception();
  }
  {
    base::MutexLock lock(&mutex_);
    is_busy_ = false;
    changed_.NotifyAll();
  }
  if (error != nullptr) std::rethrow_exception(error);
}

Work Member::Start(const Operation& given) {
  const Operation operation = Resolved(given);
  base::MutexLock lock(&mutex_);
  return Work(Enqueue(operation));
}

std::shared_ptr<Work::State> Member::Enqueue(const Operation& operation) {
  auto work = std::make_shared<Work::State>();
  work->operation = operation;
  queue_.push_back(work);
  if (!thread_.joinable()) thread_ = std::thread([this] { WorkThrough(); });
  changed_.NotifyAll();
  return work;
}

void Member::WorkThrough() {
  for (;;) {
    std::shared_ptr<Work::State> work;
    {
      base::MutexLock lock(&mutex_);
      while (is_busy_ || (queue_.empty() && !stops_)) changed_.Wait(&mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
      is_busy_ = true;
    }
    std::exception_ptr error;
    try {
      Execute(work->operation);
    } catch (...) {
      error = std::current_exception();
    }
    {
      base::MutexLock lock(&mutex_);
      is_busy_ = false;
      changed_.NotifyAll();
    }
    base::MutexLock lock(&work->mutex);
    work->error = error;
    work->is_done = true;
    work->changed.NotifyAll();
  }
}

void Member::Execute(const Operation& operation) {
  generation_->ThrowIfEnded();
  if (size() == 1) return ExecuteAlone(operation);
  const Label label = Label::Of(operation, ++operations_);
  deadline_ = steady_clock::now() + options_.timeout;
  Traffic traffic;
  try {
    generation_->LookForRecall();
    traffic = DoOperation(operation, label);
  } catch (const std::exception& error) {
    GiveUp(std::current_exception(), std::string("gave up: ") + error.what());
    generation_->ThrowIfEnded();
  }
  base::MutexLock lock(&mutex_);
  ++stats_.operations;
  stats_.messages_sent += traffic.messages;
  stats_.bytes_sent += traffic.bytes;
  stats_.last_algorithm = operation.algorithm;
  if (operation.algorithm != Algorithm::kSharedMemory) stats_.longest_chain = traffic.chain;
}

Traffic Member::DoOperation(const Operation& operation, const Label& label) {
  switch (operation.algorithm) {
    case Algorithm::kSharedMemory:
      return {.bytes = RunOnWindow(*window_, operation, label)};
    case Algorithm::kHierarchical: {
      const size_t bytes = operation.count * ItemBytes(operation.dtype);
      const Algorithm among_leaders =
          model_.members != 0 ? model_.OfLeaders().Choose(bytes) : UnmeasuredAlgorithm(bytes);
      return RunHierarchical(*generation_, nodes_, window_ ? &*window_ : nullptr, among_leaders, operation, label,
                             deadline_);
    }
    default:
      return RunByMessages(*generation_, operation, label, deadline_);
  }
}

void Member::ExecuteAlone(const Operation& operation) const {
  if (operation.in == operation.out || operation.count == 0) return;
  std::memmove(operation.out, operation.in, operation.count * ItemBytes(operation.dtype));
}

Operation Member::Resolved(const Operation& given) const {
  Operation operation = given;
  if (operation.algorithm == Algorithm::kAuto) operation.algorithm = Chosen(operation);
  const bool is_integer = operation.dtype == DType::kInt32 || operation.dtype == DType::kInt64;
  if (!is_integer && operation.dtype != DType::kFloat32 && operation.dtype != DType::kFloat64) {
    throw InvalidArgumentError(std::string("a collective of ") + DTypeName(operation.dtype) +
                               ": only of float32, float64, int32 and int64");
  }
  if (operation.reduction == Reduction::kMean && is_integer) {
    throw InvalidArgumentError(std::string("a mean of ") + DTypeName(operation.dtype) +
                               ": only of float32 and float64; take the sum");
  }
  if (!CanDo(operation.kind, operation.algorithm)) {
    throw InvalidArgumentError(Label::Of(operation, operations_ + 1).ToString() +
                               ": this algorithm does not do that; see communicator.h");
  }
  if (size() == 1) return operation;
  if (operation.algorithm == Algorithm::kSharedMemory && !shares_window()) {
    throw InvalidArgumentError("shared-memory: the group has no window: " +
                               (nodes_.is_one_node() ? no_window_ : "its members are on several nodes"));
  }
  if (operation.algorithm == Algorithm::kHierarchical && !no_window_.empty()) {
    throw InvalidArgumentError("hierarchical: a node of the group has no window: " + no_window_);
  }
  return operation;
}

Algorithm Member::Chosen(const Operation& operation) const {
  const size_t bytes = operation.count * ItemBytes(operation.dtype);
  switch (operation.kind) {
    case CollectiveKind::kAllReduce:
      if (model_.members != 0) return model_.Choose(bytes);
      if (shares_window() || size() == 1) return Algorithm::kSharedMemory;
      return UnmeasuredAlgorithm(bytes);
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllGather:
      return shares_window() || size() == 1 ? Algorithm::kSharedMemory : Algorithm::kRing;
    default:
      return shares_window() || size() == 1 ? Algorithm::kSharedMemory : Algorithm::kTree;
  }
}

// ---------------------------------------------------------------- messages of one's own

void Member::CheckOther(size_t other, const char* verb) const {
  if (other < size() && other != rank()) return;
  throw InvalidArgumentError(std::string(verb) + " member " + std::to_string(other) + ": this is member " +
                             std::to_string(rank()) + " of " + std::to_string(size()));
}

void Member::Send(const void* values, size_t bytes, size_t to, uint32_t tag) {
  CheckOther(to, "Send to");
  generation_->ThrowIfEnded();
  uint32_t number;
  {
    base::MutexLock lock(&mutex_);
    number = sent_[{to, tag}]++;
    ++stats_.messages_sent;
    stats_.bytes_sent += bytes;
  }
  Tensor packed = Create<std::byte>({static_cast<int64_t>(bytes)});
  if (bytes != 0) std::memcpy(packed.mutable_data<std::byte>(), values, bytes);
  generation_->Post(to, {MessageKey::kPointToPoint | tag, number, uint32_t(rank())}, {{}, 1, std::move(packed)});
}

void Member::Receive(void* values, size_t bytes, size_t from, uint32_t tag) {
  CheckOther(from, "Receive from");
  uint32_t number;
  {
    base::MutexLock lock(&mutex_);
    number = received_[{from, tag}]++;
  }
  const MessageKey key{MessageKey::kPointToPoint | tag, number, uint32_t(from)};
  const Message message = generation_->Take(key, {}, steady_clock::now() + options_.timeout);
  if (message.values.size_bytes() != bytes) {
    throw InvalidArgumentError("Receive of " + std::to_string(bytes) + " bytes from member " + std::to_string(from) +
                               ": it sent " + std::to_string(message.values.size_bytes()));
  }
  if (bytes != 0) std::memcpy(values, message.values.raw_data(), bytes);
}

// ---------------------------------------------------------------- beginning and end

Member::Member(ActorHandle<GroupActor> meeting, View view, const Options& options)
    : meeting_(std::move(meeting)),
      options_(options),
      generation_(Generation::Begin(std::move(view))),
      nodes_(generation_->view().seats, generation_->rank()) {
  model_ = generation_->view().model;
  if (size() == 1) return;
  try {
    OpenWindow();
    if (options_.measure_costs && model_.members == 0) MeasureCosts();
  } catch (const std::exception& error) {
    GiveUp(std::current_exception(), std::string("gave up when the group met: ") + error.what());
    StopThread();
    meeting_.Call<&GroupActor::Leave>().Remote(generation(), rank());
    throw;
  }
}

Member::~Member() {
  try {
    Leave();
  } catch (const std::exception&) {
    // There is no runtime any more: nobody to tell.
  }
  StopThread();
}

// The leader of a node with several members makes the window, the others open it; windows are used if all could open
// theirs, on all nodes.
void Member::OpenWindow() {
  std::string refusal;
  if (nodes_.here().size() > 1) {
    const SharedMemory memory = MeetAtWindow();
    auto check = [this](size_t member) { generation_->Check(deadline_, member, "a collective"); };
    try {
      window_.emplace(memory, nodes_.here(), nodes_.index_here(), check);
    } catch (const Error& error) {
      refusal = generation_->view().seats[rank()].process + ": " + error.what();
    }
  }
  const WindowOffer agreed =
      Get(meeting_.Call<&GroupActor::AgreeOnWindow>().Remote(generation(), uint64_t(rank()), refusal),
          options_.timeout + kGrace);
  ThrowIfBroken(agreed);
  if (agreed.refusal.empty()) return;
  window_.reset();
  no_window_ = agreed.refusal;
}

SharedMemory Member::MeetAtWindow() {
  const auto limit = options_.timeout + kGrace;
  const uint64_t leader = nodes_.leader();
  if (nodes_.is_leader()) {
    SharedMemory memory = Window::Make(nodes_.here().size());
    Get(meeting_.Call<&GroupActor::ShowWindow>().Remote(generation(), leader, memory), limit);
    return memory;
  }
  const WindowOffer offer = Get(meeting_.Call<&GroupActor::TakeWindow>().Remote(generation(), leader), limit);
  ThrowIfBroken(offer);
  return offer.memory;
}

void Member::ThrowIfBroken(const WindowOffer& offer) const {
  if (!offer.is_broken) return;
  throw MemberDiedError(offer.gone,
                        "(" + generation_->view().seats.at(offer.gone).process + ") died or left when the group met");
}

// Every member measures; what one has found, who has a window if anybody has, holds for all.
void Member::MeasureCosts() {
  auto shift = [&](size_t bytes, int repeats) {
    return Shortest(
        repeats, [&] { ShiftAround(*generation_, ++operations_, 0, bytes, steady_clock::now() + options_.timeout); });
  };
  CostModel measured;
  measured.members = size();
  measured.nodes = nodes_.nodes();
  measured.shares_window = shares_window();
  measured.message_seconds = shift(kSmallBytes, 12);
  const double large = shift(kLargeBytes, 6);
  measured.message_byte_seconds = std::max(0.0, large - measured.message_seconds) / kLargeBytes;
  MeasureWindow(&measured);
  double constants[] = {measured.message_seconds, measured.message_byte_seconds, measured.window_seconds,
                        measured.window_byte_seconds};
  Execute({CollectiveKind::kBroadcast, DType::kFloat64, Reduction::kSum,
           shares_window() ? Algorithm::kSharedMemory : Algorithm::kTree, uint32_t(nodes_.leader_of_most()), 4,
           constants, constants});
  measured.message_seconds = constants[0];
  measured.message_byte_seconds = constants[1];
  measured.window_seconds = constants[2];
  measured.window_byte_seconds = constants[3];
  model_ = measured;
  if (rank() == 0) meeting_.Call<&GroupActor::SetModel>().Remote(measured);
  base::MutexLock lock(&mutex_);
  stats_ = CollectiveStats();
}

// AllReduces of this node's members. Operations have the same numbers on all nodes, with and without windows.
void Member::MeasureWindow(CostModel* measured) {
  constexpr int kRepeatsOfLarge = 20, kRepeatsOfSmall = 40;
  if (!window_) {
    operations_ += kRepeatsOfLarge + kRepeatsOfSmall;
    return;
  }
  std::vector<float> values(kLargeBytes / sizeof(float));
  Operation reduce{CollectiveKind::kAllReduce,
                   DType::kFloat32,
                   Reduction::kSum,
                   Algorithm::kSharedMemory,
                   0,
                   values.size(),
                   values.data(),
                   values.data()};
  const auto run = [&] {
    deadline_ = steady_clock::now() + options_.timeout;
    RunOnWindow(*window_, reduce, Label::Of(reduce, ++operations_));
  };
  const double large_seconds = Shortest(kRepeatsOfLarge, run);
  reduce.count = kSmallBytes / sizeof(float);
  measured->window_seconds = Shortest(kRepeatsOfSmall, run);
  measured->window_byte_seconds = std::max(0.0, large_seconds - measured->window_seconds) / kLargeBytes;
}

void Member::GiveUp(std::exception_ptr why, const std::string& reason) {
  generation_->End(std::move(why));
  if (window_) window_->Abandon();
  generation_->TellOthers(reason);
}

std::shared_ptr<Member> Member::Reform(size_t members) {
  {
    base::MutexLock lock(&mutex_);
    if (has_left_) throw InvalidArgumentError("Reform: this member has left the group");
  }
  StopThread();
  GiveUp(std::make_exception_ptr(MemberDiedError(rank(), "called Reform: this communicator is over")), "called Reform");
  Admission admission =
      Get(meeting_.Call<&GroupActor::Reform>().Remote(generation(), uint64_t(rank()), uint64_t(members)),
          options_.timeout + kGrace);
  ThrowUnlessAdmitted(admission, rank());
  {
    base::MutexLock lock(&mutex_);
    has_left_ = true;
  }
  return std::make_shared<Member>(meeting_, std::move(admission.view), options_);
}

void Member::Leave() {
  {
    base::MutexLock lock(&mutex_);
    if (std::exchange(has_left_, true)) return;
  }
  StopThread();
  generation_->Flush();
  GiveUp(std::make_exception_ptr(MemberDiedError(rank(), "has left the group: this communicator is over")),
         "left the group");
  meeting_.Call<&GroupActor::Leave>().Remote(generation(), uint64_t(rank()));
}

void Member::StopThread() {
  std::thread thread;
  {
    base::MutexLock lock(&mutex_);
    stops_ = true;
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
  base::MutexLock lock(&mutex_);
  stops_ = false;
}

CollectiveStats Member::stats() const {
  base::MutexLock lock(&mutex_);
  return stats_;
}

void ThrowUnlessAdmitted(const Admission& admission, size_t rank) {
  switch (admission.outcome) {
    case Admission::Outcome::kAdmitted:
      return;
    case Admission::Outcome::kInvalid:
      throw InvalidArgumentError(admission.message);
    case Admission::Outcome::kTimeout:
      throw TimeoutError(ErrorCode::kTimeout, "the process group did not form in time: " + admission.message);
    case Admission::Outcome::kDied:
      throw MemberDiedError(rank, admission.message);
  }
}

}  // namespace manta::ml::internal
