// Prints how fast an object is pulled over loopback, beside a plain TCP stream of the same size: into memory that has
// been written before, as recycled segments are, and into memory that has not: transfer_bench [MiB]
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "store/transfer_client.h"
#include "store/transfer_server.h"
#include "store/transfer_test_support.h"

namespace manta::store {
namespace {

constexpr int kRounds = 15;

double Seconds() { return static_cast<double>(ToNanos(base::SystemClock().Now())) * 1e-9; }

// The median over kRounds, after one more. `to`: where to, made anew for each round if there is none.
double GibPerSecond(size_t size, const Memory* to, const std::function<void(const Memory&)>& round) {
  std::vector<double> rates;
  for (int i = 0; i <= kRounds; ++i) {
    std::optional<Memory> fresh;
    if (to == nullptr) fresh.emplace(size);
    const double start = Seconds();
    round(to == nullptr ? *fresh : *to);
    if (i > 0) rates.push_back(static_cast<double>(size) / (Seconds() - start) / (1 << 30));
  }
  std::sort(rates.begin(), rates.end());
  return rates[kRounds / 2];
}

// Sends `from` for each byte that it receives.
void SendStreams(int fd, const Memory& from) {
  char go = 0;
  while (recv(fd, &go, 1, 0) == 1) {
    for (size_t sent = 0; sent < from.mapping.size();) {
      const ssize_t more = send(fd, from.mapping.data() + sent, from.mapping.size() - sent, MSG_NOSIGNAL);
      MANTA_CHECK(more > 0);
      sent += static_cast<size_t>(more);
    }
  }
}

void ReceiveStream(int fd, const Memory& to) {
  MANTA_CHECK(send(fd, "g", 1, MSG_NOSIGNAL) == 1);
  for (size_t got = 0; got < to.mapping.size();) {
    const ssize_t more = recv(fd, to.mapping.mutable_data() + got, to.mapping.size() - got, 0);
    MANTA_CHECK(more > 0);
    got += static_cast<size_t>(more);
  }
}

void Fetch(TransferClient* client, const TransferClient::Destination& to) {
  base::Mutex mutex;
  base::CondVar ended;
  bool done = false;
  client->Fetch(1, TransferItem::Object({{1, 1}, 1, 0}, 0), to, [&](const absl::Status& status) {
    MANTA_CHECK(status.ok()) << status;
    base::MutexLock lock(&mutex);
    done = true;
    ended.NotifyOne();
  });
  base::MutexLock lock(&mutex);
  while (!done) ended.Wait(&mutex);
}

void Run(size_t size) {
  const Memory source(size), warm(size);
  source.FillRandomly(1);
  auto [reading, sending] = TcpPair();
  std::thread sender([fd = sending.get(), &source] { SendStreams(fd, source); });
  const auto stream = [fd = reading.get()](const Memory& to) { ReceiveStream(fd, to); };

  TransferServer::Options serving;
  serving.source = [&source, size](const TransferItem&) {
    return TransferServer::Opened{source.fd->get(), 0, size, source.fd};
  };
  TransferServer server(std::move(serving));
  TransferClient::Options fetching;
  fetching.dial = [&server](NodeId, Duration) -> absl::StatusOr<base::UniqueFd> {
    auto [here, there] = TcpPair();
    server.Serve(std::move(there), 2);
    return std::move(here);
  };
  TransferClient client(std::move(fetching));
  const auto pull = [&client, size](const Memory& to) { Fetch(&client, {to.fd, 0, size}); };

  for (const Memory* to : {&warm, static_cast<const Memory*>(nullptr)}) {
    const double raw = GibPerSecond(size, to, stream);
    const double pulled = GibPerSecond(size, to, pull);
    std::printf("%zu MiB over loopback into %s memory, GiB/s: TCP stream %.2f, pull %.2f (%.2f x)\n", size >> 20,
                to == nullptr ? "new" : "warm", raw, pulled, pulled / raw);
  }
  MANTA_CHECK(warm.bytes() == source.bytes());
  reading.reset();
  sender.join();
}

}  // namespace
}  // namespace manta::store

int main(int argc, char** argv) {
  manta::store::Run(static_cast<size_t>(argc > 1 ? std::max(1, std::atoi(argv[1])) : 64) << 20);
  return 0;
}
