// DataSocket reads and writes the bytes of objects on a connected stream socket (TCP or unix), each piece within a time
// limit.
//
// Problem:    a peer that stops, or sends a byte a second, may not hold a thread or an object for ever.
// Threads:    one thread reads and writes; Shutdown() may be called from any thread.
// Errors:     kUnavailable: the connection is closed or broken; kDeadlineExceeded: the peer was too slow.
#ifndef MANTA_STORE_DATA_SOCKET_H_
#define MANTA_STORE_DATA_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace manta::store {

class DataSocket {
 public:
  struct Limits {
    Duration stall = std::chrono::seconds(3);   // without any byte
    Duration piece = std::chrono::seconds(10);  // for one call: a chunk of 1 MiB, or less
  };

  // `fd` is made nonblocking, and sends small pieces at once. `early`: what has been read from it already.
  DataSocket(base::UniqueFd fd, Limits limits, std::string early = {});
  DataSocket(const DataSocket&) = delete;
  DataSocket& operator=(const DataSocket&) = delete;

  absl::Status Read(char* to, size_t size);
  // `more`: other bytes follow at once.
  absl::Status Write(const char* from, size_t size, bool more = false);
  // Bytes [offset, offset + size) of `file`, which never pass through this process. kDataLoss: it is shorter. REQUIRES:
  // SIGPIPE is blocked or ignored.
  absl::Status SendFile(int file, uint64_t offset, size_t size);
  // Waits until something can be read, or the connection ends.
  absl::Status AwaitReadable(Duration timeout);
  // Whoever reads or writes ends with kUnavailable, now and later.
  void Shutdown();

 private:
  // After a call that would have blocked. `end`: of this piece.
  absl::Status Await(short events, Time end);

  const base::UniqueFd fd_;
  const Limits limits_;
  std::string early_;  // not read yet
};

}  // namespace manta::store

#endif  // MANTA_STORE_DATA_SOCKET_H_
