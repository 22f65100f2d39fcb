// The registry of functions: what instantiations of Task<&F>, Call<&T::M> and Actor<T> put in before main begins.
//
// Threads:    thread-safe (a library that is dlopen'ed adds to it later).
#ifndef MANTA_API_REGISTRY_H_
#define MANTA_API_REGISTRY_H_

#include <string>
#include <vector>

#include "manta/internal/backend.h"

namespace manta::internal {

// Two different functions under one name: both are internal to their files, which only the linker could tell apart.
struct FunctionCollision {
  FunctionEntry first;
  FunctionEntry second;
};
std::vector<FunctionCollision> FunctionCollisions();
std::string ToString(const FunctionCollision& collision);  // names both, and says what to do

// What to say when a call names a function that this program does not have: the names that it does have, up to five.
std::string DescribeMissingFunction(uint64_t function);

// "Add(int, int)" of "manta::internal::TaskFunction<&(Add(int, int))>". For FunctionName, and its test.
std::string PrettyFunctionName(std::string_view demangled);

}  // namespace manta::internal

#endif  // MANTA_API_REGISTRY_H_
