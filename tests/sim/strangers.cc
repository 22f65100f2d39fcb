#include "tests/sim/strangers.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "rpc/frame.h"
#include "rpc/frame_buffer.h"

namespace manta::sim {
namespace {

std::string Encoded(const std::vector<rpc::HandshakeMessage>& messages) {
  std::string bytes;
  rpc::FrameBuffer body;
  for (const rpc::HandshakeMessage& message : messages) {
    rpc::EncodeHandshake(message, &body);
    rpc::FrameHeader header;
    header.type = body.type();
    header.capnp_bytes = static_cast<uint32_t>(body.capnp_bytes());
    header.body_bytes = static_cast<uint32_t>(body.size());
    char encoded[rpc::kFrameHeaderBytes];
    EncodeFrameHeader(header, encoded);
    bytes.append(encoded, sizeof encoded).append(body.body());
  }
  return bytes;
}

// One end of a connection that is being opened.
struct Party {
  explicit Party(std::unique_ptr<rpc::Handshake> of) : handshake(std::move(of)) {}

  // What it answers to `bytes`.
  std::string Hear(std::string_view bytes, base::Rng* rng) {
    std::vector<rpc::HandshakeMessage> answers;
    while (!bytes.empty()) {
      const size_t size = std::min<size_t>(bytes.size(), 1 + rng->Uniform(60));
      const absl::Status fed = parser.Feed({bytes.data(), size}, [&](const rpc::Frame& frame) -> absl::Status {
        const absl::StatusOr<rpc::HandshakeMessage> message =
            rpc::DecodeHandshake(frame.header.type, frame.body, frame.header.body_bytes, frame.header.capnp_bytes);
        if (!message.ok()) return message.status();
        return handshake->Receive(Time{}, *message, &answers);
      });
      if (!fed.ok()) break;
      bytes.remove_prefix(size);
    }
    return Encoded(answers);
  }

  std::unique_ptr<rpc::Handshake> handshake;
  rpc::FrameParser parser{rpc::FrameLimits::Unauthenticated()};
};

struct Meeting {
  bool client_is_in = false, server_let_in = false;
  std::string client_said;
};

Meeting Meet(const rpc::ClientHandshake::Options& client_options, const rpc::ServerHandshake::Options& server_options,
             base::Rng* rng) {
  Party client(std::make_unique<rpc::ClientHandshake>(client_options));
  Party server(std::make_unique<rpc::ServerHandshake>(server_options, false));
  Meeting meeting;
  std::vector<rpc::HandshakeMessage> first;
  client.handshake->Start(&first);
  std::string said = Encoded(first);
  while (!said.empty()) {
    meeting.client_said += said;
    said = client.Hear(server.Hear(said, rng), rng);
  }
  meeting.client_is_in = client.handshake->done();
  meeting.server_let_in = server.handshake->done();
  return meeting;
}

}  // namespace

std::string WhoGetsIn(const rpc::ClientHandshake::Options& client, const rpc::ServerHandshake::Options& server,
                      base::Rng* rng) {
  const Meeting right = Meet(client, server, rng);
  if (!right.client_is_in || !right.server_let_in) return "a handshake without a fault does not end";

  // The server may have forgotten the nonces of its last life.
  rpc::ServerHandshake::Options forgetful = server;
  forgetful.client_nonces = nullptr;
  Party again(std::make_unique<rpc::ServerHandshake>(forgetful, false));
  (void)again.Hear(right.client_said, rng);
  if (again.handshake->done()) return "who plays back what a client has said gets in";

  rpc::ServerHandshake::Options next_life = server;
  ++next_life.self_life;
  Meeting meeting = Meet(client, next_life, rng);
  if (meeting.client_is_in || meeting.server_let_in) return "who looks for another life of the process gets in";

  rpc::ServerHandshake::Options other = server;
  ++other.self.number;
  meeting = Meet(client, other, rng);
  if (meeting.client_is_in || meeting.server_let_in) return "who looks for another process at this address gets in";

  rpc::ServerHandshake::Options other_secret = server;
  other_secret.cluster_secret = rpc::Bits256{2};
  meeting = Meet(client, other_secret, rng);
  if (meeting.client_is_in || meeting.server_let_in) return "who has another secret gets in";
  return "";
}

}  // namespace manta::sim
