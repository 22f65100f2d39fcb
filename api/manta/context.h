// CurrentContext tells user code where it runs.
//
//   if (manta::CurrentContext().WasRestarted()) ReadCheckpoint();
//
// Ids are text, the same that logs and `manta list` show. What does not apply is empty, or 0.
#ifndef MANTA_CONTEXT_H_
#define MANTA_CONTEXT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "manta/internal/backend.h"
#include "manta/internal/export.h"

namespace manta {

class Context {
 public:
  explicit Context(internal::ContextInfo info) : info_(std::move(info)) {}

  uint64_t job() const { return info_.job; }
  const std::string& node() const { return info_.node; }        // "n1"
  const std::string& process() const { return info_.process; }  // "n1.p4"
  const std::string& name_space() const { return info_.name_space; }
  // The running call: its id, its name (the function's, or what Name said), and 0 for its first attempt.
  const std::string& task() const { return info_.task; }
  const std::string& function() const { return info_.function; }
  uint32_t attempt() const { return info_.attempt; }
  // The actor whose method or constructor runs; which life of it this is, from 1.
  const std::string& actor() const { return info_.actor; }
  uint64_t incarnation() const { return info_.actor_incarnation; }
  bool WasRestarted() const { return info_.actor_incarnation > 1; }
  bool is_driver() const { return info_.is_driver; }  // in the driver, outside of any call
  bool is_local() const { return info_.is_local; }    // --manta-local

 private:
  internal::ContextInfo info_;
};

// Of the calling thread; in a thread that user code started, of the process. ShutdownError before Init, after Shutdown.
MANTA_EXPORT Context CurrentContext();

}  // namespace manta

#endif  // MANTA_CONTEXT_H_
