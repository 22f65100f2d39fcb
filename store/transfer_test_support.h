// For tests and benchmarks of transfers: connections over loopback, and objects in memory.
#ifndef MANTA_STORE_TRANSFER_TEST_SUPPORT_H_
#define MANTA_STORE_TRANSFER_TEST_SUPPORT_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/memfd.h"
#include "base/random.h"
#include "base/unique_fd.h"

namespace manta::store {

// Two ends of a TCP connection over loopback.
inline std::pair<base::UniqueFd, base::UniqueFd> TcpPair() {
  const base::UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  MANTA_CHECK(bind(listener.get(), any, size) == 0 && listen(listener.get(), 1) == 0);
  MANTA_CHECK(getsockname(listener.get(), any, &size) == 0);
  base::UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  MANTA_CHECK(connect(client.get(), any, size) == 0);
  base::UniqueFd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  MANTA_CHECK(static_cast<bool>(server));
  return {std::move(client), std::move(server)};
}

// A memfd, mapped.
struct Memory {
  explicit Memory(size_t size) {
    absl::StatusOr<base::UniqueFd> made = base::CreateSealedMemfd("manta-test", size);
    MANTA_CHECK(made.ok()) << made.status();
    fd = std::make_shared<const base::UniqueFd>(*std::move(made));
    absl::StatusOr<base::Mapping> mapped = base::Mapping::Map(fd->get(), size, base::Mapping::Access::kReadWrite);
    MANTA_CHECK(mapped.ok()) << mapped.status();
    mapping = *std::move(mapped);
  }
  void FillRandomly(uint64_t seed) const {
    base::Rng rng(seed);
    for (size_t at = 0; at < mapping.size(); at += 8) {
      const uint64_t word = rng.Next();
      std::memcpy(mapping.mutable_data() + at, &word, std::min<size_t>(8, mapping.size() - at));
    }
  }
  std::string_view bytes() const { return {mapping.data(), mapping.size()}; }

  std::shared_ptr<const base::UniqueFd> fd;
  base::Mapping mapping;
};

}  // namespace manta::store

#endif  // MANTA_STORE_TRANSFER_TEST_SUPPORT_H_
