// Metadata is where a head keeps its facts: which store `--metadata` names, opened and watched.
//
//   private     a redis-server of the cluster's own, started and adopted (the default)
//   memory      nowhere: a head that ends takes the cluster's memory with it
//   redis://... one's own server
//
// Ownership:  owns the private server's handle and the commit file. Borrows the loop.
// Threads:    loop-confined.
// See:        docs/metadata.md
#ifndef MANTA_RUNTIME_HEAD_METADATA_H_
#define MANTA_RUNTIME_HEAD_METADATA_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "runtime/head/commit_file.h"
#include "runtime/head/kv_store.h"
#include "runtime/head/private_redis.h"
#include "runtime/head/redis_safety.h"

namespace manta::runtime {

class Metadata {
 public:
  struct Options {
    std::string where = "private";
    MetadataDurability durability = MetadataDurability::kAlways;
    std::string cluster_id;
    std::string state_dir;
    std::string run_dir;  // of the cluster
  };

  // `ended`: nothing more is kept (another head took over, or facts were lost): the head must end.
  Metadata(base::EventLoop* loop, Options options, std::function<void(absl::Status why)> ended);
  ~Metadata();
  Metadata(const Metadata&) = delete;
  Metadata& operator=(const Metadata&) = delete;

  // Starts what there is to start, and makes the store, which is still to be opened. Errors: as PrivateRedis::Start and
  // ParseRedisUrl.
  absl::StatusOr<std::unique_ptr<KvStore>> MakeStore();

  // The private server of the cluster with that state directory, whoever started it.
  static PrivateRedis::Spec PrivateSpec(const std::string& state_dir, const std::string& run_dir);

 private:
  void OnAway();

  base::EventLoop* const loop_;
  const Options options_;
  const std::function<void(absl::Status)> ended_;
  std::optional<PrivateRedis> private_;
  std::unique_ptr<CommitFile> commits_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_METADATA_H_
