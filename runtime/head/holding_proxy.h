// HoldingProxy stands between a store and its Redis: it keeps back what connections send until they are long given up,
// or loses what they are answered.
//
// Threads:    loop-confined.
#ifndef MANTA_RUNTIME_HEAD_HOLDING_PROXY_H_
#define MANTA_RUNTIME_HEAD_HOLDING_PROXY_H_

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/socket.h"

namespace manta::runtime {

class HoldingProxy {
 public:
  HoldingProxy(base::EventLoop* loop, const std::string& path, std::string target)
      : loop_(loop), target_(std::move(target)) {
    absl::StatusOr<base::UniqueFd> listener = base::ListenUnix(path);
    EXPECT_TRUE(listener.ok()) << listener.status();
    if (!listener.ok()) return;
    listener_ = *std::move(listener);
    accepting_ = loop_->WatchFd(listener_.get(), base::kReadable, [this](int) { Accept(); });
  }

  // The connections of now send nothing to the server any more, but remember it. New ones are not concerned.
  void Hold() {
    for (const auto& link : links_) link->holds = true;
  }
  // What was kept back arrives, whether who sent it is still there or not.
  void Release() {
    for (const auto& link : links_) {
      link->holds = false;
      Flush(link.get());
    }
  }
  // The connections of now hear nothing from the server any more.
  void LoseReplies() {
    for (const auto& link : links_) link->server_watch.Reset();
  }

 private:
  struct Link {
    base::UniqueFd client, server;
    base::FdWatch client_watch, server_watch;
    std::string kept;  // from the client, for the server
    bool holds = false;
  };

  void Accept() {
    absl::StatusOr<base::UniqueFd> client = base::AcceptUnix(listener_.get());
    absl::StatusOr<base::UniqueFd> server = base::ConnectUnix(target_);
    if (!client.ok() || !server.ok()) return;
    links_.push_back(std::make_unique<Link>());
    Link* const link = links_.back().get();
    link->client = *std::move(client);
    link->server = *std::move(server);
    link->client_watch = loop_->WatchFd(link->client.get(), base::kReadable, [this, link](int) { FromClient(link); });
    link->server_watch = loop_->WatchFd(link->server.get(), base::kReadable, [link](int) { FromServer(link); });
  }

  static void FromServer(Link* link) {
    char buffer[65536];
    const ssize_t size = read(link->server.get(), buffer, sizeof(buffer));
    if (size <= 0) return link->server_watch.Reset();
    (void)send(link->client.get(), buffer, static_cast<size_t>(size), MSG_NOSIGNAL);
  }

  void FromClient(Link* link) {
    char buffer[65536];
    const ssize_t size = read(link->client.get(), buffer, sizeof(buffer));
    if (size <= 0) return link->client_watch.Reset();
    link->kept.append(buffer, static_cast<size_t>(size));
    if (!link->holds) Flush(link);
  }

  static void Flush(Link* link) {
    if (link->kept.empty()) return;
    (void)send(link->server.get(), link->kept.data(), link->kept.size(), MSG_NOSIGNAL);
    link->kept.clear();
  }

  base::EventLoop* const loop_;
  const std::string target_;
  base::UniqueFd listener_;
  base::FdWatch accepting_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HOLDING_PROXY_H_
