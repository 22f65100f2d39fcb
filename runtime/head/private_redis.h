// PrivateRedis is a redis-server of the head's own: started if none runs on the directory, else adopted.
//
// Problem:    metadata must outlive the head, so the server is a daemon in a session of its own; two servers on one
//             directory would destroy it.
// Ownership:  the process belongs to nobody: it lives until Stop, however the head ends.
// Threads:    externally synchronised. Start and Stop block.
// Invariants: at most one server runs on a directory: it holds the flock on the directory's redis.lock, which it
// inherits,
//             from before it runs until it (and a child of it that rewrites the files) has ended.
// See:        docs/metadata.md
#ifndef MANTA_RUNTIME_HEAD_PRIVATE_REDIS_H_
#define MANTA_RUNTIME_HEAD_PRIVATE_REDIS_H_

#include <sys/types.h>

#include <string>

#include "base/status.h"
#include "base/time.h"
#include "runtime/head/redis_address.h"

namespace manta::runtime {

class PrivateRedis {
 public:
  struct Spec {
    std::string data_dir;     // absolute; made (0700) if missing; appendonly files, log, pid file
    std::string socket_path;  // absolute, at most 107 bytes; in a folder that is there. The same in every life.
    std::string program = "redis-server";               // a path, or a name that is looked up in $PATH
    Duration ready_timeout = std::chrono::seconds(10);  // reading a large file takes its time
  };

  // kNotFound: no redis-server is installed. kInvalidArgument: a path is too long or not absolute. kFailedPrecondition:
  // another server listens on the socket. kUnavailable: it did not answer in time, or ended; with its log's last line.
  static absl::StatusOr<PrivateRedis> Start(Spec spec);
  // One that runs on `spec`'s directory, answering or not; kNotFound: none does.
  static absl::StatusOr<PrivateRedis> Find(Spec spec);

  // Starts the server again if it has ended; does not wait until it answers.
  absl::Status Revive();

  // Ends the server and waits for it; what it acknowledged is on the disk. OK if it has ended already. One that does
  // not react within a second is killed.
  absl::Status Stop();

  const RedisAddress& address() const { return address_; }
  // 0: none runs, or one that has only begun to start.
  pid_t pid() const;
  bool adopted() const { return adopted_; }

 private:
  explicit PrivateRedis(Spec spec);
  absl::Status LaunchHere();
  absl::Status CheckAnswers(Duration timeout) const;
  std::string LastLogLine() const;

  Spec spec_;
  RedisAddress address_;
  bool adopted_ = true;  // until this object has launched one
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_PRIVATE_REDIS_H_
