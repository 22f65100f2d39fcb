#include "tests/sim/functions.h"

#include <array>

#include "base/check.h"
#include "tests/sim/script.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;

// What several scripts do: adds up what the refs are. `error` is the first one.
Step SumRefs(Frame& f, const std::vector<Ref>& refs, int64_t* sum, rpc::ErrorInfo* error) {
  for (size_t i = 0; i < refs.size(); ++i) {
    Ref ref = refs[i];
    const Got got = co_await f.Get(ref);
    if (!got.ok()) {
      if (!*error) *error = got.error;
    } else {
      *sum += got.value.number;
    }
  }
}

// ---------------------------------------------------------------- tasks

Script Add(Frame& f) {
  int64_t sum = 0;
  for (size_t i = 0; i < f.arg_count(); ++i) sum += f.arg(i).number;
  f.Return(sum);
  co_return;
}

Script SleepAdd(Frame& f) {
  co_await f.Sleep(microseconds(f.arg(0).number));
  f.Return(f.arg(1).number);
}

Script Tree(Frame& f) {
  const int64_t depth = f.arg(0).number;
  const int64_t fanout = f.arg(1).number;
  if (depth == 0) {
    f.Return(1);
    co_return;
  }
  int64_t below = 1;
  for (int64_t i = 1; i < depth; ++i) below *= fanout;
  std::vector<Ref> refs;
  for (int64_t i = 0; i < fanout; ++i) refs.push_back(f.Task(kTree, {depth - 1, fanout}, {.expected = below}));
  int64_t sum = 0;
  rpc::ErrorInfo error;
  co_await SumRefs(f, refs, &sum, &error);
  if (error) {
    f.Throw(error);
  } else {
    f.Return(sum);
  }
}

Script MakeLarge(Frame& f) {
  UserValue value;
  value.number = f.arg(0).number;
  co_await f.ReturnLarge(std::move(value), static_cast<uint64_t>(f.arg(1).number));
}

Script Grow(Frame& f) {
  UserValue value;
  value.number = f.arg(0).number + f.arg(1).number;
  co_await f.ReturnLarge(std::move(value), static_cast<uint64_t>(f.arg(2).number));
}

Script SumNested(Frame& f) {
  int64_t sum = 0;
  rpc::ErrorInfo error;
  co_await SumRefs(f, f.arg(0).refs, &sum, &error);
  if (error) {
    f.Throw(error);
  } else {
    f.Return(sum);
  }
}

Script Pass(Frame& f) {
  const int64_t hops = f.arg(1).number;
  int64_t sum = 0;
  rpc::ErrorInfo error;
  if (hops == 0) {
    co_await SumRefs(f, f.arg(0).refs, &sum, &error);
  } else {
    Ref next;
    {
      std::vector<Arg> args;
      args.push_back(f.arg(0));
      args.push_back(hops - 1);
      next = f.Task(kPass, std::move(args));
    }
    if (f.Random(2) == 0) f.mutable_arg(0).refs.clear();
    const Got got = co_await f.Get(next);
    if (got.ok()) {
      sum = got.value.number;
    } else {
      error = got.error;
    }
  }
  if (error) {
    f.Throw(error);
  } else {
    f.Return(sum);
  }
}

Script GiveRefs(Frame& f) {
  const int64_t count = f.arg(0).number;
  const int64_t base = f.arg(1).number;
  UserValue result;
  result.number = count;
  for (int64_t i = 0; i < count; ++i) {
    UserValue value;
    value.number = base + i;
    const uint64_t draw = f.Random(4);
    if (draw == 0) {
      result.refs.push_back(
          f.Task(kSleepAdd, {static_cast<int64_t>(f.Random(3000)), base + i}, {.expected = base + i}));
    } else if (draw == 1) {
      Ref ref = co_await f.PutLarge(std::move(value), 70'000 + f.Random(300'000));
      if (ref == nullptr) {
        UserValue small;
        small.number = base + i;
        ref = f.Put(std::move(small));
      }
      result.refs.push_back(ref);
    } else {
      result.refs.push_back(f.Put(std::move(value)));
    }
  }
  f.Return(std::move(result));
}

Script Throw(Frame& f) {
  f.Throw("thrown by user code");
  co_return;
}

Script Flaky(Frame& f) {
  if (f.Random(2) == 0) {
    f.Throw("now and then");
  } else {
    f.Return(f.arg(0).number);
  }
  co_return;
}

Script Keep(Frame& f) {
  auto& refs = f.mutable_arg(0).refs;
  const int64_t count = static_cast<int64_t>(refs.size());
  while (!refs.empty()) {
    co_await f.Sleep(microseconds(f.arg(1).number));
    if (!refs.empty()) refs.pop_back();
  }
  f.Return(count);
}

