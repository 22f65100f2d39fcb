// Task<&F> calls the function F somewhere in the cluster.
//
//   manta::ObjectRef<int> sum = manta::Task<&Add>().Remote(1, 2);
//   manta::ObjectRef<Model> model = manta::Task<&Train>().Name("train").NumCpus(2).MaxRetries(0).Remote(data, 0.1);
//
// F may be a free function, a static member, an overload (`Task<static_cast<int (*)(int)>(&F)>()`), an instantiation of
// a template, or a lambda that captures nothing (`Task<[](int x) { return x + 1; }>()`). Its parameters and its result
// are values (see archive.h): no pointers, no non-const references.
//
// Remote returns at once. The task runs when its ref arguments are ready and a worker has the resources; what F returns
// or throws comes out of Get. A task whose worker dies is run again, up to MaxRetries times, so it may run more than
// once; set MaxRetries(0) for one that must not.
//
// Threads:    a builder is externally synchronised; Remote may be called from any thread, in tasks and actors too.
#ifndef MANTA_TASK_H_
#define MANTA_TASK_H_

#include <chrono>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "manta/internal/arguments.h"
#include "manta/internal/backend.h"
#include "manta/internal/function.h"
#include "manta/internal/options.h"
#include "manta/object_ref.h"
#include "manta/scheduling.h"

namespace manta {

template <auto F>
class Task {
  using Type = internal::FunctionSignature<std::remove_const_t<decltype(F)>>;

 public:
  // What the task is called in logs, errors and `manta list tasks`; default: the function's name. At most 256 bytes of
  // UTF-8, not empty (else InvalidArgumentError).
  Task& Name(std::string name) {
    options_.name = internal::CheckedName("Name", std::move(name));
    return *this;
  }
  // Amounts (>= 0, to a ten-thousandth) of custom resources that its worker's node must have free, by name.
  // InvalidArgumentError: negative, NaN, an empty name, or "CPU" and "GPU", which have options of their own.
  Task& Resources(std::map<std::string, double> amounts) {
    options_.resources = internal::CheckedResources(std::move(amounts));
    return *this;
  }
  // CPUs (default 1) and GPUs (default 0), fractions allowed. InvalidArgumentError: negative or NaN.
  Task& NumCpus(double count) {
    options_.num_cpus = internal::CheckedAmount("NumCpus", count);
    return *this;
  }
  Task& NumGpus(double count) {
    options_.num_gpus = internal::CheckedAmount("NumGpus", count);
    return *this;
  }
  // How often to run it again when its worker dies (default 3; -1: for ever).
  Task& MaxRetries(int count) {
    options_.max_retries = internal::CheckedCount("MaxRetries", count);
    return *this;
  }
  // Whether an exception of F's counts as such a death too (default: no, Get throws it as a TaskError).
  Task& RetryOnException(bool on = true) {
    options_.retry_on_exception = on;
    return *this;
  }
  // On which node it runs: Spread() or NodeAffinity(node), see scheduling.h.
  Task& SchedulingStrategy(const internal::SchedulingHint& strategy) {
    options_.hint = strategy;
    return *this;
  }
  // How long it may take from Remote to its result; then Get throws a TimeoutError, and it is not begun any more.
  // InvalidArgumentError: not above 0.
  template <class Rep, class Period>
  Task& Timeout(std::chrono::duration<Rep, Period> timeout) {
    options_.timeout = internal::CheckedTimeout(internal::ToNanos(timeout));
    return *this;
  }

  // Calls F with `given`, each either convertible to the parameter, or an ObjectRef of exactly the parameter's type.
  // Throws SerializationError (an argument cannot be written), InvalidArgumentError (an empty ref), ShutdownError.
  template <class... Given>
  auto Remote(Given&&... given) const {
    if constexpr (Type::is_known && !Type::is_method) {
      return Submit(std::forward<Given>(given)...);
    } else {
      static_assert(!Type::is_method,
                    "Manta: Task was given a member function: call it on an actor, with handle.Call<&T::M>()");
      static_assert(Type::is_method || Type::is_known,
                    "Manta: Task needs one function: a function pointer, or a lambda that captures nothing and whose "
                    "parameters are not `auto`");
    }
  }

 private:
  template <class... Given>
  auto Submit(Given&&... given) const {
    using Parameters = typename Type::Parameters;
    using Result = typename Type::Result;
    using Ref = ObjectRef<internal::Stored<Result>>;
    if constexpr (!internal::CanTravel<Task, Parameters, Result>()) {
      internal::ExplainTravel<Task, Parameters, Result>();
      return Ref();
    } else if constexpr (!internal::ArgumentsFacts<Parameters, Given...>::ok) {
      internal::ExplainArguments<Task>(static_cast<Parameters*>(nullptr), static_cast<std::tuple<Given...>*>(nullptr));
      return Ref();
    } else {
      auto args = internal::MakeArguments(static_cast<Parameters*>(nullptr), std::forward<Given>(given)...);
      auto returns = internal::Current().SubmitTask(internal::Registration<internal::TaskFunction<F>>::id,
                                                    std::move(args), 1, options_);
      return Ref(std::move(returns.at(0)));
    }
  }

  internal::CallOptions options_;
};

}  // namespace manta

#endif  // MANTA_TASK_H_
