// Result<T> is a value or the Error that came instead of it: what TryGet returns.
//
//   manta::Result<int> hits = manta::TryGet(ref);
//   if (hits.ok()) Use(*hits); else Log(hits.error().Describe());
//
// Threads:    as T.
#ifndef MANTA_RESULT_H_
#define MANTA_RESULT_H_

#include <memory>
#include <optional>
#include <utility>

#include "manta/error.h"

namespace manta {

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                             // NOLINT: implicit, like a return
  Result(std::shared_ptr<const Error> error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const { return error_ == nullptr; }
  explicit operator bool() const { return ok(); }

  // The value; throws the error if there is none.
  T& value() & { return Checked(); }
  const T& value() const& { return const_cast<Result*>(this)->Checked(); }
  T&& value() && { return std::move(Checked()); }
  T value_or(T other) const { return ok() ? *value_ : std::move(other); }

  // REQUIRES: ok().
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

  // The error, of its own class: dynamic_cast<const TaskError*>(&result.error()). REQUIRES: !ok().
  const Error& error() const { return *error_; }

 private:
  T& Checked() {
    if (!ok()) internal::ThrowError(error_->value());
    return *value_;
  }

  std::optional<T> value_;
  std::shared_ptr<const Error> error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(std::shared_ptr<const Error> error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const { return error_ == nullptr; }
  explicit operator bool() const { return ok(); }
  // Throws the error if there is one.
  void value() const {
    if (!ok()) internal::ThrowError(error_->value());
  }
  const Error& error() const { return *error_; }

 private:
  std::shared_ptr<const Error> error_;
};

}  // namespace manta

#endif  // MANTA_RESULT_H_
