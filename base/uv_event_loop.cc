#include "base/uv_event_loop.h"

#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace manta::base {
namespace {

void CheckUv(int result, const char* what) { MANTA_CHECK(result == 0) << what << ": " << uv_strerror(result); }

}  // namespace

// Timers are ours, on one timerfd: libuv's own round to milliseconds, and a doorbell's pause is 50 us.
class UvEventLoop::Impl {
 public:
  Impl();
  ~Impl();

  void Post(Function fn);
  void Stop();
  void Run();
  void RunOnce();
  bool IsLoopThread() const;

  TimerId RunAfter(Duration after, Function fn);
  void CancelTimer(TimerId id);

  uint64_t AddWatch(int fd, int events, FdFunction fn);
  void SetWatchEvents(uint64_t id, int events);
  void RemoveWatch(uint64_t id);

  uv_loop_t* loop() { return &loop_; }
  int backend_fd() const { return uv_backend_fd(&loop_); }

 private:
  struct Watch {
    uv_poll_t poll;
    int events = 0;
    uint64_t id = 0;
    Impl* impl = nullptr;
    FdFunction fn;
  };
  class Turn;

  void RunPosted();
  void DropPosted();
  void RunTimers();
  void ArmTimer(Time at);
  void StartWatch(Watch* watch);
  static void OnPoll(uv_poll_t* poll, int status, int events);

  // Immutable.
  SystemClock clock_;

  // Thread-safe.
  uv_async_t async_;
  std::atomic<bool> stop_requested_{false};
  std::atomic<std::thread::id> running_thread_{};
  Mutex mutex_;
  std::vector<Function> posted_ MANTA_GUARDED_BY(mutex_);

  // Loop-confined.
  uv_loop_t loop_;
  bool in_run_ = false;
  UniqueFd timer_fd_;
  uv_poll_t timer_poll_;
  Time armed_for_ = kInfiniteFuture;
  TimerId next_timer_ = 1;
  std::map<std::pair<Time, TimerId>, Function> timers_;
  std::map<TimerId, Time> timer_times_;
  uint64_t next_watch_ = 1;
  std::map<uint64_t, Watch*> watches_;  // a Watch is deleted by libuv's close callback
};

// Marks the calling thread as the loop's for as long as it runs it.
class UvEventLoop::Impl::Turn {
 public:
  explicit Turn(Impl* impl) : impl_(impl) {
    std::thread::id nobody{};
    MANTA_CHECK(impl_->running_thread_.compare_exchange_strong(nobody, std::this_thread::get_id()))
        << "the loop is running already";
  }
  ~Turn() { impl_->running_thread_.store(std::thread::id{}); }

 private:
  Impl* const impl_;
};

UvEventLoop::Impl::Impl() : timer_fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  MANTA_CHECK(timer_fd_.get() >= 0) << "timerfd_create: errno " << errno;
  CheckUv(uv_loop_init(&loop_), "uv_loop_init");
  CheckUv(uv_async_init(&loop_, &async_, [](uv_async_t* async) { static_cast<Impl*>(async->data)->RunPosted(); }),
          "uv_async_init");
  async_.data = this;
  CheckUv(uv_poll_init(&loop_, &timer_poll_, timer_fd_.get()), "uv_poll_init timerfd");
  timer_poll_.data = this;
  CheckUv(uv_poll_start(&timer_poll_, UV_READABLE,
                        [](uv_poll_t* poll, int, int) { static_cast<Impl*>(poll->data)->RunTimers(); }),
          "uv_poll_start timerfd");
}

UvEventLoop::Impl::~Impl() {
  MANTA_DCHECK(IsLoopThread());
  DropPosted();
  MANTA_CHECK(watches_.empty()) << watches_.size() << " watches outlive their loop";
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_poll_), nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  const int result = uv_loop_close(&loop_);
  MANTA_CHECK(result == 0) << "libuv handles outlive their loop: " << uv_strerror(result);
}

// What was posted and is not run may own watches of this loop.
void UvEventLoop::Impl::DropPosted() {
  decltype(posted_) dropped;
  do {
    dropped.clear();
    const MutexLock lock(&mutex_);
    dropped.swap(posted_);
  } while (!dropped.empty());
}

void UvEventLoop::Impl::Post(Function fn) {
  {
    MutexLock lock(&mutex_);
    posted_.push_back(std::move(fn));
    if (posted_.size() > 1) return;  // the bell of the first one has been rung and not been answered
  }
  uv_async_send(&async_);
}

void UvEventLoop::Impl::Stop() {
  stop_requested_.store(true);
  uv_async_send(&async_);
}

void UvEventLoop::Impl::Run() {
  Turn turn(this);
  in_run_ = true;
  uv_run(&loop_, stop_requested_.load() ? UV_RUN_NOWAIT : UV_RUN_DEFAULT);
  in_run_ = false;
  stop_requested_.store(false);
}

void UvEventLoop::Impl::RunOnce() {
  Turn turn(this);
  uv_run(&loop_, UV_RUN_NOWAIT);
}

bool UvEventLoop::Impl::IsLoopThread() const {
  const std::thread::id running = running_thread_.load();
  return running == std::thread::id{} || running == std::this_thread::get_id();
}

void UvEventLoop::Impl::RunPosted() {
  // Read before the queue is taken: what was posted before Stop() is in the queue then.
  const bool stop = stop_requested_.load();
  std::vector<Function> posted;
  {
    MutexLock lock(&mutex_);
    posted.swap(posted_);
  }
  for (Function& fn : posted) {
    fn();
    fn = nullptr;  // what it holds ends before the next one runs
  }
  if (stop && in_run_) uv_stop(&loop_);
}

