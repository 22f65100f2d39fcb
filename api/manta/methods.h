// MANTA_METHODS makes an actor's methods callable by other programs.
//
//   // in a .cc of the program that has the class, at namespace scope:
//   MANTA_METHODS(Counter, Add, Get);
//
// A program registers the methods that it calls itself. A handle of another program (a named actor) may call others,
// and those must be in the table of the program that hosts the actor: name them here. Overloaded methods cannot be.
#ifndef MANTA_METHODS_H_
#define MANTA_METHODS_H_

#include "manta/internal/function.h"

namespace manta::internal {

template <class T, auto... M>
bool RegisterMethods() {
  return (... & (Registration<MethodFunction<T, M>>::id != 0));
}

}  // namespace manta::internal

#define MANTA_METHODS(Class, ...)                                                         \
  [[maybe_unused]] static const bool MANTA_INTERNAL_CONCAT(manta_methods_, __COUNTER__) = \
      ::manta::internal::RegisterMethods<Class MANTA_INTERNAL_EACH(Class, __VA_ARGS__)>()

#define MANTA_INTERNAL_CONCAT_(a, b) a##b
#define MANTA_INTERNAL_CONCAT(a, b) MANTA_INTERNAL_CONCAT_(a, b)
// ", &Class::A, &Class::B" of (Class, A, B), by C++20's __VA_OPT__; up to 256 names.
#define MANTA_INTERNAL_EACH(Class, ...) __VA_OPT__(MANTA_INTERNAL_EXPAND(MANTA_INTERNAL_EACH_STEP(Class, __VA_ARGS__)))
#define MANTA_INTERNAL_EACH_STEP(Class, Name, ...) \
  , &Class::Name __VA_OPT__(MANTA_INTERNAL_EACH_AGAIN MANTA_INTERNAL_PARENS(Class, __VA_ARGS__))
#define MANTA_INTERNAL_EACH_AGAIN() MANTA_INTERNAL_EACH_STEP
#define MANTA_INTERNAL_PARENS ()
#define MANTA_INTERNAL_EXPAND(...) \
  MANTA_INTERNAL_EXPAND3(MANTA_INTERNAL_EXPAND3(MANTA_INTERNAL_EXPAND3(MANTA_INTERNAL_EXPAND3(__VA_ARGS__))))
#define MANTA_INTERNAL_EXPAND3(...) \
  MANTA_INTERNAL_EXPAND2(MANTA_INTERNAL_EXPAND2(MANTA_INTERNAL_EXPAND2(MANTA_INTERNAL_EXPAND2(__VA_ARGS__))))
#define MANTA_INTERNAL_EXPAND2(...) \
  MANTA_INTERNAL_EXPAND1(MANTA_INTERNAL_EXPAND1(MANTA_INTERNAL_EXPAND1(MANTA_INTERNAL_EXPAND1(__VA_ARGS__))))
#define MANTA_INTERNAL_EXPAND1(...) __VA_ARGS__

#endif  // MANTA_METHODS_H_
