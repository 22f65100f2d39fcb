#include "tests/sim/cable.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "base/status.h"
#include "rpc/codec.h"
#include "rpc/send_queue.h"
#include "tests/sim/strangers.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr uint64_t kNever = UINT64_MAX;
constexpr size_t kGatherBytesMin = 256;
constexpr size_t kReadsMax = 16;           // in one turn, as SocketChannel does
constexpr size_t kBytesOneByOneMax = 150;  // of one frame
constexpr Duration kHandshakeMax = seconds(3);
constexpr Duration kSilenceMax = seconds(6);  // until a half-open connection is given up
constexpr Duration kRedialAfter = milliseconds(20);
constexpr Duration kRedialAfterMax = milliseconds(500);

rpc::Bits256 Draw(base::Rng* rng) {
  rpc::Bits256 bits;
  for (size_t i = 0; i < bits.size(); i += 8) {
    const uint64_t word = rng->Next();
    for (size_t j = 0; j < 8; ++j) bits[i + j] = static_cast<uint8_t>(word >> (8 * j));
  }
  return bits;
}

uint64_t HashOf(const rpc::FrameBuffer& body) {
  base::Hasher64 hasher;
  body.ForEachRun([&](const rpc::FrameBuffer::Run& run) { hasher.Update(run.data, run.size); });
  return hasher.Digest();
}

}  // namespace

// The bytes on their way to one end.
struct Cable::Direction {
  struct Piece {
    Time arrives;
    std::string bytes;
  };
  std::deque<Piece> flying;
  size_t flying_bytes = 0;
  Time last_arrival{};
  uint64_t written = 0;  // so many the writer's socket has taken
  uint64_t read = 0;
  bool writer_waits = false;            // its socket is full
  uint64_t cut_at = kNever;             // what is written from there on never arrives
  bool is_cut = false;                  // that has come to pass
  bool acknowledged_no_more = false;    // nothing comes back then, either
  bool resets = false;                  // what was not read by then is gone; else it is read before the end
  uint64_t slow_from = 0, slow_to = 0;  // one by one
};

struct Cable::Connection {
  struct ConnectionEnd {
    bool up = true;
    std::unique_ptr<rpc::Handshake> handshake;  // null: has proved itself
    rpc::FrameParser parser{rpc::FrameLimits::Unauthenticated()};
    rpc::SendQueue queue;
    bool flushes = false;  // soon
  };
  size_t capacity = 0;  // of a socket
  size_t write_max = 0, read_max = 0;
  ConnectionEnd end[2];
  Direction to[2];
};

Cable::Cable(EventQueue* queue, base::Rng rng, const Options& options, Handler* handler)
    : queue_(queue), rng_(rng), options_(options), handler_(handler), redial_after_(kRedialAfter) {
  dial_pending_ = true;
  queue_->After(microseconds(rng_.Between(10, 100)), [this] { Dial(); });
}

Cable::~Cable() = default;

// ---------------------------------------------------------------- connections

void Cable::DialLater() {
  if (dial_pending_) return;
  dial_pending_ = true;
  queue_->After(redial_after_, [this] { Dial(); });
  redial_after_ = std::min(redial_after_ * 2, kRedialAfterMax);
}

void Cable::Dial() {
  dial_pending_ = false;
  if (!handler_->IsThere(0) || !handler_->IsThere(1)) return;  // for good: a process has one life
  if (handler_->IsCut()) return DialLater();
  if (Faulty()) {
    handler_->OnFault(StreamFault::kRefused);
    return DialLater();
  }
  if (Faulty()) TryStrangers();
  const auto connection = std::make_shared<Connection>();
  PlanConnection(connection.get());
  connection->end[0].handshake = std::make_unique<rpc::ClientHandshake>(ClientOptions());
  connection->end[1].handshake = std::make_unique<rpc::ServerHandshake>(ServerOptions(), false);
  dialled_ = connection;
  std::vector<rpc::HandshakeMessage> first;
  connection->end[0].handshake->Start(&first);
  SendHandshake(connection, 0, first);
  queue_->After(kHandshakeMax, [this, connection] {
    for (int side = 0; side < 2; ++side) {
      if (connection->end[side].handshake) Break(connection, side, "the handshake takes too long");
    }
  });
}

