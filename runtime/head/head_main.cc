#include "runtime/head/head_main.h"

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/uv_event_loop.h"
#include "runtime/head/head_server.h"

namespace manta::runtime {
namespace {

class HeadProcess {
 public:
  explicit HeadProcess(HeadProcessSpec spec)
      : spec_(std::move(spec)),
        signals_(&loop_, [this] { loop_.Stop(); }),
        metadata_(&loop_, MetadataOptions(), [this](const absl::Status& why) { End(why); }) {}

  int Run() {
    absl::Status started = Start();
    if (!started.ok()) End(started);
    if (!ended_) loop_.Run();
    if (announced_) RemoveDaemonFile(spec_.run_dir, file_);
    return status_;
  }

 private:
  Metadata::Options MetadataOptions() const {
    return {spec_.metadata, spec_.durability, spec_.cluster.cluster_id, spec_.cluster.state_dir, spec_.run_dir};
  }

  absl::Status Start() {
    MANTA_ASSIGN_OR_RETURN(file_, OwnDaemonFile());
    file_.is_head = true;
    // First of all: a port in use must not cost anything.
    MANTA_ASSIGN_OR_RETURN(server_, HeadServer::Create(&loop_, {spec_.cluster, spec_.head}));
    MANTA_RETURN_IF_ERROR(WriteClusterFile(spec_.run_dir, server_->address(), spec_.cluster.state_dir));
    MANTA_ASSIGN_OR_RETURN(store_, metadata_.MakeStore());
    store_->Open([this](absl::StatusOr<KvOpened> opened) {
      const absl::Status status = opened.ok() ? Serve(*opened) : opened.status();
      if (!status.ok()) End(status);
    });
    return absl::OkStatus();
  }

  absl::Status Serve(const KvOpened& opened) {
    MANTA_LOG(kInfo) << "epoch " << opened.epoch << ", " << opened.facts.size() << " facts";
    server_->Serve(std::move(store_), opened);
    MANTA_RETURN_IF_ERROR(WriteAddress(spec_.cluster.state_dir, server_->address()));
    MANTA_RETURN_IF_ERROR(WriteDaemonFile(spec_.run_dir, file_));
    announced_ = true;
    spec_.ready.Ready(server_->address());
    return absl::OkStatus();
  }

  void End(const absl::Status& why) {
    if (std::exchange(ended_, true)) return;
    MANTA_LOG(kError) << "the head ends: " << base::Message(why);
    spec_.ready.Failed(why);
    status_ = 1;
    loop_.Stop();
  }

  HeadProcessSpec spec_;
  base::UvEventLoop loop_;
  EndSignals signals_;
  Metadata metadata_;
  DaemonFile file_;
  std::unique_ptr<KvStore> store_;  // until it is open
  std::unique_ptr<HeadServer> server_;
  bool announced_ = false;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace

int RunHead(HeadProcessSpec spec) {
  (void)base::Log::Open(spec.log_dir + "/head.log", "head", base::LogLevel::kInfo);
  return HeadProcess(std::move(spec)).Run();
}

}  // namespace manta::runtime
