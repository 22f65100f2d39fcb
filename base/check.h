// MANTA_CHECK ends the process with file, line and message when an invariant of our own is broken.
//
// It is for our own bugs, never for what a peer, a file or a user can send.
//   MANTA_CHECK(seq < next_seq_) << "seq " << seq;
// MANTA_DCHECK is the same in builds without NDEBUG, and costs nothing (nor evaluates) in others.
#ifndef MANTA_BASE_CHECK_H_
#define MANTA_BASE_CHECK_H_

#include <ostream>
#include <sstream>

namespace manta::base::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

struct CheckVoidify {
  void operator&(std::ostream&) {}
};

}  // namespace manta::base::internal

#define MANTA_CHECK(condition)                      \
  __builtin_expect(static_cast<bool>(condition), 1) \
      ? (void)0                                     \
      : ::manta::base::internal::CheckVoidify() &   \
            ::manta::base::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

// MANTA_CHECK_OK(status): the status says what went wrong.
#define MANTA_CHECK_OK(expression)                              \
  do {                                                          \
    const auto& manta_check_status = (expression);              \
    MANTA_CHECK(manta_check_status.ok()) << manta_check_status; \
  } while (false)

#ifdef NDEBUG
#define MANTA_DCHECK(condition) \
  while (false) MANTA_CHECK(condition)
#else
#define MANTA_DCHECK(condition) MANTA_CHECK(condition)
#endif

#endif  // MANTA_BASE_CHECK_H_
