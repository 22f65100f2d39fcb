#include "tests/sim/workloads.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <string>

#include "tests/sim/functions.h"
#include "tests/sim/node_host.h"
#include "tests/sim/process_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

int64_t Small(Frame& f) { return static_cast<int64_t>(f.Random(1000)); }

Step GetAll(Frame& f, std::vector<Ref> refs) {
  for (size_t i = 0; i < refs.size(); ++i) {
    Ref ref = refs[i];
    co_await f.Get(ref);
    refs[i].reset();
    ref.reset();
  }
}

UserValue Nested(std::vector<Ref> refs) {
  UserValue value;
  value.refs = std::move(refs);
  return value;
}

// ---------------------------------------------------------------- tasks

// A tree of tasks that call tasks: the sum is fanout^depth.
Step Trees(Frame& f) {
  const int64_t depth = 1 + static_cast<int64_t>(f.Random(3));
  const int64_t fanout = 2 + static_cast<int64_t>(f.Random(2));
  int64_t leaves = 1;
  for (int64_t i = 0; i < depth; ++i) leaves *= fanout;
  Ref sum = f.Task(kTree, {depth, fanout}, {.expected = leaves});
  co_await f.Get(sum);
}

// Each task takes the one before as an argument.
Step Chain(Frame& f) {
  int64_t expected = Small(f);
  Ref last = f.Put(UserValue{expected, {}, nullptr});
  const uint64_t length = 2 + f.Random(8);
  for (uint64_t i = 0; i < length; ++i) {
    const int64_t more = Small(f);
    expected += more;
    Ref next = f.Task(kAdd, {last, more}, {.expected = expected});
    last = next;
  }
  co_await f.Get(last);
}

Step Burst(Frame& f) {
  std::vector<Ref> refs;
  const uint64_t count = 5 + f.Random(40);
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t a = Small(f), b = Small(f);
    refs.push_back(f.Task(kAdd, {a, b}, {.expected = a + b}));
  }
  if (f.Random(4) == 0) refs.resize(refs.size() / 2);  // not everybody waits for everything
  co_await GetAll(f, std::move(refs));
}

