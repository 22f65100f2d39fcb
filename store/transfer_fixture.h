// For tests of transfers: a client and a server in this process, the connections between them, and what spoils these.
#ifndef MANTA_STORE_TRANSFER_FIXTURE_H_
#define MANTA_STORE_TRANSFER_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/time.h"
#include "store/transfer_client.h"
#include "store/transfer_server.h"
#include "store/transfer_test_support.h"

namespace manta::store {

inline constexpr uint64_t kMiB = 1 << 20;
inline constexpr NodeId kSource = 1, kOther = 2, kReader = 3;

inline TransferItem Object(uint64_t number, uint32_t attempt = 0) {
  return TransferItem::Object({{kSource, 4}, number, 5}, attempt);
}

// Carries bytes between the two ends of a connection, and spoils them.
class Relay {
 public:
  struct Faults {
    uint64_t cut_after = UINT64_MAX;  // bytes to the client
    uint64_t flip_at = UINT64_MAX;    // this byte to the client is another one
    Duration pause{};                 // before each byte to the client
  };
  Relay(base::UniqueFd client, base::UniqueFd server, Faults faults)
      : client_(std::move(client)), server_(std::move(server)), faults_(faults) {
    up_ = std::thread([this] { Up(); });
    down_ = std::thread([this] { Down(); });
  }
  ~Relay() {
    End();
    up_.join();
    down_.join();
  }
  uint64_t bytes_down() const { return bytes_down_; }

 private:
  void End() {
    (void)shutdown(client_.get(), SHUT_RDWR);
    (void)shutdown(server_.get(), SHUT_RDWR);
  }
  void Up() {
    char bytes[4096];
    for (ssize_t got; (got = recv(client_.get(), bytes, sizeof bytes, 0)) > 0;) {
      if (send(server_.get(), bytes, static_cast<size_t>(got), MSG_NOSIGNAL) != got) break;
    }
    End();
  }
  void Down() {
    std::vector<char> bytes(faults_.pause > Duration::zero() ? 1 : 64 << 10);
    while (bytes_down_ < faults_.cut_after) {
      if (faults_.pause > Duration::zero()) std::this_thread::sleep_for(faults_.pause);
      const size_t room = std::min<uint64_t>(bytes.size(), faults_.cut_after - bytes_down_);
      const ssize_t got = recv(server_.get(), bytes.data(), room, 0);
      if (got <= 0) break;
      const auto size = static_cast<size_t>(got);
      if (bytes_down_ <= faults_.flip_at && faults_.flip_at < bytes_down_ + size)
        bytes[faults_.flip_at - bytes_down_] ^= 1;
      for (size_t sent = 0; sent < size;) {
        const ssize_t more = send(client_.get(), bytes.data() + sent, size - sent, MSG_NOSIGNAL);
        if (more <= 0) return End();
        sent += static_cast<size_t>(more);
      }
      bytes_down_ += size;
    }
    End();
  }

  const base::UniqueFd client_, server_;
  const Faults faults_;
  std::atomic<uint64_t> bytes_down_{0};
  std::thread up_, down_;
};

class TransferTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void TearDown() override {
    client_.reset();
    relays_.clear();
    server_.reset();
  }

  // Makes both anew, with other limits.
  void Start(DataSocket::Limits limits, DataSocket::Limits server_limits = {}) {
    client_.reset();
    server_.reset();
    TransferServer::Options serving;
    serving.source = [this](const TransferItem& item) { return Open(item); };
    serving.limits = server_limits;
    server_.emplace(std::move(serving));
    client_.emplace(
        TransferClient::Options{[this](NodeId peer, Duration patience) { return Dial(peer, patience); }, limits});
  }

