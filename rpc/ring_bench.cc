#include "rpc/ring_bench.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "base/process.h"
#include "base/socket.h"
#include "rpc/ring.h"
#include "rpc/schema/task.capnp.h"
#include "rpc/shm_port.h"

namespace manta::rpc {
namespace {

constexpr size_t kSocketBytes = 64;
constexpr size_t kDrainBudget = 256;
// Calls that a caller makes before it looks for replies.
constexpr int kBurst = 16;

Time Now() { return base::SystemClock().Now(); }

// The peer process, until the end of this object.
class Peer {
 public:
  static absl::StatusOr<Peer> Start(const std::function<void()>& run) {
    const pid_t pid = fork();
    if (pid < 0) return base::ErrnoStatus(errno, "fork");
    if (pid == 0) {
      run();
      _exit(0);
    }
    return Peer(pid);
  }
  Peer(Peer&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ~Peer() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  explicit Peer(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

RoundTrips Summary(std::vector<Duration> times) {
  std::sort(times.begin(), times.end());
  return {times.size(), times[times.size() / 2], times[times.size() * 99 / 100]};
}

template <typename RoundTrip>
RoundTrips Repeat(size_t count, RoundTrip&& round_trip) {
  for (size_t i = 0; i < count / 10; ++i) round_trip();  // warm
  std::vector<Duration> times;
  times.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Time begin = Now();
    round_trip();
    times.push_back(Now() - begin);
  }
  return Summary(std::move(times));
}

// ---------------------------------------------------------------- rings

// A ring there and one back.
struct Rings {
  static absl::StatusOr<Rings> Create() {
    Rings rings;
    MANTA_ASSIGN_OR_RETURN(const base::UniqueFd fd, base::CreateSealedMemfd("manta-bench", kRingFileBytes));
    MANTA_ASSIGN_OR_RETURN(rings.memory,
                           base::Mapping::Map(fd.get(), kRingFileBytes, base::Mapping::Access::kReadWrite));
    return rings;
  }
  RingMemory ring(int number) const {
    char* base = memory.mutable_data();
    return {reinterpret_cast<RingControl*>(base) + number, base + 4096 + number * kRingBytes};
  }
  base::Mapping memory;
};

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

const char* AwaitFrame(RingConsumer* in, RingHeader* header) {
  const char* body = nullptr;
  while (in->Next(header, &body) != RingConsumer::Result::kFrame) Relax();
  return body;
}

char* AwaitRoom(RingProducer* out, size_t bytes) {
  char* body;
  while ((body = out->Reserve(bytes)) == nullptr) Relax();
  return body;
}

// Builds a message of one segment and writes it with its segment table.
template <typename Root, typename Fill>
void WriteMessage(RingProducer* out, Fill&& fill) {
  capnp::word scratch[128];
  std::memset(scratch, 0, sizeof(scratch));
  capnp::MallocMessageBuilder builder(kj::arrayPtr(scratch, 128));
  fill(builder.initRoot<Root>());
  const auto segment = builder.getSegmentsForOutput()[0];
  const auto bytes = static_cast<uint32_t>(8 + segment.size() * 8);
  char* body = AwaitRoom(out, bytes);
  const uint32_t table[2] = {0, static_cast<uint32_t>(segment.size())};
  std::memcpy(body, table, 8);
  std::memcpy(body + 8, segment.begin(), segment.size() * 8);
  out->Commit({.body_bytes = bytes, .capnp_bytes = bytes});
}

template <typename Root, typename Use>
void ReadMessage(const RingHeader& header, const char* body, Use&& use) {
  capnp::FlatArrayMessageReader reader(kj::arrayPtr(reinterpret_cast<const capnp::word*>(body), header.body_bytes / 8));
  use(reader.getRoot<Root>());
}

// What an actor call with one small argument sets (rpc/codec_task.cc), its argument's 8 bytes among the fields.
void WriteRequest(RingProducer* out, uint64_t number) {
  WriteMessage<schema::CallRequest>(out, [number](schema::CallRequest::Builder request) {
    auto call = request.getCall();
    call.setCallerNode(1);
    call.setCallerNumber(2);
    call.setNumber(number);
    request.setJob(1);
    request.setFunction(0x1234567890ABCDEF);
    auto actor = request.getActor();
    actor.setCreatorNode(1);
    actor.setCreatorNumber(2);
    actor.setNumber(3);
    request.setActorIncarnation(1);
    request.setSequence(number);
    request.setReturnCount(1);
    request.initArgs(1)[0].setInlineBytes(8);
    request.setTrace(number);
  });
}

void WriteReply(RingProducer* out, uint64_t number) {
  WriteMessage<schema::CallReply>(out, [number](schema::CallReply::Builder reply) {
    auto call = reply.getCall();
    call.setCallerNode(1);
    call.setCallerNumber(2);
    call.setNumber(number);
    reply.initReturns(1)[0].setInlineBytes(8);
  });
}

uint64_t ReadRequest(RingConsumer* in) {
  RingHeader header;
  const char* body = AwaitFrame(in, &header);
  uint64_t number = 0;
  ReadMessage<schema::CallRequest>(header, body, [&number](schema::CallRequest::Reader request) {
    number = request.getSequence() + request.getArgs()[0].getInlineBytes() - 8;
  });
  in->Pop();
  return number;
}

uint64_t ReadReply(RingConsumer* in) {
  RingHeader header;
  const char* body = AwaitFrame(in, &header);
  uint64_t number = 0;
  ReadMessage<schema::CallReply>(header, body, [&number](schema::CallReply::Reader reply) {
    number = reply.getCall().getNumber() + reply.getReturns()[0].getInlineBytes() - 8;
  });
  in->Pop();
  return number;
}

void AnswerMessages(const Rings& rings) {
  RingConsumer in(rings.ring(0));
  RingProducer out(rings.ring(1));
  while (true) WriteReply(&out, ReadRequest(&in));
}

// ---------------------------------------------------------------- channels

struct Counter : Channel::Handler {
  void OnMessage(Channel&, Message) override { ++count; }
  void OnClosed(Channel&, const absl::Status&) override {}
  size_t count = 0;
};

struct Answerer : Channel::Handler {
  void OnMessage(Channel& channel, Message message) override {
    CallReply reply;
    reply.call = std::get<CallRequest>(message).call;
    reply.returns.resize(1);
    reply.returns[0].bytes = Bytes("12345678");
    if (!channel.Send(reply).ok()) _exit(1);
  }
  void OnClosed(Channel&, const absl::Status&) override {}
};

// A caller's port here, a worker's in another process that answers every call.
class ChannelPair {
 public:
  static absl::StatusOr<std::unique_ptr<ChannelPair>> Create() {
    std::unique_ptr<ChannelPair> pair(new ChannelPair);
    MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<PollingPage> page, PollingPage::Create());
    page->SetWakeCost(MeasureWakeCost());
    const int cpus = base::AvailableCpus();
    for (const uint32_t slot : {*page->TakeSlot(), *page->TakeSlot()}) {
      MANTA_ASSIGN_OR_RETURN(PollingSlot polling, PollingSlot::Open(page->fd(), slot, cpus));
      polling.Awake();
      MANTA_ASSIGN_OR_RETURN((slot == 0 ? pair->port_ : pair->peers_port_), ShmPort::Create({}, std::move(polling)));
    }
    MANTA_ASSIGN_OR_RETURN(const ShmPair channels, CreateShmPair(pair->port_.get(), &pair->replies_,
                                                                 pair->peers_port_.get(), &pair->answerer_));
    pair->channel_ = channels.a;
    MANTA_ASSIGN_OR_RETURN(Peer peer, Peer::Start([&pair] { pair->Answer(); }));
    pair->peer_ = std::make_unique<Peer>(std::move(peer));
    return pair;
  }

  void Send() {
    request_.call.number = request_.sequence = ++sent_;
    if (!channel_->Send(request_).ok()) _exit(1);
  }
  // Until at most `outstanding_max` calls have no reply.
  void Await(size_t outstanding_max) {
    while (true) {
      const PeerAttention::Rang rang = port_->RingBells();
      if (sent_ - replies_.count <= outstanding_max) return;
      port_->Wait(kInfiniteFuture, rang, [] { return false; });
      port_->Drain(kDrainBudget);
    }
  }
  void Leave() {
    while (port_->Leave(Attending::kBusy)) port_->Drain(kDrainBudget);
  }

 private:
  ChannelPair() {
    request_.call = {{1, 2}, 0};
    request_.job = 1;
    request_.function = 0x1234567890ABCDEF;
    request_.actor = {{1, 2}, 3};
    request_.actor_incarnation = 1;
    request_.args.resize(1);
    request_.args[0].bytes = Bytes("12345678");
  }
  void Answer() {
    PeerAttention::Rang rang = PeerAttention::Rang::kNothing;
    while (true) {
      peers_port_->Wait(kInfiniteFuture, rang, [] { return false; });
      peers_port_->Drain(kDrainBudget);
      rang = peers_port_->RingBells();
    }
  }

  std::unique_ptr<ShmPort> port_, peers_port_;
  Counter replies_;
  Answerer answerer_;
  ShmChannel* channel_ = nullptr;
  std::unique_ptr<Peer> peer_;
  CallRequest request_;
  size_t sent_ = 0;
};

}  // namespace

absl::StatusOr<RoundTrips> BenchRawRing(size_t count) {
  MANTA_ASSIGN_OR_RETURN(const Rings rings, Rings::Create());
  const auto pass_on = [](RingConsumer* in, RingProducer* out) {
    RingHeader header;
    uint64_t value;
    std::memcpy(&value, AwaitFrame(in, &header), 8);
    in->Pop();
    std::memcpy(AwaitRoom(out, 8), &value, 8);
    out->Commit({.body_bytes = 8});
  };
  MANTA_ASSIGN_OR_RETURN(const Peer peer, Peer::Start([&rings, &pass_on] {
                           RingConsumer in(rings.ring(0));
                           RingProducer out(rings.ring(1));
                           while (true) pass_on(&in, &out);
                         }));
  RingProducer out(rings.ring(0));
  RingConsumer in(rings.ring(1));
  const auto start = [&out] {
    std::memset(AwaitRoom(&out, 8), 0, 8);
    out.Commit({.body_bytes = 8});
  };
  return Repeat(count, [&] {
    start();
    RingHeader header;
    AwaitFrame(&in, &header);
    in.Pop();
  });
}

absl::StatusOr<RoundTrips> BenchMessageRing(size_t count) {
  MANTA_ASSIGN_OR_RETURN(const Rings rings, Rings::Create());
  MANTA_ASSIGN_OR_RETURN(const Peer peer, Peer::Start([&rings] { AnswerMessages(rings); }));
  RingProducer out(rings.ring(0));
  RingConsumer in(rings.ring(1));
  uint64_t number = 0;
  return Repeat(count, [&] {
    WriteRequest(&out, ++number);
    ReadReply(&in);
  });
}

absl::StatusOr<double> BenchMessageRingStream(size_t count, size_t in_flight) {
  MANTA_ASSIGN_OR_RETURN(const Rings rings, Rings::Create());
  MANTA_ASSIGN_OR_RETURN(const Peer peer, Peer::Start([&rings] { AnswerMessages(rings); }));
  RingProducer out(rings.ring(0));
  RingConsumer in(rings.ring(1));
  const Time begin = Now();
  uint64_t sent = 0;
  uint64_t received = 0;
  while (received < count) {
    for (int i = 0; i < kBurst && sent < count && sent - received < in_flight; ++i) WriteRequest(&out, ++sent);
    do {
      ReadReply(&in);
      ++received;
    } while (in.HasFrame() || (received < sent && sent - received == in_flight));
  }
  return static_cast<double>(count) / std::chrono::duration<double>(Now() - begin).count();
}

absl::StatusOr<RoundTrips> BenchChannel(size_t count) {
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<ChannelPair> pair, ChannelPair::Create());
  return Repeat(count, [&pair] {
    pair->Send();
    pair->Await(0);
  });
}

absl::StatusOr<double> BenchChannelStream(size_t count, size_t in_flight) {
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<ChannelPair> pair, ChannelPair::Create());
  const Time begin = Now();
  for (size_t i = 0; i < count; ++i) {
    pair->Send();
    // As a caller that makes call after call: it gives up its lock, and looks, once in a while.
    if (i % kBurst == 0) pair->Await(in_flight);
  }
  pair->Await(0);
  return static_cast<double>(count) / std::chrono::duration<double>(Now() - begin).count();
}

