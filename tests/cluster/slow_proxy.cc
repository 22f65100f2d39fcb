#include "tests/cluster/slow_proxy.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "rpc/socket_address.h"

namespace manta::cluster {
namespace {

constexpr int kTickMs = 1;
constexpr double kBurstBytes = 4096;

bool IsForNow(int error) { return error == EAGAIN || error == EINTR || error == EINPROGRESS || error == ENOTCONN; }

}  // namespace

SlowProxy::SlowProxy(std::string target)
    : target_(std::move(target)),
      listener_(*rpc::ListenOn("127.0.0.1:0", 64)),
      address_(*rpc::LocalAddress(listener_.get())),
      thread_([this] { Serve(); }) {}

SlowProxy::~SlowProxy() {
  ends_ = true;
  thread_.join();
}

void SlowProxy::Set(Shape shape) {
  const std::lock_guard<std::mutex> lock(mutex_);
  shape_ = shape;
}

void SlowProxy::FreezeThoseOfNow() {
  const std::lock_guard<std::mutex> lock(mutex_);
  freeze_ = true;
}

void SlowProxy::Serve() {
  Clock::time_point last = Clock::now();
  while (!ends_) {
    pollfd ready{listener_.get(), POLLIN, 0};
    if (poll(&ready, 1, kTickMs) > 0) Accept();
    const Clock::time_point now = Clock::now();
    const double elapsed = std::chrono::duration<double>(now - std::exchange(last, now)).count();
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Pair& pair : pairs_) pair.frozen = pair.frozen || freeze_;
    freeze_ = false;
    pairs_.remove_if([&](Pair& pair) { return !pair.frozen && !Forward(pair, elapsed); });
    connections_ = pairs_.size();
  }
}

void SlowProxy::Accept() {
  base::UniqueFd guest(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  absl::StatusOr<base::UniqueFd> there = rpc::ConnectTo(target_);
  if (!guest || !there.ok()) return;
  Pair& pair = pairs_.emplace_back();
  pair.ends[0] = std::move(guest);
  pair.ends[1] = *std::move(there);
}

bool SlowProxy::Forward(Pair& pair, double elapsed_seconds) {
  for (const int from : {0, 1}) {
    if (!Read(pair, from) || !Write(pair, from, elapsed_seconds)) return false;
  }
  return !(pair.ways[0].ended && pair.ways[0].held.empty()) && !(pair.ways[1].ended && pair.ways[1].held.empty());
}

bool SlowProxy::Read(Pair& pair, int from) {
  Way& way = pair.ways[from];
  char bytes[16 << 10];
  while (!way.ended && way.held_bytes < kHeldBytesMax) {
    const ssize_t size = recv(pair.ends[from].get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0) return IsForNow(errno);
    way.ended = size == 0;
    if (size == 0) break;
    way.held.push_back({Clock::now() + shape_.delay, std::string(bytes, static_cast<size_t>(size))});
    way.held_bytes += static_cast<size_t>(size);
  }
  return true;
}

bool SlowProxy::Write(Pair& pair, int from, double elapsed_seconds) {
  Way& way = pair.ways[from];
  const double most = std::max(1.0, std::min(kBurstBytes, shape_.bytes_per_second));
  way.credit_bytes = shape_.bytes_per_second > 1e9
                         ? static_cast<double>(kHeldBytesMax)
                         : std::min(most, way.credit_bytes + shape_.bytes_per_second * elapsed_seconds);
  while (!way.held.empty() && way.held.front().due <= Clock::now() && way.credit_bytes >= 1) {
    std::string& bytes = way.held.front().bytes;
    const size_t size = std::min(bytes.size(), static_cast<size_t>(way.credit_bytes));
    const ssize_t sent = send(pair.ends[1 - from].get(), bytes.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return IsForNow(errno);
    way.credit_bytes -= static_cast<double>(sent);
    way.held_bytes -= static_cast<size_t>(sent);
    bytes.erase(0, static_cast<size_t>(sent));
    if (bytes.empty()) way.held.pop_front();
  }
  return true;
}

}  // namespace manta::cluster
