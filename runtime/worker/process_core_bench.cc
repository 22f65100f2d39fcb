// The cost of one actor call, and of one task, in the two cores that it passes through: no channel, no codec, no
// thread.
//
//   process_core_bench [calls]      prints CPU ns per step and per call; "build" is the bench's own (events, vectors)
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "runtime/worker/process_core.h"

namespace manta::runtime {
namespace {

constexpr ProcessId kCaller{1, 1};
constexpr ProcessId kWorker{1, 2};
constexpr ActorId kActor{kCaller, 1};
constexpr LeaseId kLease{1, 1};

enum Step { kBuild, kSubmit, kRequest, kExecuted, kReply, kDrop, kSteps };
const char* const kStepNames[kSteps] = {"build (the bench's own)", "SubmitCall -> CallRequest",
                                        "CallRequest -> Execute",  "Executed -> CallReply",
                                        "CallReply -> Complete",   "RefDropped"};

// Of this thread: what else runs on the machine does not count.
uint64_t CpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

class Bench {
 public:
  Bench() : caller_({.self = kCaller, .job = 1}), worker_({.self = kWorker, .job = 1}) {}

  void CreateActor() {
    SubmitActor create;
    create.spec.actor = kActor;
    create.spec.class_name = "Counter";
    create.handle = 1;
    Feed(&caller_, std::move(create));
    rpc::ActorConstruct construct;
    construct.spec.actor = kActor;
    construct.incarnation = 1;
    Feed(&worker_, MessageReceived{DaemonOf(1), std::move(construct)});
    Feed(&worker_, Constructed{kActor, 1, {}});
    rpc::ActorUpdate alive;
    alive.actor = kActor;
    alive.version = 1;
    alive.state = rpc::ActorState::kAlive;
    alive.incarnation = 1;
    alive.worker = kWorker;
    Feed(&caller_, MessageReceived{DaemonOf(1), std::move(alive)});
    Feed(&caller_, PeerConnected{kWorker});
  }

  // All calls in flight are in one step at a time: with many, the state that a step leaves is cold for the next.
  void Run(const char* what, bool task, uint64_t calls, uint64_t in_flight) {
    uint64_t spent[kSteps] = {};
    uint64_t done = 0;
    for (uint64_t round = 0; done < calls; ++round) {
      const bool warm = round >= 4;
      const uint64_t batch = round == 0 ? 1 : in_flight;  // the first task's run time must be known
      uint64_t at = CpuNs();
      const auto lap = [&](Step step) {
        const uint64_t now = CpuNs();
        if (warm) spent[step] += now - at;
        at = now;
      };
      std::vector<ProcessEvent> events;
      events.reserve(batch);
      const uint64_t first = next_number_;
      for (uint64_t i = 0; i < batch; ++i) events.push_back(MakeCall(task));
      lap(kBuild);
      FeedAll(&caller_, &events);
      lap(kSubmit);
      if (task) GrantLease();
      events = Deliver(kCaller);
      lap(kBuild);
      FeedAll(&worker_, &events);
      lap(kRequest);
      events.clear();
      for (uint64_t i = 0; i < batch; ++i) events.push_back(MakeExecuted(first + i));
      lap(kBuild);
      FeedAll(&worker_, &events);  // each lets the next one run
      lap(kExecuted);
      events = Deliver(kWorker);
      lap(kBuild);
      FeedAll(&caller_, &events);
      lap(kReply);
      actions_.clear();
      events.clear();
      for (uint64_t i = 0; i < batch; ++i) events.push_back(RefDropped{{kCaller, first + i, 0}, first + i});
      lap(kBuild);
      FeedAll(&caller_, &events);
      lap(kDrop);
      actions_.clear();
      if (warm) done += batch;
    }
    std::printf("%s, %llu in flight\n", what, static_cast<unsigned long long>(in_flight));
    uint64_t total = 0;
    for (int step = 0; step < kSteps; ++step) {
      std::printf("  %-26s %7.1f ns\n", kStepNames[step], static_cast<double>(spent[step]) / static_cast<double>(done));
      if (step != kBuild) total += spent[step];
    }
    std::printf("  %-26s %7.1f ns\n", "core, per call", static_cast<double>(total) / static_cast<double>(done));
    const ProcessCounts counts = caller_.counts();
    if (counts.calls_pending != 0 || worker_.counts().mailbox_calls != 0) {
      std::printf("%llu calls pending, %llu in the mailbox: the bench is broken\n",
                  static_cast<unsigned long long>(counts.calls_pending),
                  static_cast<unsigned long long>(worker_.counts().mailbox_calls));
      std::exit(1);
    }
  }

 private:
  ProcessEvent MakeCall(bool task) {
    SubmitCall call;
    call.number = next_number_++;
    call.function = 7;
    call.function_name = "Counter::Add";
    const int64_t by = 1;
    call.args.resize(1);
    call.args[0].bytes = Bytes(&by, sizeof by);
    call.returns.push_back(call.number);
    if (task) {
      call.shape = shape_;
    } else {
      call.actor = kActor;
      call.max_retries = 0;
    }
    return call;
  }

  static ProcessEvent MakeExecuted(uint64_t number) {
    Executed executed;
    executed.call = {kCaller, number};
    executed.run_ns = 100;
    const int64_t result = 2;
    executed.returns.resize(1);
    executed.returns[0].bytes = Bytes(&result, sizeof result);
    return executed;
  }

  void GrantLease() {
    // The first calls of a task wait for their lease.
    std::vector<ProcessAction> actions = std::move(actions_);
    actions_.clear();
    for (ProcessAction& action : actions) {
      SendMessage* send = std::get_if<SendMessage>(&action);
      const auto* request = send != nullptr ? std::get_if<rpc::LeaseRequest>(&send->message) : nullptr;
      if (request == nullptr) {
        actions_.push_back(std::move(action));
      } else if (request->request == 1) {
        rpc::LeaseGrant grant;
        grant.request = request->request;
        grant.lease = kLease;
        grant.worker = kWorker;
        Feed(&caller_, MessageReceived{DaemonOf(1), std::move(grant)}, false);
      }
    }
  }

  std::vector<ProcessEvent> Deliver(ProcessId from) {
    std::vector<ProcessEvent> events;
    events.reserve(actions_.size());
    for (ProcessAction& action : actions_) {
      SendMessage* send = std::get_if<SendMessage>(&action);
      if (send != nullptr && send->to.is_user_process())
        events.push_back(MessageReceived{from, std::move(send->message)});
    }
    actions_.clear();
    return events;
  }

  void Feed(ProcessCore* core, ProcessEvent event, bool clear = true) {
    core->Handle(time_, std::move(event), &actions_);
    if (clear) actions_.clear();
  }
  void FeedAll(ProcessCore* core, std::vector<ProcessEvent>* events) {
    for (ProcessEvent& event : *events) core->Handle(time_, std::move(event), &actions_);
  }

  ProcessCore caller_;
  ProcessCore worker_;
  Time time_ = TimeFromNanos(1'000'000'000);
  uint64_t next_number_ = 2;
  ResourceSet shape_{{"CPU", base::Fixed(1)}};
  std::vector<ProcessAction> actions_;
};

}  // namespace
}  // namespace manta::runtime

int main(int argc, char** argv) {
  const uint64_t calls = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  manta::runtime::Bench bench;
  bench.CreateActor();
  for (const uint64_t in_flight : {32, 1000}) bench.Run("actor call", false, calls, in_flight);
  for (const uint64_t in_flight : {32, 500}) bench.Run("task", true, calls, in_flight);
}