absl::StatusOr<RoundTrips> BenchSleepingChannel(size_t count, Duration pause) {
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<ChannelPair> pair, ChannelPair::Create());
  std::vector<Duration> times;
  for (size_t i = 0; i < count; ++i) {
    pair->Leave();
    std::this_thread::sleep_for(pause);
    const Time begin = Now();
    pair->Send();
    pair->Await(0);
    times.push_back(Now() - begin);
  }
  return Summary(std::move(times));
}

absl::StatusOr<RoundTrips> BenchSleepingSocket(size_t count, Duration pause) {
  MANTA_ASSIGN_OR_RETURN(auto sockets, base::SocketPair(base::SocketKind::kStream, /*nonblocking=*/false));
  const int here = sockets.first.get();
  const int there = sockets.second.get();
  MANTA_ASSIGN_OR_RETURN(const Peer peer, Peer::Start([there] {
                           char bytes[kSocketBytes];
                           while (read(there, bytes, sizeof(bytes)) > 0 && write(there, bytes, sizeof(bytes)) > 0) {
                           }
                         }));
  std::vector<Duration> times;
  char bytes[kSocketBytes] = {};
  for (size_t i = 0; i < count; ++i) {
    std::this_thread::sleep_for(pause);
    const Time begin = Now();
    if (write(here, bytes, sizeof(bytes)) < 0 || read(here, bytes, sizeof(bytes)) <= 0) {
      return base::ErrnoStatus(errno, "socket ping-pong");
    }
    times.push_back(Now() - begin);
  }
  return Summary(std::move(times));
}

absl::StatusOr<double> BenchDrainOfMany(size_t channels, size_t count) {
  MANTA_ASSIGN_OR_RETURN(PollingSlot polling, PollingSlot::CreateAlone(2, Duration(1)));
  MANTA_ASSIGN_OR_RETURN(PollingSlot peers_polling, PollingSlot::CreateAlone(2, Duration(1)));
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<ShmPort> port, ShmPort::Create({}, std::move(polling)));
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<ShmPort> peers, ShmPort::Create({}, std::move(peers_polling)));
  Counter counter;
  std::vector<ShmPair> pairs(channels);
  for (ShmPair& pair : pairs) {
    MANTA_ASSIGN_OR_RETURN(pair, CreateShmPair(port.get(), &counter, peers.get(), &counter));
    port->Drain(kDrainBudget);
  }
  const Message message = CallRequest();
  Duration total{};
  for (size_t i = 0; i < count; ++i) {
    MANTA_RETURN_IF_ERROR(pairs[i * 7919 % channels].b->Send(message));
    peers->RingBells();
    const Time begin = Now();
    port->Drain(kDrainBudget);
    total += Now() - begin;
  }
  return static_cast<double>(total.count()) / static_cast<double>(count);
}

}  // namespace manta::rpc