// Most sockets are roomy; some make every frame a story.
void Cable::PlanConnection(Connection* connection) {
  const bool narrow = rng_.Uniform(4) == 0;
  connection->capacity = narrow ? 100 + rng_.Uniform(2'000) : 64 << 10;
  connection->write_max = narrow ? 20 + rng_.Uniform(400) : 1 << 20;
  connection->read_max = narrow ? 20 + rng_.Uniform(400) : 1 << 20;
  if (!Faulty()) return;
  // Either side's half of the handshake is cut.
  const uint64_t to = rng_.Uniform(2);
  connection->to[to].cut_at = rng_.Uniform(300);
  connection->to[to].resets = rng_.Uniform(2) == 0;
  handler_->OnFault(StreamFault::kCutInHandshake);
}

void Cable::Break(const ConnectionPtr& connection, int side, std::string_view why) {
  if (!std::exchange(connection->end[side].up, false)) return;
  connection->end[side].queue.Clear();
  if (handler_->IsThere(side)) handler_->Note(side, "breaks", why);
  const bool dials = side == 0 && (current_[0] == connection || dialled_ == connection);
  if (current_[side] == connection) current_[side].reset();
  if (side == 0 && dialled_ == connection) dialled_.reset();
  // The other one reads to the end first, if the end gets through.
  BreakAfter(connection, 1 - side, microseconds(rng_.Between(50, 20'000)), "the peer closed it", true);
  if (dials) DialLater();
}

void Cable::BreakAfter(const ConnectionPtr& connection, int side, Duration delay, std::string_view why,
                       bool reads_first) {
  queue_->After(delay, [this, connection, side, why, reads_first] {
    if (!connection->end[side].up) return;
    if (handler_->IsCut()) return BreakAfter(connection, side, milliseconds(rng_.Between(100, 300)), why, reads_first);
    if (reads_first && handler_->IsThere(side) && !connection->to[side].flying.empty()) {
      return BreakAfter(connection, side, microseconds(50), why, reads_first);
    }
    Break(connection, side, why);
  });
}

void Cable::Close(int side) {
  bodies_[1 - side].clear();
  for (const ConnectionPtr& connection : {dialled_, current_[0], current_[1]}) {
    if (connection) Break(connection, side, "closed");
  }
}

// ---------------------------------------------------------------- writing

bool Cable::Send(int side, const rpc::Packet& packet, std::optional<PacketFault> fault) {
  const ConnectionPtr connection = current_[side];
  if (!connection) return false;
  rpc::FrameHeader header;
  header.seq = packet.seq;
  header.ack = packet.ack;
  size_t size = rpc::kFrameHeaderBytes;
  rpc::SendQueue& queue = connection->end[side].queue;
  const uint64_t begin = connection->to[1 - side].written + queue.bytes();
  if (packet.message) {
    rpc::Encode(*packet.message, &encoded_, kGatherBytesMin);
    size += encoded_.size();
    queue.Append(header, &encoded_, {});
    bodies_[side][packet.seq].insert(HashOf(encoded_));
  } else {
    header.type = rpc::kAckFrameType;
    queue.Append(header, nullptr, {});
  }
  FlushSoon(connection, side);
  if (Faulty() && Faulty() && Faulty() && connection->to[1 - side].cut_at == kNever) {
    // Half open: from here on this end speaks to nobody, and hears of it when it has heard nothing for long.
    connection->to[1 - side].cut_at = begin;
    connection->to[1 - side].is_cut = true;
    handler_->OnFault(StreamFault::kHalfOpen);
    BreakAfter(connection, 0, kSilenceMax, "silent", false);
    return false;
  }
  return fault && Plan(connection.get(), side, begin, size, *fault);
}

bool Cable::Plan(Connection* connection, int side, uint64_t begin, size_t size, PacketFault fault) {
  Direction& to = connection->to[1 - side];
  if (to.cut_at != kNever) return false;
  switch (fault) {
    case PacketFault::kLost:
      to.cut_at = begin + rng_.Uniform(size);
      to.resets = rng_.Uniform(2) == 0;
      handler_->OnFault(to.cut_at < begin + rpc::kFrameHeaderBytes ? StreamFault::kCutInHeader
                                                                   : StreamFault::kCutInBody);
      if (to.resets) handler_->OnFault(StreamFault::kReset);
      return true;
    case PacketFault::kTwice:
      to.cut_at = begin + size;
      to.acknowledged_no_more = true;
      return true;
    case PacketFault::kLate:
      if (to.slow_to > begin) return false;
      to.slow_from = begin;
      to.slow_to = begin + std::min(size, kBytesOneByOneMax);
      handler_->OnFault(StreamFault::kOneByOne);
      return true;
  }
  return false;
}

// What is said in one turn leaves together.
void Cable::FlushSoon(const ConnectionPtr& connection, int side) {
  if (std::exchange(connection->end[side].flushes, true)) return;
  queue_->After(nanoseconds(0), [this, connection, side] {
    connection->end[side].flushes = false;
    Flush(connection, side);
  });
}

void Cable::Flush(const ConnectionPtr& connection, int side) {
  if (!connection->end[side].up || !handler_->IsThere(side)) return;
  const absl::Status flushed = connection->end[side].queue.Flush(
      [&](std::span<const iovec> runs, std::span<const int>) { return Write(connection, side, runs); });
  if (!flushed.ok()) Break(connection, side, base::Message(flushed));
}

absl::StatusOr<size_t> Cable::Write(const ConnectionPtr& connection, int side, std::span<const iovec> runs) {
  Direction& to = connection->to[1 - side];
  if (!connection->end[1 - side].up && rng_.Uniform(2) == 0) return absl::AbortedError("the peer has reset it");
  size_t size = connection->capacity - std::min(connection->capacity, to.flying_bytes);
  if (size == 0) {
    to.writer_waits = true;
    handler_->OnFault(StreamFault::kFull);
    return absl::UnavailableError("the socket is full");
  }
  size = std::min(size, 1 + rng_.Uniform(connection->write_max));
  std::string bytes;
  size_t offered = 0;
  for (const iovec& run : runs) {
    offered += run.iov_len;
    bytes.append(static_cast<const char*>(run.iov_base), std::min(run.iov_len, size - bytes.size()));
  }
  if (bytes.size() < offered) handler_->OnFault(StreamFault::kShortWrite);
  const size_t taken = bytes.size();
  bytes.resize(to.written >= to.cut_at ? 0 : std::min<uint64_t>(taken, to.cut_at - to.written));
  Fly(connection, 1 - side, std::move(bytes));
  to.written += taken;
  if (to.written >= to.cut_at && !std::exchange(to.is_cut, true)) CutOff(connection, 1 - side);
  return taken;
}

// In one piece; or the slow part of it in many.
void Cable::Fly(const ConnectionPtr& connection, int side, std::string bytes) {
  Direction& to = connection->to[side];
  const uint64_t begin = to.written;
  const auto fly = [&](std::string piece, Duration delay) {
    to.last_arrival = std::max(to.last_arrival, queue_->now()) + delay;
    to.flying_bytes += piece.size();
    to.flying.push_back({to.last_arrival, std::move(piece)});
    ReadAt(to.last_arrival, connection, side);
  };
  size_t at = 0;
  while (at < bytes.size()) {
    const uint64_t position = begin + at;
    const bool slow = position >= to.slow_from && position < to.slow_to;
    if (slow) {
      fly(bytes.substr(at++, 1), microseconds(rng_.Between(1, 400)));
      continue;
    }
    const uint64_t until = position < to.slow_from ? to.slow_from : kNever;
    const size_t size = std::min<uint64_t>(bytes.size() - at, until - position);
    const bool lags = rng_.Uniform(20) == 0;
    // As packets do, but never one before the other.
    const Time earliest =
        queue_->now() + (lags ? microseconds(rng_.Between(500, 10'000)) : microseconds(rng_.Between(30, 500)));
    fly(bytes.substr(at, size),
        earliest > to.last_arrival ? earliest - std::max(to.last_arrival, queue_->now()) : Duration::zero());
    at += size;
  }
}

// The last byte that will arrive is on its way.
void Cable::CutOff(const ConnectionPtr& connection, int side) {
  Direction& to = connection->to[side];
  if (to.acknowledged_no_more) {
    Direction& back = connection->to[1 - side];
    back.cut_at = std::min(back.cut_at, back.written);
    back.is_cut = true;
  }
  if (to.resets) to.flying.clear(), to.flying_bytes = 0;
  const Time arrives = std::max(to.last_arrival, queue_->now()) + microseconds(rng_.Between(1, 300));
  const std::string_view why = to.resets ? "reset" : "end of file";
  BreakAfter(connection, side, arrives - queue_->now(), why, !to.resets);
  BreakAfter(connection, 1 - side, arrives - queue_->now() + microseconds(rng_.Between(1, 50'000)), why, !to.resets);
}

// ---------------------------------------------------------------- reading

void Cable::ReadAt(Time when, const ConnectionPtr& connection, int side) {
  queue_->At(when, [this, connection, side] { Read(connection, side); });
}

void Cable::Read(const ConnectionPtr& connection, int side) {
  Connection::ConnectionEnd& end = connection->end[side];
  Direction& to = connection->to[side];
  if (!end.up || !handler_->IsThere(side) || to.flying.empty() || to.flying.front().arrives > queue_->now()) return;
  if (handler_->IsCut()) return ReadAt(queue_->now() + milliseconds(rng_.Between(20, 100)), connection, side);
  for (size_t reads = 0; reads < kReadsMax && end.up && !to.flying.empty(); ++reads) {
    Direction::Piece& piece = to.flying.front();
    if (piece.arrives > queue_->now()) break;
    const std::span<char> room = end.parser.Room();
    const size_t size = std::min({room.size(), piece.bytes.size(), size_t{1} + rng_.Uniform(connection->read_max)});
    std::copy_n(piece.bytes.begin(), size, room.begin());
    piece.bytes.erase(0, size);
    to.flying_bytes -= size;
    to.read += size;
    if (piece.bytes.empty()) to.flying.pop_front();
    end.parser.Filled(size);
    TakeFrames(connection, side);
  }
  if (std::exchange(to.writer_waits, false)) {
    queue_->After(microseconds(rng_.Between(1, 100)), [this, connection, side] { FlushSoon(connection, 1 - side); });
  }
  if (end.up && !to.flying.empty()) {
    ReadAt(std::max(to.flying.front().arrives, queue_->now() + microseconds(1)), connection, side);
  }
}

void Cable::TakeFrames(const ConnectionPtr& connection, int side) {
  while (connection->end[side].up && handler_->IsThere(side)) {
    Connection::ConnectionEnd& end = connection->end[side];
    const absl::StatusOr<std::optional<rpc::Frame>> frame = end.parser.Next();
    if (!frame.ok()) {
      handler_->Violate("bytes of a peer of ours are refused: " + base::Message(frame.status()));
      return Break(connection, side, "no frame");
    }
    if (!*frame) return;
    if (end.handshake) {
      TakeHandshake(connection, side, **frame);
      continue;
    }
    redial_after_ = kRedialAfter;
    CheckBody(1 - side, **frame);
    handler_->OnFrame(side, **frame);
  }
}

// Of what `side` has sent.
void Cable::CheckBody(int side, const rpc::Frame& frame) {
  Bodies& theirs = bodies_[side];
  if (const auto sent = theirs.find(frame.header.seq); sent != theirs.end()) {
    if (!sent->second.contains(base::Hash64(frame.body, frame.header.body_bytes))) {
      handler_->Violate("message " + std::to_string(frame.header.seq) + " arrives with another body");
    }
  }
  Bodies& ours = bodies_[1 - side];
  ours.erase(ours.begin(), ours.upper_bound(frame.header.ack));
}

void Cable::TakeHandshake(const ConnectionPtr& connection, int side, const rpc::Frame& frame) {
  std::vector<rpc::HandshakeMessage> answers;
  const absl::StatusOr<rpc::HandshakeMessage> message =
      rpc::DecodeHandshake(frame.header.type, frame.body, frame.header.body_bytes, frame.header.capnp_bytes);
  absl::Status status = message.status();
  Connection::ConnectionEnd& end = connection->end[side];
  if (status.ok()) status = end.handshake->Receive(queue_->now(), *message, &answers);
  if (!status.ok()) {
    handler_->Violate("a peer of ours is refused: " + base::Message(status));
    return Break(connection, side, "refused");
  }
  SendHandshake(connection, side, answers);
  if (!end.handshake->done()) return;
  const rpc::PeerIdentity peer = end.handshake->peer();
  if (peer.process != options_.ends[1 - side].process || peer.life != options_.ends[1 - side].life) {
    handler_->Violate("a handshake ends with " + ToString(peer.process) + " at the other end");
  }
  end.handshake.reset();
  end.parser.set_limits(rpc::FrameLimits::Data());
  // A connection that is there already gives way: who dials knows best which one is broken.
  if (const ConnectionPtr old = std::exchange(current_[side], connection)) Break(old, side, "replaced");
  if (side == 0) dialled_.reset();
  handler_->Note(side, "linked", "");
  handler_->OnLinked(side);
}

void Cable::SendHandshake(const ConnectionPtr& connection, int side,
                          const std::vector<rpc::HandshakeMessage>& messages) {
  for (const rpc::HandshakeMessage& message : messages) {
    rpc::EncodeHandshake(message, &encoded_);
    connection->end[side].queue.Append({}, &encoded_, {});
  }
  FlushSoon(connection, side);
}

// ---------------------------------------------------------------- strangers

rpc::ClientHandshake::Options Cable::ClientOptions() {
  rpc::ClientHandshake::Options options;
  options.cluster_id = "c";
  options.key = rpc::ClassKey(rpc::Bits256{1}, rpc::TrustClass::kMember);
  options.connection = rpc::ConnectionKind::kCalls;
  options.self = options_.ends[0].process;
  options.self_life = options_.ends[0].life;
  options.server = options_.ends[1].process;
  options.server_life = options_.ends[1].life;
  options.nonces = [this] { return Draw(&rng_); };
  return options;
}

rpc::ServerHandshake::Options Cable::ServerOptions() {
  rpc::ServerHandshake::Options options;
  options.cluster_id = "c";
  options.self = options_.ends[1].process;
  options.self_life = options_.ends[1].life;
  options.cluster_secret = rpc::Bits256{1};
  options.client_nonces = &nonces_;
  options.nonces = [this] { return Draw(&rng_); };
  return options;
}

void Cable::TryStrangers() {
  handler_->OnFault(StreamFault::kStranger);
  const std::string in = WhoGetsIn(ClientOptions(), ServerOptions(), &rng_);
  if (!in.empty()) handler_->Violate(in);
}

}  // namespace manta::sim