Script ReadLarge(Frame& f) {
  int64_t sum = 0;
  for (size_t i = 0; i < f.arg_count(); ++i) sum += f.arg(i).number;
  co_await f.Sleep(microseconds(f.Random(3000)));
  for (size_t i = 0; i < f.arg_count(); ++i) {
    if (f.arg(i).view) f.arg(i).view->Check();
  }
  f.Return(sum);
}

// ---------------------------------------------------------------- the actor

Script Counter(Frame& f) {
  if (f.arg_count() > 0) {
    f.actor().total = f.arg(0).number;
    f.actor().held = f.arg(0).refs;
  }
  co_await f.Sleep(microseconds(f.Random(500)));
  if (f.arg_count() > 0 && f.arg(0).number < 0) f.Throw("the constructor throws");
}

Script Inc(Frame& f) {
  f.actor().total += f.arg(0).number;
  f.Return(f.actor().total);
  co_return;
}

Script Hold(Frame& f) {
  for (const Ref& ref : f.arg(0).refs) f.actor().held.push_back(ref);
  f.Return(static_cast<int64_t>(f.actor().held.size()));
  co_return;
}

Script SumHeld(Frame& f) {
  const std::vector<Ref> held = f.actor().held;
  int64_t sum = 0;
  rpc::ErrorInfo error;
  co_await SumRefs(f, held, &sum, &error);
  if (error) {
    f.Throw(error);
  } else {
    f.Return(sum);
  }
}

Script GiveHeld(Frame& f) {
  UserValue result;
  result.refs = f.actor().held;
  result.number = static_cast<int64_t>(result.refs.size());
  f.Return(std::move(result));
  co_return;
}

Script DropHeld(Frame& f) {
  f.Return(static_cast<int64_t>(f.actor().held.size()));
  f.actor().held.clear();
  f.actor().views.clear();
  co_return;
}

Script Slow(Frame& f) {
  co_await f.Sleep(microseconds(f.arg(0).number));
  f.Return(0);
}

Script Fail(Frame& f) {
  f.Throw("a method that throws");
  co_return;
}

Script Relay(Frame& f) {
  if (f.arg(0).refs.empty()) {
    f.Throw("no handle");
    co_return;
  }
  const int64_t number = f.arg(1).number;
  Ref other = f.arg(0).refs[0];
  Ref echoed = f.Call(other, kEcho, {number}, {.max_retries = 0, .expected = number});
  const Got got = co_await f.Get(echoed);
  if (got.ok()) {
    f.Return(got.value.number);
  } else {
    f.Throw(got.error);
  }
}

Script Exit(Frame& f) {
  f.ExitActor();
  f.Return(0);
  co_return;
}

Script HoldView(Frame& f) {
  if (f.arg(0).view) f.actor().views.push_back(f.arg(0).view);
  for (const auto& view : f.actor().views) view->Check();
  if (f.actor().views.size() > 6) f.actor().views.erase(f.actor().views.begin());
  f.Return(f.arg(0).number);
  co_return;
}

Script Spawn(Frame& f) {
  const int64_t a = f.arg(0).number;
  const int64_t b = f.arg(1).number;
  Ref sum = f.Task(kAdd, {a, b}, {.expected = a + b});
  const Got got = co_await f.Get(sum);
  if (got.ok()) {
    f.Return(got.value.number);
  } else {
    f.Throw(got.error);
  }
}

Script Echo(Frame& f) {
  f.Return(f.arg(0).number);
  co_return;
}

constexpr std::array<Program::Entry, kFnCount> kProgram = {{
    {"Counter", Counter},
    {"Add", Add},
    {"SleepAdd", SleepAdd},
    {"Tree", Tree},
    {"MakeLarge", MakeLarge},
    {"SumNested", SumNested},
    {"Pass", Pass},
    {"GiveRefs", GiveRefs},
    {"Throw", Throw},
    {"Flaky", Flaky},
    {"Keep", Keep},
    {"ReadLarge", ReadLarge},
    {"Inc", Inc},
    {"Hold", Hold},
    {"SumHeld", SumHeld},
    {"GiveHeld", GiveHeld},
    {"DropHeld", DropHeld},
    {"Slow", Slow},
    {"Fail", Fail},
    {"Relay", Relay},
    {"Exit", Exit},
    {"HoldView", HoldView},
    {"Spawn", Spawn},
    {"Echo", Echo},
    {"Grow", Grow},
}};

}  // namespace

const Program::Entry& Program::Find(uint64_t function) {
  MANTA_CHECK(function < kFnCount);
  return kProgram[function];
}

}  // namespace manta::sim
