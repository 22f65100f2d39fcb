// LocalBackend's pool: tasks wait by shape, and run in threads of which there are as many as resources allow.
#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "api/local_backend.h"
#include "base/log.h"
#include "manta/error.h"
#include "runtime/scheduling.h"

namespace manta::internal {

// `cpus`: without NumCpus.
base::ResourceSet LocalBackend::ShapeOf(const std::map<std::string, double>& custom, std::optional<double> num_cpus,
                                        std::optional<double> num_gpus, int cpus) {
  base::ResourceSet shape;
  const auto set = [&shape](const std::string& name, double amount) {
    const absl::StatusOr<base::Fixed> fixed = base::Fixed::FromDouble(amount);
    if (!fixed.ok()) throw InvalidArgumentError("resource " + name + ": " + base::Message(fixed.status()));
    shape.Set(name, *fixed);
  };
  for (const auto& [name, amount] : custom) set(name, amount);
  set("CPU", num_cpus.value_or(cpus));
  set("GPU", num_gpus.value_or(0));
  return shape;
}

void LocalBackend::QueueTask(const LocalCallPtr& call) {
  const SchedulingHint& hint = call->options.hint;
  if (hint.node > 1 && !hint.soft) {
    ErrorValue error;
    error.code = static_cast<uint16_t>(ErrorCode::kNodeDied);
    error.message = runtime::WhyNever(hint.node, false);
    return Fail(call, error);
  }
  call->state = LocalCall::State::kQueued;
  if (!spec_.total.Fits(call->shape) && call->attempt == 0) {
    MANTA_LOG(kWarning) << FunctionName(call->function) << " needs " << call->shape.ToString()
                        << ", and all there is is " << spec_.total.ToString() << ": it will wait until it is cancelled";
  }
  Shape& shape = shapes_[call->shape.ToJson()];
  shape.resources = call->shape;
  shape.queue.push_back(call);
  WakeTaskThreads();
}

// A task that fits has a thread that will take it: an idle one, or a new one.
void LocalBackend::WakeTaskThreads() {
  if (FindFittingShape() == shapes_.end()) return;
  if (task_threads_idle_ > 0) {
    task_wake_.NotifyOne();
  } else if (task_threads_ < task_threads_max_) {
    ++task_threads_;
    StartThread([this] { RunTaskThread(); });
  }
}

// The shape that fits and whose first task is the oldest.
std::map<std::string, LocalBackend::Shape>::iterator LocalBackend::FindFittingShape() {
  auto best = shapes_.end();
  for (auto at = shapes_.begin(); at != shapes_.end();) {
    std::deque<LocalCallPtr>& queue = at->second.queue;
    while (!queue.empty() && queue.front()->state == LocalCall::State::kDone) queue.pop_front();
    if (queue.empty()) {
      at = shapes_.erase(at);
      continue;
    }
    if (available_.Fits(at->second.resources) &&
        (best == shapes_.end() || queue.front()->key.number < best->second.queue.front()->key.number)) {
      best = at;
    }
    ++at;
  }
  return best;
}

LocalCallPtr LocalBackend::TakeTask() {
  const auto shape = FindFittingShape();
  if (shape == shapes_.end()) return nullptr;
  LocalCallPtr call = std::move(shape->second.queue.front());
  shape->second.queue.pop_front();
  available_.Subtract(call->shape);
  return call;
}

void LocalBackend::RunTaskThread() {
  base::MutexLock lock(&mutex_);
  while (!shut_down_) {
    if (const LocalCallPtr call = TakeTask()) {
      WakeTaskThreads();
      RunTask(call);
    } else {
      ++task_threads_idle_;
      task_wake_.Wait(&mutex_);
      --task_threads_idle_;
    }
  }
  --task_threads_;
}

void LocalBackend::RunTask(const LocalCallPtr& call) {
  call->state = LocalCall::State::kRunning;
  const uint32_t attempt = call->attempt;
  const RunSpec spec{.call = call.get(), .args = call->args, .attempt = attempt};

  mutex_.Unlock();
  Ran ran = Run(spec);
  mutex_.Lock();

  ReturnResources(call->shape);
  if (call->state != LocalCall::State::kRunning) return;  // its timeout ran out
  const int retries = call->options.max_retries.value_or(3);
  const bool retry = ran.error.code == static_cast<uint16_t>(ErrorCode::kTaskError) &&
                     call->options.retry_on_exception && (retries == -1 || attempt < static_cast<uint32_t>(retries)) &&
                     !shut_down_;
  if (retry) {
    ++call->attempt;
    QueueTask(call);
  } else {
    Finish(call, std::move(ran.values), ran.error);
  }
}

void LocalBackend::ReturnResources(const base::ResourceSet& resources) {
  if (resources.empty()) return;
  available_.Add(resources);
  PlaceActors();
  WakeTaskThreads();
}

void LocalBackend::StartThread(std::function<void()> body) {
  ++thread_count_;
  const auto run = [this, body = std::move(body)] {
    body();
    base::MutexLock lock(&mutex_);
    --thread_count_;
    threads_ended_.NotifyAll();
  };
  try {
    std::thread(run).detach();
  } catch (const std::system_error& error) {
    --thread_count_;
    MANTA_LOG(kError) << "no thread for a task or actor: " << error.what();
  }
}

}  // namespace manta::internal