TimerId UvEventLoop::Impl::RunAfter(Duration after, Function fn) {
  MANTA_DCHECK(IsLoopThread());
  const Time at = SaturatingAdd(clock_.Now(), std::max(after, Duration::zero()));
  const TimerId id = next_timer_++;
  timers_.emplace(std::pair(at, id), std::move(fn));
  timer_times_.emplace(id, at);
  if (at < armed_for_) ArmTimer(at);
  return id;
}

void UvEventLoop::Impl::CancelTimer(TimerId id) {
  MANTA_DCHECK(IsLoopThread());
  const auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return;
  // The timerfd stays armed: one empty wake-up is cheaper than a system call per cancelled timeout.
  timers_.erase({found->second, id});
  timer_times_.erase(found);
}

void UvEventLoop::Impl::RunTimers() {
  uint64_t expirations;
  [[maybe_unused]] const ssize_t size = read(timer_fd_.get(), &expirations, sizeof(expirations));
  const Time now = clock_.Now();
  armed_for_ = kInfiniteFuture;
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto due = timers_.extract(timers_.begin());
    timer_times_.erase(due.key().second);
    due.mapped()();
  }
  if (!timers_.empty() && timers_.begin()->first.first < armed_for_) ArmTimer(timers_.begin()->first.first);
}

void UvEventLoop::Impl::ArmTimer(Time at) {
  if (at == kInfiniteFuture) return;
  armed_for_ = at;
  const int64_t nanos = std::max<int64_t>(ToNanos(at), 1);  // 0 would disarm it
  itimerspec spec{};
  spec.it_value.tv_sec = nanos / 1'000'000'000;
  spec.it_value.tv_nsec = nanos % 1'000'000'000;
  MANTA_CHECK(timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0) << "errno " << errno;
}

uint64_t UvEventLoop::Impl::AddWatch(int fd, int events, FdFunction fn) {
  MANTA_DCHECK(IsLoopThread());
  auto* watch = new Watch;
  CheckUv(uv_poll_init(&loop_, &watch->poll, fd), "uv_poll_init");
  watch->poll.data = watch;
  watch->events = events;
  watch->id = next_watch_++;
  watch->impl = this;
  watch->fn = std::move(fn);
  watches_.emplace(watch->id, watch);
  StartWatch(watch);
  return watch->id;
}

void UvEventLoop::Impl::StartWatch(Watch* watch) {
  const int uv_events =
      ((watch->events & kReadable) ? UV_READABLE : 0) | ((watch->events & kWritable) ? UV_WRITABLE : 0);
  if (uv_events == 0) {
    uv_poll_stop(&watch->poll);
  } else {
    CheckUv(uv_poll_start(&watch->poll, uv_events, OnPoll), "uv_poll_start");
  }
}

void UvEventLoop::Impl::OnPoll(uv_poll_t* poll, int status, int uv_events) {
  auto* watch = static_cast<Watch*>(poll->data);
  int events = ((uv_events & UV_READABLE) ? kReadable : 0) | ((uv_events & UV_WRITABLE) ? kWritable : 0);
  // An error shows as readable: reading tells which one.
  if (status < 0) events = kReadable | (watch->events & kWritable);
  Impl* impl = watch->impl;
  const uint64_t id = watch->id;
  watch->fn(events);
  // libuv has stopped a watch whose descriptor is in error; ours last until they are ended.
  if (status < 0 && impl->watches_.contains(id)) impl->StartWatch(watch);
}

void UvEventLoop::Impl::SetWatchEvents(uint64_t id, int events) {
  MANTA_DCHECK(IsLoopThread());
  Watch* watch = watches_.at(id);
  if (watch->events == events) return;
  watch->events = events;
  StartWatch(watch);
}

void UvEventLoop::Impl::RemoveWatch(uint64_t id) {
  MANTA_DCHECK(IsLoopThread());
  const auto found = watches_.find(id);
  MANTA_CHECK(found != watches_.end());
  Watch* watch = found->second;
  watches_.erase(found);
  uv_poll_stop(&watch->poll);
  // Not deleted here: its function may be the one that runs.
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->poll),
           [](uv_handle_t* handle) { delete static_cast<Watch*>(handle->data); });
}

UvEventLoop::UvEventLoop() : impl_(std::make_unique<Impl>()) {}
UvEventLoop::~UvEventLoop() = default;

Time UvEventLoop::Now() const { return SystemClock().Now(); }
void UvEventLoop::Post(Function fn) { impl_->Post(std::move(fn)); }
TimerId UvEventLoop::RunAfter(Duration after, Function fn) { return impl_->RunAfter(after, std::move(fn)); }
void UvEventLoop::CancelTimer(TimerId id) { impl_->CancelTimer(id); }
void UvEventLoop::Run() { impl_->Run(); }
void UvEventLoop::RunOnce() { impl_->RunOnce(); }
void UvEventLoop::Stop() { impl_->Stop(); }
bool UvEventLoop::IsLoopThread() const { return impl_->IsLoopThread(); }
uv_loop_s* UvEventLoop::uv_loop() { return impl_->loop(); }
int UvEventLoop::backend_fd() const { return impl_->backend_fd(); }
uint64_t UvEventLoop::AddWatch(int fd, int events, FdFunction fn) { return impl_->AddWatch(fd, events, std::move(fn)); }
void UvEventLoop::SetWatchEvents(uint64_t id, int events) { impl_->SetWatchEvents(id, events); }
void UvEventLoop::RemoveWatch(uint64_t id) { impl_->RemoveWatch(id); }

}  // namespace manta::base
