// What the API's tests share. They run on any backend: api_test --manta-local, and without it on an embedded cluster.
//
// So they share no memory with their tasks and actors, and no test assumes which process runs what.
#ifndef MANTA_API_API_TEST_H_
#define MANTA_API_API_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "manta/manta.h"

namespace manta::api_test {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// The runtime of all tests: 2 CPUs, {"token": 1}, a store of kStoreBytes.
inline constexpr uint64_t kStoreBytes = 128 << 20;
void StartRuntime();  // Init with the program's arguments
void StopRuntime();

inline bool IsLocal() { return CurrentContext().is_local(); }

// Longer than anything takes that works.
inline constexpr auto kLong = 60s;

// Opened by one call, waited for by others, in whatever process they run.
class Gate {
 public:
  void Open() { open_ = true; }
  bool IsOpen() const { return open_; }

 private:
  bool open_ = false;
};
inline void WaitAtGate(const ActorHandle<Gate>& gate) {
  while (!Get(gate.Call<&Gate::IsOpen>().Remote())) std::this_thread::sleep_for(1ms);
}
inline int PassGate(ActorHandle<Gate> gate, int value) {
  WaitAtGate(gate);
  return value;
}

// The error that Get throws.
template <class E, class T>
E ErrorOf(const ObjectRef<T>& ref) {
  try {
    Get(ref, kLong);
  } catch (const E& error) {
    return error;
  } catch (const Error& error) {
    ADD_FAILURE() << "another error: " << error.Describe();
  }
  ADD_FAILURE() << "no error";
  return E(ErrorCode::kNone, "no error");
}

}  // namespace manta::api_test

#endif  // MANTA_API_API_TEST_H_