Step Sleepers(Frame& f) {
  std::vector<Ref> refs;
  for (int i = 0; i < 6; ++i) {
    const int64_t us = static_cast<int64_t>(f.Random(5'000));
    const int64_t number = Small(f);
    refs.push_back(
        f.Task(kSleepAdd, {us, number}, {.max_retries = static_cast<int32_t>(f.Random(3)), .expected = number}));
  }
  co_await GetAll(f, std::move(refs));
}

Step Exceptions(Frame& f) {
  std::vector<Ref> refs;
  refs.push_back(f.Task(kThrow, {1}));
  refs.push_back(f.Task(kAdd, {refs[0], 1}));
  refs.push_back(f.Task(kFlaky, {7}, {.max_retries = 6, .expected = 7, .retry_on_exception = true}));
  co_await GetAll(f, std::move(refs));
}

Step Deadlines(Frame& f) {
  std::vector<Ref> refs;
  for (int i = 0; i < 4; ++i) {
    const int64_t us = static_cast<int64_t>(f.Random(30'000));
    refs.push_back(f.Task(kSleepAdd, {us, 5}, {.expected = 5, .timeout = microseconds(f.Random(20'000) + 500)}));
  }
  refs.push_back(f.Task(kAdd, {refs[0], 1}));
  co_await GetAll(f, std::move(refs));
}

Step Cancels(Frame& f) {
  std::vector<Ref> refs;
  for (int i = 0; i < 6; ++i) refs.push_back(f.Task(kSleepAdd, {2'000, 3}, {.expected = 3}));
  co_await f.Sleep(microseconds(f.Random(3'000)));
  for (size_t i = 0; i < refs.size(); i += 2) f.Cancel(refs[i]);
  co_await GetAll(f, std::move(refs));
}

// ---------------------------------------------------------------- actors

Step ActorChain(Frame& f) {
  const int64_t start = Small(f);
  Ref actor = f.NewActor({start}, {.cpus = static_cast<int>(f.Random(2))});
  std::vector<Ref> refs;
  Ref last = f.Task(kSleepAdd, {static_cast<int64_t>(f.Random(2'000)), 1}, {.expected = 1});
  const uint64_t count = 3 + f.Random(25);
  for (uint64_t i = 0; i < count; ++i) {
    switch (f.Random(5)) {
      case 0:
        last = f.Call(actor, kEcho, {last});  // waits for it, and holds up what comes after
        refs.push_back(last);
        break;
      case 1:
        refs.push_back(f.Call(actor, kFail, {}));
        break;
      case 2: {
        const int64_t a = Small(f), b = Small(f);
        refs.push_back(f.Call(actor, kSpawn, {a, b}, {.max_retries = 0, .expected = a + b}));
        break;
      }
      default:
        refs.push_back(f.Call(actor, kInc, {1}));
    }
  }
  if (f.Random(3) == 0) actor.reset();  // it ends after the calls it has
  co_await GetAll(f, std::move(refs));
}

// One actor calls another, whose handle it was given.
Step Relays(Frame& f) {
  Ref first = f.NewActor({Small(f)}, {.cpus = 0});
  Ref second = f.NewActor({Small(f)}, {.cpus = 0});
  std::vector<Ref> refs;
  for (int i = 0; i < 4; ++i) {
    const int64_t number = Small(f);
    refs.push_back(f.Call(first, kRelay, {Nested({second}), number}, {.max_retries = 0, .expected = number}));
  }
  if (f.Random(2) == 0) second.reset();
  co_await GetAll(f, std::move(refs));
}

Step BadConstructor(Frame& f) {
  Ref actor = f.NewActor({-1});
  std::vector<Ref> refs;
  refs.push_back(f.Call(actor, kInc, {1}));
  refs.push_back(actor);
  co_await GetAll(f, std::move(refs));
}

Step Exits(Frame& f) {
  Ref actor = f.NewActor({1}, {.max_restarts = static_cast<int32_t>(f.Random(2)), .cpus = 0});
  std::vector<Ref> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(f.Call(actor, kInc, {1}));
  if (f.Random(2) == 0) {
    refs.push_back(f.Call(actor, kExit, {}));
  } else {
    co_await f.Sleep(microseconds(f.Random(4'000)));
    f.Kill(actor, f.Random(2) == 0);
  }
  for (int i = 0; i < 3; ++i) refs.push_back(f.Call(actor, kInc, {1}));
  co_await GetAll(f, std::move(refs));
}

std::string NameOf(uint64_t number) { return "hits" + std::to_string(number); }

Step Named(Frame& f) {
  const std::string name = NameOf(f.Random(3));
  Ref actor = co_await f.Find(name);
  if (actor == nullptr) {
    actor = f.NewActor(
        {1}, {.name = name, .max_restarts = static_cast<int32_t>(f.Random(4)), .cpus = static_cast<int>(f.Random(2))});
  }
  std::vector<Ref> refs;
  for (int i = 0; i < 8; ++i) {
    const int64_t number = Small(f);
    const int32_t retries = f.Random(2) == 0 ? 0 : 3;
    if (f.Random(2) == 0) {
      refs.push_back(f.Call(actor, kEcho, {number}, {.max_retries = retries, .expected = number}));
    } else {
      refs.push_back(
          f.Call(actor, kSlow, {static_cast<int64_t>(f.Random(1'500))}, {.max_retries = retries, .expected = 0}));
    }
  }
  if (f.Random(8) == 0) {
    f.Kill(actor, f.Random(2) == 0);
    refs.push_back(f.Call(actor, kInc, {1}));
  }
  co_await GetAll(f, std::move(refs));
}

std::string KeptNameOf(uint64_t number) { return "kept" + std::to_string(number); }
constexpr uint64_t kKeptNames = 2;

// It outlives the driver that made it; other drivers find it.
Step Detached(Frame& f) {
  const std::string name = KeptNameOf(f.Random(kKeptNames));
  Ref actor = co_await f.Find(name);
  if (actor == nullptr) {
    const auto restarts = static_cast<int32_t>(f.Random(4));
    actor = f.NewActor({1}, {.name = name, .max_restarts = restarts, .cpus = 0, .detached = true});
  }
  std::vector<Ref> refs;
  for (int i = 0; i < 4; ++i) {
    const int64_t number = Small(f);
    refs.push_back(f.Call(actor, kEcho, {number}, {.max_retries = 2, .expected = number}));
    const int64_t a = Small(f);
    refs.push_back(f.Call(actor, kSpawn, {a, number}, {.max_retries = 0, .expected = a + number}));
  }
  if (f.Random(6) == 0) f.Kill(actor, f.Random(2) == 0);
  actor.reset();
  co_await GetAll(f, std::move(refs));
}

Step Restartable(Frame& f) {
  Ref held = f.Put(UserValue{9, {}, nullptr});
  UserValue start;
  start.number = 5;
  start.refs.push_back(held);
  Ref actor = f.NewActor({start}, {.max_restarts = 3, .cpus = 0});
  start.refs.clear();
  held.reset();
  std::vector<Ref> refs;
  for (int i = 0; i < 10; ++i) {
    const int64_t number = Small(f);
    refs.push_back(f.Call(actor, kEcho, {number}, {.max_retries = i % 2 == 0 ? 5 : 0, .expected = number}));
    if (i == 3) f.Kill(actor, false);
    if (i == 6) refs.push_back(f.Call(actor, kSumHeld, {}, {.max_retries = 2}));
    if (f.Random(3) == 0) co_await f.Sleep(microseconds(f.Random(2'000)));
  }
  co_await GetAll(f, std::move(refs));
}

// ---------------------------------------------------------------- refs

// Small, large and pending ones.
Step SomeRefs(Frame& f, std::vector<Ref>* refs, int64_t* sum) {
  const uint64_t count = 1 + f.Random(4);
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t number = Small(f);
    UserValue value;
    value.number = number;
    switch (f.Random(4)) {
      case 0: {
        Ref ref = co_await f.PutLarge(std::move(value), 66'000 + f.Random(200'000));
        if (ref == nullptr) continue;
        refs->push_back(ref);
        break;
      }
      case 1:
        refs->push_back(f.Task(kSleepAdd, {static_cast<int64_t>(f.Random(4'000)), number}, {.expected = number}));
        break;
      case 2:
        refs->push_back(
            f.Task(kMakeLarge, {number, static_cast<int64_t>(66'000 + f.Random(200'000))}, {.expected = number}));
        break;
      default:
        refs->push_back(f.Put(std::move(value)));
    }
    *sum += number;
  }
}

// Handed from borrower to borrower; the driver drops its own at any time.
Step Borrowers(Frame& f) {
  std::vector<Ref> refs;
  int64_t sum = 0;
  co_await SomeRefs(f, &refs, &sum);
  const int64_t hops = static_cast<int64_t>(f.Random(4));
  Ref total = f.Task(kPass, {Nested(refs), hops}, {.expected = sum});
  if (f.Random(2) == 0) refs.clear();
  Ref kept = f.Task(kKeep, {Nested(refs), static_cast<int64_t>(f.Random(2'000))});
  co_await f.Get(total);
  refs.clear();
  co_await f.Get(kept);
}

Step Given(Frame& f) {
  const int64_t count = 1 + static_cast<int64_t>(f.Random(4));
  const int64_t base = Small(f);
  Ref given = f.Task(kGiveRefs, {count, base}, {.expected = count});
  Got got = co_await f.Get(given);
  if (!got.ok()) co_return;
  if (f.Random(2) == 0) given.reset();
  const int64_t sum = count * base + count * (count - 1) / 2;
  Ref total = f.Task(kSumNested, {Nested(got.value.refs)}, {.expected = sum});
  std::vector<Ref> refs = got.value.refs;
  got.value.refs.clear();
  if (f.Random(2) == 0) co_await GetAll(f, std::move(refs));
  refs.clear();
  co_await f.Get(total);
}

Step Holders(Frame& f) {
  Ref actor = f.NewActor({Small(f)}, {.cpus = 0});
  std::vector<Ref> refs;
  int64_t sum = 0;
  co_await SomeRefs(f, &refs, &sum);
  Ref held = f.Call(actor, kHold, {Nested(refs)});
  refs.clear();
  co_await f.Sleep(microseconds(f.Random(3'000)));
  Ref total = f.Call(actor, kSumHeld, {}, {.max_retries = 0, .expected = sum});
  Ref given = f.Call(actor, kGiveHeld, {});
  Ref dropped = f.Call(actor, kDropHeld, {});
  Got got = co_await f.Get(given);
  if (got.ok()) {
    std::vector<Ref> back = std::move(got.value.refs);
    got.value.refs.clear();
    given.reset();
    co_await GetAll(f, std::move(back));
  }
  co_await f.Get(total);
  co_await f.Get(dropped);
}

// Two levels of nesting: an object whose refs are held by its home.
Step Boxes(Frame& f) {
  std::vector<Ref> refs;
  int64_t sum = 0;
  co_await SomeRefs(f, &refs, &sum);
  UserValue inner = Nested(refs);
  refs.clear();
  inner.number = 1;
  Ref box = f.Random(2) == 0 ? f.Put(std::move(inner)) : Ref();
  if (box == nullptr) {
    box = co_await f.PutLarge(std::move(inner), 80'000);
    if (box == nullptr) co_return;
  }
  Ref outer = f.Put(Nested({box}));
  Ref passed = f.Task(kPass, {Nested({outer, box}), 2}, {.expected = 1});
  box.reset();
  outer.reset();
  co_await f.Get(passed);
}

// ---------------------------------------------------------------- large objects

Step Producers(Frame& f) {
  std::vector<Ref> large;
  int64_t sum = 0;
  const uint64_t count = 2 + f.Random(5);
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t number = Small(f);
    const uint64_t bytes = f.Random(4) == 0 ? 1'100'000 + f.Random(900'000) : 70'000 + f.Random(400'000);
    if (f.Random(2) == 0) {
      UserValue value;
      value.number = number;
      Ref ref = co_await f.PutLarge(std::move(value), bytes);
      if (ref == nullptr) continue;
      large.push_back(ref);
    } else {
      large.push_back(f.Task(kMakeLarge, {number, static_cast<int64_t>(bytes)}, {.expected = number}));
    }
    sum += number;
  }
  std::vector<Ref> reads;
  for (int i = 0; i < 3; ++i) {
    std::vector<Arg> args;
    for (const Ref& ref : large) args.push_back(ref);
    reads.push_back(f.Task(kReadLarge, std::move(args), {.expected = sum}));
  }
  Ref actor = f.NewActor({Small(f)}, {.cpus = 0});
  for (const Ref& ref : large) reads.push_back(f.Call(actor, kHoldView, {ref}));
  if (f.Random(2) == 0) {
    // The value is read here, too, and its memory stays while the view does.
    Ref one = large.empty() ? Ref() : large[0];
    large.clear();
    if (one != nullptr) {
      const Got got = co_await f.Get(one);
      one.reset();
      co_await f.Sleep(microseconds(f.Random(5'000)));
      if (got.ok() && got.value.view) got.value.view->Check();
    }
  }
  large.clear();
  co_await GetAll(f, std::move(reads));
}

// ---------------------------------------------------------------- where it runs, and again

constexpr rpc::SchedulingHint kSpread{.spreading = rpc::Spreading::kSpread};

// A node that lives, was, or (seldom) never was, as the own node has heard.
rpc::SchedulingHint SomeNode(Frame& f) {
  const uint64_t pick = f.Random(1'000);
  const bool never = f.Random(12) == 0;
  const bool hard = f.Random(3) != 0;
  const std::set<NodeId>& known = f.process()->node()->heard_of();
  if (never || known.empty()) return {.affinity = Oracle::kNoSuchNode, .affinity_hard = hard};
  return {.affinity = *std::next(known.begin(), static_cast<std::ptrdiff_t>(pick % known.size())),
          .affinity_hard = hard};
}

Step Placed(Frame& f) {
  std::vector<Ref> refs;
  for (int i = 0; i < 6; ++i) {
    const int64_t number = Small(f);
    const bool spread = f.Random(2) == 0;
    const rpc::SchedulingHint hint = spread ? kSpread : SomeNode(f);
    refs.push_back(
        f.Task(kSleepAdd, {static_cast<int64_t>(f.Random(1'000)), number}, {.expected = number, .hint = hint}));
  }
  const int64_t number = Small(f);
  const rpc::SchedulingHint hint = SomeNode(f);
  Ref actor = f.NewActor({number}, {.max_restarts = static_cast<int32_t>(f.Random(3)), .cpus = 0, .hint = hint});
  refs.push_back(f.Call(actor, kEcho, {number}, {.max_retries = 3, .expected = number}));
  refs.push_back(actor);
  actor.reset();
  co_await GetAll(f, std::move(refs));
}

// Large results all over the cluster, computed from one another; most are read when their nodes may have died.
Step Recomputed(Frame& f) {
  std::vector<Ref> refs;
  int64_t expected = Small(f);
  const uint64_t first_bytes = 70'000 + f.Random(100'000);
  Ref last = f.Task(kMakeLarge, {expected, static_cast<int64_t>(first_bytes)}, {.expected = expected, .hint = kSpread});
  const uint64_t length = 2 + f.Random(4);
  for (uint64_t i = 0; i < length; ++i) {
    const int64_t more = Small(f);
    const int64_t bytes = 70'000 + static_cast<int64_t>(f.Random(100'000));
    expected += more;
    Ref next = f.Task(kGrow, {last, more, bytes}, {.expected = expected, .hint = kSpread});
    if (f.Random(2) == 0) refs.push_back(last);
    last = next;
  }
  refs.push_back(last);
  co_await f.Sleep(milliseconds(f.Random(2'000)));
  refs.push_back(f.Task(kReadLarge, {last}, {.expected = expected}));
  refs.push_back(f.Task(kSumNested, {Nested({last})}, {.expected = expected}));
  last.reset();
  co_await GetAll(f, std::move(refs));
}

// ---------------------------------------------------------------- mains

using Op = Step (*)(Frame&);

template <typename Ops>
Step Loop(Frame& f, const Ops& ops) {
  while (f.alive() && f.world()->WantsMore()) {
    const Op op = ops[f.Random(ops.size())];
    co_await op(f);
    co_await f.Sleep(microseconds(1 + f.Random(500)));
  }
}

constexpr std::array<Op, 9> kTreeOps = {Trees, Chain, Burst, Sleepers, Exceptions, Deadlines, Cancels, Trees, Placed};
constexpr std::array<Op, 6> kActorOps = {ActorChain, ActorChain, Relays, BadConstructor, Exits, Chain};
constexpr std::array<Op, 6> kRefOps = {Borrowers, Given, Holders, Boxes, Borrowers, Recomputed};
constexpr std::array<Op, 5> kNamedOps = {Named, Named, Restartable, Burst, Detached};
constexpr std::array<Op, 4> kLargeOps = {Producers, Given, Producers, Recomputed};
constexpr std::array<Op, 20> kMixedOps = {
    Trees, Chain, Burst,       Sleepers,  Exceptions, Deadlines, Cancels, ActorChain, Relays, BadConstructor,
    Exits, Named, Restartable, Borrowers, Given,      Holders,   Boxes,   Producers,  Placed, Recomputed};

Script TreeThread(Frame& f) { co_await Loop(f, kTreeOps); }
Script ActorThread(Frame& f) { co_await Loop(f, kActorOps); }
Script RefThread(Frame& f) { co_await Loop(f, kRefOps); }
Script LargeThread(Frame& f) { co_await Loop(f, kLargeOps); }

// Named actors live until they are killed.
Step KillNamed(Frame& f) {
  for (uint64_t i = 0; i < 3 && f.alive(); ++i) {
    Ref actor = co_await f.Find(NameOf(i));
    if (actor != nullptr) f.Kill(actor, true);
  }
}

Script MixedThread(Frame& f) {
  co_await Loop(f, kMixedOps);
  co_await KillNamed(f);
}
Script NamedThread(Frame& f) {
  co_await Loop(f, kNamedOps);
  co_await KillNamed(f);
}

// Of the last driver.
Script KillKept(Frame& f) {
  for (uint64_t i = 0; i < kKeptNames && f.alive(); ++i) {
    Ref actor = co_await f.Find(KeptNameOf(i));
    if (actor != nullptr) f.Kill(actor, true);
  }
}

template <Function kThread>
Script TwoThreads(Frame& f) {
  f.StartThread(kThread);
  f.StartThread(kThread);
  co_return;
}

}  // namespace

const std::vector<Workload>& Workloads() {
  constexpr uint64_t kRoomy = 256 << 20;
  //  name       main                     invariant                                       drivers nodes cpus store
  static const std::vector<Workload> workloads = {
      {"trees", TwoThreads<TreeThread>, "the sum of a tree is its leaves", 2, 2, 4, 2, kRoomy, false},
      {"actors", TwoThreads<ActorThread>, "an actor runs each caller's calls in order", 2, 2, 3, 2, kRoomy, false},
      {"refs", TwoThreads<RefThread>, "what somebody holds is there", 2, 2, 4, 2, kRoomy, false},
      {"named", TwoThreads<NamedThread>, "a name leads to one actor, its newest incarnation", 2, 2, 4, 2, kRoomy, false,
       KillKept},
      {"large", TwoThreads<LargeThread>, "memory is not reused under a reader", 2, 2, 3, 3, 24 << 20, true},
      {"mixed", TwoThreads<MixedThread>, "all of these", 2, 2, 4, 3, 64 << 20, true},
  };
  return workloads;
}

const Workload* FindWorkload(std::string_view name) {
  const auto it =
      std::find_if(Workloads().begin(), Workloads().end(), [&](const Workload& w) { return w.name == name; });
  return it == Workloads().end() ? nullptr : &*it;
}

}  // namespace manta::sim
