#include "tests/cluster/fault_story.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

namespace manta::cluster {

using embedded::AwaitFile;
using embedded::IsAlive;
using embedded::ReadFile;
using embedded::WriteFile;
using ::testing::HasSubstr;

namespace {

std::string WhatOf(const ObjectRef<int>& ref, milliseconds timeout) {
  const Result<int> result = TryGet(ref, timeout);
  if (result.ok()) return "it has a value";
  const std::string kind = result.error().code() == ErrorCode::kTimeout ? "timeout: " : "another: ";
  return kind + result.error().what();
}

}  // namespace

int OwnPid() { return getpid(); }
std::string Where() { return CurrentContext().node(); }
std::string SayPidAndWait(std::string pid_file, std::string go) {
  WriteFile(pid_file, std::to_string(getpid()));
  AwaitFile(go);
  return CurrentContext().node();
}
std::vector<uint8_t> Bytes(uint64_t count) { return std::vector<uint8_t>(count, 42); }
uint64_t SizeOf(std::vector<uint8_t> data) { return data.size(); }
int SlowOne(int ms) {
  std::this_thread::sleep_for(milliseconds(ms));
  return 1;
}

Counter::Counter(std::string pid_file) { SayPidAndWait(pid_file, pid_file + ".go"); }
int Counter::Pid() { return getpid(); }
std::string Counter::Node() { return CurrentContext().node(); }
int Counter::Life() { return static_cast<int>(CurrentContext().incarnation()); }
void Counter::WaitFor(std::string path) { AwaitFile(path); }

int Caller::Call() { return Get(counter_.Call<&Counter::Add>().Remote(1), seconds(5)); }
int Caller::CallUntil(std::string path) {
  int calls = 0;
  for (; !embedded::Exists(path); ++calls) Call();
  return calls;
}

std::string Caller::GetWithin(int ms) { return WhatOf(counter_.Call<&Counter::Add>().Remote(1), milliseconds(ms)); }
std::string Caller::CallWithin(int ms) {
  return WhatOf(counter_.Call<&Counter::Add>().Timeout(milliseconds(ms)).Remote(1), seconds(20));
}

int Faults::AwaitPid(const std::string& name) {
  AwaitFile(File(name));
  return std::stoi(ReadFile(File(name)));
}

void Faults::Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

void Faults::KillNow(pid_t pid) {
  Send(SIGKILL, pid);
  EXPECT_TRUE(Within(seconds(2), [pid] { return !IsAlive(pid); }));
}

void Faults::ExpectCallsSucceed(const ActorHandle<Counter>& counter, int calls) {
  for (int i = 0; i < calls; ++i) EXPECT_GT(Get(counter.Call<&Counter::Add>().Remote(1), seconds(5)), 0);
}

void Faults::ExpectNamesCanBeGiven(const std::string& name, milliseconds limit) {
  const auto actor = On(kAnywhere, Actor<Counter>()).Name(name).Remote();
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1), limit), 1);
  EXPECT_TRUE(GetActor<Counter>(name));
}

void Faults::ExpectHeadRefusesLostHistory() {
  const Ran refused = Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), "--num-cpus=0"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("was acknowledged"));
  EXPECT_THAT(refused.output, HasSubstr("--new"));
}

}  // namespace manta::cluster