  // ---- the source
  const Memory& Store(const TransferItem& item, size_t size_bytes, uint64_t offset = 0) {
    auto memory = std::make_unique<Memory>(offset + size_bytes);
    memory->FillRandomly(size_bytes);
    std::lock_guard lock(mutex_);
    Stored& stored = stored_.emplace_back();
    stored = {item, offset, size_bytes, std::move(memory)};
    return *stored.memory;
  }
  std::optional<TransferServer::Opened> Open(const TransferItem& item) {
    std::lock_guard lock(mutex_);
    for (Stored& stored : stored_) {
      if (stored.item != item) continue;
      if (drops_what_is_opened_) stored.item = {};
      ++holds_;
      return TransferServer::Opened{stored.memory->fd->get(), stored.offset, stored.size_bytes,
                                    std::shared_ptr<const void>(this, [this](const void*) { --holds_; })};
    }
    return std::nullopt;
  }

  // ---- connections
  absl::StatusOr<base::UniqueFd> Dial(NodeId peer, Duration) {
    ++dials_;
    std::unique_lock lock(mutex_);
    if (!reachable_) return absl::UnavailableError("connection refused by the test");
    auto [here, there] = TcpPair();
    if (silent_.contains(peer)) {
      silent_ends_.push_back(std::move(there));
      return std::move(here);
    }
    if (!faults_.empty()) {
      const Relay::Faults faults = faults_.front();
      if (faults_.size() > 1) faults_.pop_front();
      auto [relay_client, relay_server] = TcpPair();
      relays_.push_back(std::make_unique<Relay>(std::move(there), std::move(relay_client), faults));
      there = std::move(relay_server);
    }
    lock.unlock();
    server_->Serve(std::move(there), kReader);
    return std::move(here);
  }
  uint64_t RelayedBytes() const {
    uint64_t bytes = 0;
    for (const auto& relay : relays_) bytes += relay->bytes_down();
    return bytes;
  }

  // ---- fetching
  struct Outcome {
    std::vector<absl::Status> statuses;
  };
  TransferClient::Done Into(const std::shared_ptr<Outcome>& outcome) {
    return [this, outcome](absl::Status status) {
      std::lock_guard lock(mutex_);
      outcome->statuses.push_back(std::move(status));
      ended_.notify_all();
    };
  }
  std::shared_ptr<Outcome> Begin(const TransferItem& item, const Memory& to, uint64_t size_bytes, uint64_t offset = 0,
                                 NodeId peer = kSource) {
    auto outcome = std::make_shared<Outcome>();
    last_fetch_ = client_->Fetch(peer, item, {to.fd, offset, size_bytes}, Into(outcome));
    return outcome;
  }
  absl::Status Await(const std::shared_ptr<Outcome>& outcome) {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, std::chrono::seconds(20), [&] { return !outcome->statuses.empty(); })) {
      return absl::InternalError("the fetch does not end");
    }
    EXPECT_EQ(outcome->statuses.size(), 1u);
    return outcome->statuses.front();
  }
  absl::Status Fetch(const TransferItem& item, const Memory& to, uint64_t size_bytes, uint64_t offset = 0) {
    return Await(Begin(item, to, size_bytes, offset));
  }
  absl::Status FetchFile(std::string_view content, const std::string& path, uint64_t size_bytes) {
    auto outcome = std::make_shared<Outcome>();
    client_->FetchFile(kSource, rpc::Sha256(content), size_bytes, path, Into(outcome));
    return Await(outcome);
  }
  template <typename Condition>
  static bool Eventually(Condition condition) {
    const Time end = base::SystemClock().Now() + std::chrono::seconds(10);
    while (!condition()) {
      if (base::SystemClock().Now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  struct Stored {
    TransferItem item;
    uint64_t offset = 0;
    uint64_t size_bytes = 0;
    std::unique_ptr<Memory> memory;
  };
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Stored> stored_;
  bool drops_what_is_opened_ = false;
  std::atomic<int> holds_{0};
  std::atomic<int> dials_{0};
  bool reachable_ = true;
  std::set<NodeId> silent_;  // accept, and say nothing
  std::vector<base::UniqueFd> silent_ends_;
  std::deque<Relay::Faults> faults_;  // of the next connections; the last one's stay
  std::vector<std::unique_ptr<Relay>> relays_;
  TransferClient::FetchId last_fetch_ = 0;
  std::optional<TransferServer> server_;
  std::optional<TransferClient> client_;
};

}  // namespace manta::store

#endif  // MANTA_STORE_TRANSFER_FIXTURE_H_
