#include "rpc/token_book.h"

#include <cstring>

#include "base/check.h"

namespace manta::rpc {

uint64_t TokenId(const Bits256& token) {
  const Bits256 digest = Sha256(std::string("manta token id").append(BytesOf(token)));
  uint64_t id;
  std::memcpy(&id, digest.data(), sizeof(id));
  return id;
}

absl::Status TokenBook::Add(Time now, const Bits256& token, const Terms& terms) {
  const base::MutexLock lock(&mutex_);
  if (entries_.size() >= kTokensMax) {
    std::erase_if(entries_, [now](const auto& entry) { return entry.second.terms.expires <= now; });
  }
  if (entries_.size() >= kTokensMax) return absl::ResourceExhaustedError("too many tokens are out");
  if (!entries_.emplace(TokenId(token), Entry{token, terms}).second) return absl::AlreadyExistsError("a token twice");
  return absl::OkStatus();
}

void TokenBook::Remove(const Bits256& token) {
  const base::MutexLock lock(&mutex_);
  entries_.erase(TokenId(token));
}

absl::StatusOr<Bits256> TokenBook::Find(Time now, uint64_t token_id, ProcessId process) const {
  const base::MutexLock lock(&mutex_);
  const auto found = entries_.find(token_id);
  if (found == entries_.end()) {
    if (spent_.contains(token_id)) return absl::AlreadyExistsError("the token was used before");
    return absl::NotFoundError("unknown token");
  }
  const Terms& terms = found->second.terms;
  if (terms.expires <= now) return absl::NotFoundError("the token has expired");
  if (terms.process != ProcessId() && terms.process != process) {
    return absl::NotFoundError("the token is for another process");
  }
  return found->second.token;
}

bool TokenBook::Spend(Time now, uint64_t token_id) {
  const base::MutexLock lock(&mutex_);
  const auto found = entries_.find(token_id);
  if (found == entries_.end() || found->second.terms.expires <= now) return false;
  if (--found->second.terms.uses == 0) {
    Wipe(&found->second.token);
    entries_.erase(found);
    if (spent_.size() >= kSpentMax) spent_.erase(spent_.begin());
    spent_.insert(token_id);
  }
  return true;
}

size_t TokenBook::size() const {
  const base::MutexLock lock(&mutex_);
  return entries_.size();
}

}  // namespace manta::rpc
