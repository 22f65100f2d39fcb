// Prints how fast an object is pulled over loopback, beside a plain TCP stream of the same size into warm memory:
// transfer_bench [MiB]
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "store/transfer_client.h"
#include "store/transfer_server.h"
#include "store/transfer_test_support.h"

namespace manta::store {
namespace {

constexpr int kRounds = 15;

double Seconds() { return static_cast<double>(ToNanos(base::SystemClock().Now())) * 1e-9; }

// The median over kRounds, after one more.
double GibPerSecond(size_t size, const std::function<void()>& round) {
  std::vector<double> rates;
  for (int i = 0; i <= kRounds; ++i) {
    const double start = Seconds();
    round();
    if (i > 0) rates.push_back(static_cast<double>(size) / (Seconds() - start) / (1 << 30));
  }
  std::sort(rates.begin(), rates.end());
  return rates[kRounds / 2];
}

double RawStream(const Memory& from, const Memory& to) {
  auto [client, server] = TcpPair();
  const size_t size = from.mapping.size();
  std::thread sender([&from, fd = server.get(), size] {
    char go = 0;
    while (recv(fd, &go, 1, 0) == 1) {
      for (size_t sent = 0; sent < size;) {
        const ssize_t more = send(fd, from.mapping.data() + sent, size - sent, MSG_NOSIGNAL);
        MANTA_CHECK(more > 0);
        sent += static_cast<size_t>(more);
      }
    }
  });
  const double rate = GibPerSecond(size, [&, fd = client.get()] {
    MANTA_CHECK(send(fd, "g", 1, MSG_NOSIGNAL) == 1);
    for (size_t got = 0; got < size;) {
      const ssize_t more = recv(fd, to.mapping.mutable_data() + got, size - got, 0);
      MANTA_CHECK(more > 0);
      got += static_cast<size_t>(more);
    }
  });
  client.reset();
  sender.join();
  return rate;
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
  const Memory source(size);
  const Memory warm(size);
  source.FillRandomly(1);
  const double raw = RawStream(source, warm);
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
  const double into_warm = GibPerSecond(size, [&] { Fetch(&client, {warm.fd, 0, size}); });
  const double into_new = GibPerSecond(size, [&] { Fetch(&client, {Memory(size).fd, 0, size}); });
  MANTA_CHECK(warm.bytes() == source.bytes());
  std::printf(
      "%zu MiB over loopback, GiB/s: raw TCP stream %.2f, pull into warm memory %.2f (%.2f x), into new %.2f (%.2f "
      "x)\n",
      size >> 20, raw, into_warm, into_warm / raw, into_new, into_new / raw);
}

}  // namespace
}  // namespace manta::store

int main(int argc, char** argv) {
  manta::store::Run(static_cast<size_t>(argc > 1 ? std::max(1, std::atoi(argv[1])) : 64) << 20);
  return 0;
}
