// How Remote's arguments become a call's: which are refs to be resolved, which are values, and what is wrong with them.
#ifndef MANTA_INTERNAL_ARGUMENTS_H_
#define MANTA_INTERNAL_ARGUMENTS_H_

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "manta/internal/backend.h"
#include "manta/internal/function.h"
#include "manta/internal/value.h"
#include "manta/object_ref.h"

namespace manta::internal {

enum class Passing { kWrong, kValue, kResolvedRef };

// How a parameter of stored type S takes an argument of type G (as deduced by a forwarding reference).
template <class S, class G>
constexpr Passing PassingOf() {
  using Given = std::remove_cvref_t<G>;
  if constexpr (std::is_same_v<Given, S>)
    return Passing::kValue;
  else if constexpr (RefTraits<Given>::is_ref && std::is_same_v<typename RefTraits<Given>::Value, S>)
    return Passing::kResolvedRef;
  else if constexpr (std::is_convertible_v<G, S>)
    return Passing::kValue;
  else
    return Passing::kWrong;
}

template <class Parameters, class... Given>
struct ArgumentsFacts {
  static constexpr bool ok = false;
};
template <class... P, class... Given>
requires(sizeof...(P) == sizeof...(Given)) struct ArgumentsFacts<std::tuple<P...>, Given...> {
  static constexpr bool ok = ((PassingOf<Stored<P>, Given>() != Passing::kWrong) && ... && true);
};

template <class Function, size_t Index, class Parameter, class Given>
void ExplainArgument() {
  constexpr bool kOk = PassingOf<Stored<Parameter>, Given>() != Passing::kWrong;
  constexpr bool kIsRef = RefTraits<std::remove_cvref_t<Given>>::is_ref;
  static_assert(
      kOk || !kIsRef,
      "Manta: an argument of Remote (the notes say which: Index, from 0, and Given) is a ref to a value of another "
      "type than the function's parameter (Parameter): a ref is not converted on its way");
  static_assert(kOk || kIsRef,
                "Manta: an argument of Remote (the notes say which: Index, from 0, and Given) does not convert to the "
                "function's parameter (Parameter)");
}

template <class Function, class... P, class... Given>
void ExplainArguments(std::tuple<P...>*, std::tuple<Given...>*) {
  static_assert(sizeof...(Given) >= sizeof...(P),
                "Manta: Remote was given fewer arguments than the function has parameters (default arguments are not "
                "part of a function's type: pass them)");
  static_assert(sizeof...(Given) <= sizeof...(P),
                "Manta: Remote was given more arguments than the function has parameters");
  if constexpr (sizeof...(Given) == sizeof...(P)) {
    []<size_t... I>(std::index_sequence<I...>) { (ExplainArgument<Function, I, P, Given>(), ...); }
    (std::index_sequence_for<P...>());
  }
}

MANTA_EXPORT void CheckRefArgument(const RefHandle& ref);  // InvalidArgumentError: empty

// The argument for a parameter of stored type S. What it points to lives until the end of the Remote that `given`
// was passed to, or in the argument itself.
template <class S, class G>
Argument MakeArgument(G&& given) {
  Argument argument;
  if constexpr (PassingOf<S, G&&>() == Passing::kResolvedRef) {
    CheckRefArgument(given.handle());
    argument.ref = given.handle();
  } else if constexpr (std::is_same_v<std::remove_cvref_t<G>, S>) {
    argument.value = ToSerialized(static_cast<const S&>(given), nullptr);
  } else if constexpr (kIsScalar<S>) {
    argument.value = ToSerialized(static_cast<S>(given), nullptr);
  } else {
    argument.value = GiveSerialized(S(std::forward<G>(given)));
  }
  return argument;
}

template <class... P, class... Given>
std::vector<Argument> MakeArguments(std::tuple<P...>*, Given&&... given) {
  std::vector<Argument> args;
  args.reserve(sizeof...(P));
  (args.push_back(MakeArgument<Stored<P>>(std::forward<Given>(given))), ...);
  return args;
}

// ---- constructors, whose parameters cannot be asked for: a ref goes in as a ref where T takes one, else resolved.

// The type that travels for an argument: its decayed one; characters become a std::string.
template <class G>
struct Travelling {
  using Type = std::decay_t<G>;
};
template <class G>
requires std::is_same_v < std::decay_t<G>,
const char* > || std::is_same_v<std::decay_t<G>, char*> struct Travelling<G> { using Type = std::string; };
template <class G>
using TravellingType = typename Travelling<G>::Type;

// The first way, refs kept as refs wherever possible, in which T can be constructed: a tuple of the types that its
// constructor gets, or void.
template <class T, class Done, class... Rest>
struct FindConstructor;
template <class T, class... Done>
struct FindConstructor<T, std::tuple<Done...>> {
  using Type = std::conditional_t<std::is_constructible_v<T, Done&&...>, std::tuple<Done...>, void>;
};
template <class T, class... Done, class First, class... Rest>
struct FindConstructor<T, std::tuple<Done...>, First, Rest...> {
  using AsIs = typename FindConstructor<T, std::tuple<Done..., First>, Rest...>::Type;
  using Type = AsIs;
};
template <class T, class... Done, class V, class... Rest>
struct FindConstructor<T, std::tuple<Done...>, ObjectRef<V>, Rest...> {
  using AsIs = typename FindConstructor<T, std::tuple<Done..., ObjectRef<V>>, Rest...>::Type;
  template <class Value, class Found>
  struct Choose {
    using Type = Found;
  };
  template <class Value>
  requires(!std::is_void_v<Value>) struct Choose<Value, void> {
    using Type = typename FindConstructor<T, std::tuple<Done..., Value>, Rest...>::Type;
  };
  using Type = typename Choose<V, AsIs>::Type;
};

template <class T, class... P>
uint64_t ConstructorId(std::tuple<P...>*) {
  return Registration<ConstructorFunction<T, P...>>::id;
}

// The parameters with which Remote constructs a T from `Given`, or void.
template <class T, class... Given>
using ConstructorParameters = typename FindConstructor<T, std::tuple<>, TravellingType<Given>...>::Type;

template <class T, class... Given>
void ExplainConstructor() {
  static_assert(
      !std::is_void_v<ConstructorParameters<T, Given...>>,
      "Manta: no constructor of the actor's class (T) takes the arguments that Remote was given (Given; the notes "
      "say which)");
}

}  // namespace manta::internal

#endif  // MANTA_INTERNAL_ARGUMENTS_H_
