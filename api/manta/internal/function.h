// What Task<&F>, Call<&T::M> and Actor<T> make of a function at compile time: an invoker that reads arguments, calls it
// and writes the result, registered under the mangled name of its wrapping type before main begins.
#ifndef MANTA_INTERNAL_FUNCTION_H_
#define MANTA_INTERNAL_FUNCTION_H_

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "manta/internal/backend.h"
#include "manta/internal/value.h"

namespace manta::internal {

// ---- signatures

template <class R, class... P>
struct PlainSignature {
  using Result = R;
  using Parameters = std::tuple<P...>;
  static constexpr bool is_known = true;
  static constexpr bool is_method = false;
};
template <class C, class R, class... P>
struct MethodSignature : PlainSignature<R, P...> {
  using Class = C;
  static constexpr bool is_method = true;
};

template <class F>
struct Signature {  // nothing that can be called with one known list of parameters
  static constexpr bool is_known = false;
  static constexpr bool is_method = false;
};
template <class R, class... P, bool N>
struct Signature<R (*)(P...) noexcept(N)> : PlainSignature<R, P...> {};
template <class C, class R, class... P, bool N>
struct Signature<R (C::*)(P...) noexcept(N)> : MethodSignature<C, R, P...> {};
template <class C, class R, class... P, bool N>
struct Signature<R (C::*)(P...) const noexcept(N)> : MethodSignature<C, R, P...> {};
template <class C, class R, class... P, bool N>
struct Signature<R (C::*)(P...)& noexcept(N)> : MethodSignature<C, R, P...> {};
template <class C, class R, class... P, bool N>
struct Signature<R (C::*)(P...) const& noexcept(N)> : MethodSignature<C, R, P...> {};

template <class F>
concept HasOneCallOperator = requires {
  &F::operator();
};

// The signature of a template argument of Task: a function pointer, or a lambda's call operator without its class.
template <class F>
struct FunctionSignature : Signature<F> {};
template <class C, class R, class... P>
PlainSignature<R, P...> WithoutClass(MethodSignature<C, R, P...>*);
template <HasOneCallOperator F>
struct FunctionSignature<F> : decltype(WithoutClass(static_cast<Signature<decltype(&F::operator())>*>(nullptr))) {};

// ---- what a parameter or result may be

// The type that travels for a parameter or result of type P.
template <class P>
using Stored = std::remove_cvref_t<P>;

template <class P>
struct IsText : std::false_type {};
template <class C, class Traits>
struct IsText<std::basic_string_view<C, Traits>> : std::true_type {};

// What is wrong with a parameter, or with a result, if anything is. The facts and the assertions that explain them are
// apart, because a class in which an assertion failed is of no more use to clang, which then says so at length.
template <class P>
struct ParameterFacts {
  static constexpr bool is_output = std::is_lvalue_reference_v<P> && !std::is_const_v<std::remove_reference_t<P>>;
  static constexpr bool is_pointer = std::is_pointer_v<Stored<P>> || IsText<Stored<P>>::value;
  static constexpr bool is_serializable = [] {
    if constexpr (std::is_void_v<P> || is_pointer)
      return true;
    else
      return Serializable<Stored<P>>::value;
  }();
  static constexpr bool is_constructible = std::is_void_v<P> || std::is_default_constructible_v<Stored<P>>;
  static constexpr bool ok = !is_output && !is_pointer && is_serializable && is_constructible;
};

template <class Function, size_t Index, class Parameter>
void ExplainParameter() {
  using Facts = ParameterFacts<Parameter>;
  static_assert(
      !Facts::is_output,
      "Manta: a parameter (the notes say which: Index, from 0, and Parameter) is a non-const reference: what the "
      "function writes to it would be lost in another process; return it instead");
  static_assert(
      !Facts::is_pointer,
      "Manta: a parameter (the notes say which: Index, from 0, and Parameter) is a pointer or view into memory "
      "that another process does not have; take std::string, std::vector, manta::Tensor or a smart pointer");
  static_assert(
      Facts::is_serializable,
      "Manta: a parameter (the notes say which: Index, from 0, and Parameter) has a type that cannot be sent: "
      "give it a member `template <class Archive> void serialize(Archive& archive) { archive(member_1, "
      "member_2); }`, or include the header of cereal's that knows it (<cereal/types/...>)");
  static_assert(Facts::is_pointer || !Facts::is_serializable || Facts::is_constructible,
                "Manta: a parameter (the notes say which: Index, from 0, and Parameter) has a type without a default "
                "constructor, which reading a value starts with");
}

// Results may be references: they are copied.
template <class Result>
using ResultFacts = ParameterFacts<std::remove_cvref_t<Result>>;

template <class Function, class Result>
void ExplainResult() {
  using Facts = ResultFacts<Result>;
  static_assert(
      !Facts::is_pointer,
      "Manta: the result (the notes say which: Result) is a pointer or view into memory that the caller does not "
      "have; return std::string, std::vector, manta::Tensor or a smart pointer");
  static_assert(Facts::is_serializable,
                "Manta: the result (the notes say which: Result) has a type that cannot be sent: give it a member "
                "`template <class Archive> void serialize(Archive& archive) { archive(member_1, member_2); }`, or "
                "include the header of cereal's that knows it (<cereal/types/...>)");
  static_assert(
      Facts::is_pointer || !Facts::is_serializable || Facts::is_constructible,
      "Manta: the result (the notes say which: Result) has a type without a default constructor, which reading a "
      "value starts with");
}

template <class Parameters>
struct ParametersFacts;
template <class... P>
struct ParametersFacts<std::tuple<P...>> {
  static constexpr bool ok = (ParameterFacts<P>::ok && ... && true);
  template <class Function>
  static void Explain() {
    []<size_t... I>(std::index_sequence<I...>) { (ExplainParameter<Function, I, P>(), ...); }
    (std::index_sequence_for<P...>());
  }
};

// Whether values of a function's parameters and result can travel; if not, why.
template <class Function, class Parameters, class Result>
constexpr bool CanTravel() {
  return ParametersFacts<Parameters>::ok && ResultFacts<Result>::ok;
}
template <class Function, class Parameters, class Result>
void ExplainTravel() {
  ParametersFacts<Parameters>::template Explain<Function>();
  ExplainResult<Function, Result>();
}

// ---- invokers

MANTA_EXPORT void CheckArgumentCount(const Invocation& invocation, size_t count);
[[noreturn]] MANTA_EXPORT void FailArgument(size_t index, const Error& error);

template <class T>
void LoadArgument(const Invocation& invocation, size_t index, T* value) {
  try {
    FromPayload(invocation.args[index], value);
  } catch (const Error& error) {
    FailArgument(index, error);
  }
}

// Reads the arguments, runs `callable` with them, and writes what it returns.
template <class Result, class... P, class Callable>
void InvokeWith(Invocation& invocation, std::tuple<P...>*, Callable callable) {
  CheckArgumentCount(invocation, sizeof...(P));
  std::tuple<Stored<P>...> values;
  [&]<size_t... I>(std::index_sequence<I...>) {
    (LoadArgument(invocation, I, &std::get<I>(values)), ...);
    invocation.phase = Invocation::Phase::kCall;
    if constexpr (std::is_void_v<Result>) {
      callable(std::forward<P>(std::get<I>(values))...);
      invocation.returns.emplace_back();
    } else {
      Stored<Result> result = callable(std::forward<P>(std::get<I>(values))...);
      invocation.phase = Invocation::Phase::kResult;
      invocation.returns.push_back(GiveSerialized(std::move(result)));
    }
  }
  (std::index_sequence_for<P...>());
}

// Registers Wrapper::Invoke. The __BASE_FILE__ of whichever translation unit's copy the linker keeps is only used to
// name the two files of a collision, and then the copies are internal to their files.
template <class Wrapper>
struct Registration {
  static inline const uint64_t id = RegisterFunction({
      typeid(Wrapper).name(),
      &Wrapper::Invoke,
      reinterpret_cast<const void*>(&Wrapper::Invoke),
      Wrapper::ClassName(),
      __BASE_FILE__,
  });
};

template <auto F>
struct TaskFunction {
  using Type = FunctionSignature<std::remove_const_t<decltype(F)>>;
  static const char* ClassName() { return nullptr; }
  static void Invoke(Invocation& invocation) {
    InvokeWith<typename Type::Result>(
        invocation, static_cast<typename Type::Parameters*>(nullptr),
        []<class... A>(A&&... args) -> decltype(auto) { return F(std::forward<A>(args)...); });
  }
};

template <class T, auto M>
struct MethodFunction {
  using Type = Signature<decltype(M)>;
  static const char* ClassName() { return typeid(T).name(); }
  static void Invoke(Invocation& invocation) {
    T* const self = static_cast<T*>(invocation.actor);
    InvokeWith<typename Type::Result>(
        invocation, static_cast<typename Type::Parameters*>(nullptr),
        [self]<class... A>(A&&... args) -> decltype(auto) { return (self->*M)(std::forward<A>(args)...); });
  }
};

// The constructor of T that takes Args (decayed types, as they travel).
template <class T, class... Args>
struct ConstructorFunction {
  static const char* ClassName() { return typeid(T).name(); }
  static void Invoke(Invocation& invocation) {
    InvokeWith<void>(invocation, static_cast<std::tuple<Args...>*>(nullptr),
                     [&](Args&&... args) { invocation.constructed = std::make_shared<T>(std::move(args)...); });
    invocation.returns.clear();
  }
};

}  // namespace manta::internal

#endif  // MANTA_INTERNAL_FUNCTION_H_
