// TokenBook keeps the tokens that a server takes: who may come in with which, how often, and until when.
//
// Problem:    a spawned worker needs to prove that its node spawned it, once; a join token works for an hour.
// Threads:    thread-safe.
// Invariants: (1) a token is taken at most `uses` times, and never after it expires.
//             (2) at most kTokensMax tokens are kept; expired ones go first.
// See:        rpc/handshake.h.
#ifndef MANTA_RPC_TOKEN_BOOK_H_
#define MANTA_RPC_TOKEN_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/mutex.h"
#include "base/time.h"
#include "rpc/crypto.h"

namespace manta::rpc {

// A token's name, which may travel in the clear.
uint64_t TokenId(const Bits256& token);

class TokenBook {
 public:
  static constexpr size_t kTokensMax = 64 * 1024;
  static constexpr size_t kSpentMax = 64 * 1024;

  struct Terms {
    ProcessId process = {};  // none: whoever has it
    Time expires = kInfiniteFuture;
    uint32_t uses = 1;
  };

  // kResourceExhausted: kTokensMax tokens are out; kAlreadyExists.
  absl::Status Add(Time now, const Bits256& token, const Terms& terms);
  // Before the process that was to use it is known to be dead, or a person takes it back.
  void Remove(const Bits256& token);

  // The token itself, if `process` may come in with it now. kNotFound: unknown, expired or another process's;
  // kAlreadyExists: it was used up.
  absl::StatusOr<Bits256> Find(Time now, uint64_t token_id, ProcessId process) const;
  // Takes one use. False: somebody else was quicker.
  bool Spend(Time now, uint64_t token_id);

  size_t size() const;

 private:
  struct Entry {
    Bits256 token;
    Terms terms;
  };

  mutable base::Mutex mutex_;
  std::map<uint64_t, Entry> entries_ MANTA_GUARDED_BY(mutex_);
  std::set<uint64_t> spent_ MANTA_GUARDED_BY(mutex_);  // the last of those used up, for a clear answer
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_TOKEN_BOOK_H_
