#include "rpc/descriptor_socket.h"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include "base/socket.h"
#include "base/status.h"
#include "rpc/codec.h"

namespace manta::rpc {
namespace {

struct Header {
  uint32_t magic = 0x61746e6d;  // "mnta"
  uint16_t version = 1;
  uint16_t type = 0;
  uint32_t capnp_bytes = 0;
  uint32_t body_bytes = 0;
};
static_assert(sizeof(Header) % 8 == 0, "the body behind it is 8-byte aligned");

}  // namespace

DescriptorSocket::DescriptorSocket(base::UniqueFd socket) : socket_(std::move(socket)) {
  in_.resize((sizeof(Header) + kDescriptorMessageBytesMax) / 8);
}

absl::Status DescriptorSocket::Send(const Message& message, std::span<const int> descriptors) {
  Encode(message, &out_);
  if (out_.size() > kDescriptorMessageBytesMax || descriptors.size() > kDescriptorsMax) {
    return absl::ResourceExhaustedError(std::string(MessageName(message)) + " of " + std::to_string(out_.size()) +
                                        " bytes is above the limit of " + std::to_string(kDescriptorMessageBytesMax));
  }
  Header header;
  header.type = out_.type();
  header.capnp_bytes = static_cast<uint32_t>(out_.capnp_bytes());
  header.body_bytes = static_cast<uint32_t>(out_.size());
  std::string datagram(reinterpret_cast<const char*>(&header), sizeof(header));
  datagram.append(out_.data(), out_.size());
  return base::SendWithFds(socket_.get(), datagram, descriptors).status();
}

absl::StatusOr<MessageWithDescriptors> DescriptorSocket::Receive() {
  char* const data = reinterpret_cast<char*>(in_.data());
  absl::StatusOr<base::Received> received = base::RecvWithFds(socket_.get(), {data, in_.size() * 8});
  if (!received.ok()) return received.status();
  if (received->size == 0) return absl::CancelledError("the peer closed the socket");
  Header header;
  if (received->size < sizeof(header)) return absl::InvalidArgumentError("a message shorter than its header");
  std::memcpy(&header, data, sizeof(header));
  const Header expected;
  if (header.magic != expected.magic || header.version != expected.version ||
      header.body_bytes != received->size - sizeof(header)) {
    return absl::InvalidArgumentError("not a message of this version of Manta");
  }
  absl::StatusOr<Message> message = Decode(header.type, data + sizeof(header), header.body_bytes, header.capnp_bytes);
  if (!message.ok()) return message.status();
  return MessageWithDescriptors{*std::move(message), std::move(received->fds)};
}

absl::StatusOr<MessageWithDescriptors> DescriptorSocket::ReceiveBefore(Time deadline) {
  while (true) {
    absl::StatusOr<MessageWithDescriptors> received = Receive();
    if (!absl::IsUnavailable(received.status())) return received;
    const Duration left = deadline - base::SystemClock().Now();
    if (left <= Duration::zero()) return absl::DeadlineExceededError("no answer from the node daemon");
    pollfd readable{socket_.get(), POLLIN, 0};
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    if (poll(&readable, 1, static_cast<int>(std::min<int64_t>(left_ms, 1000))) < 0 && errno != EINTR) {
      return base::ErrnoStatus(errno, "poll");
    }
  }
}

}  // namespace manta::rpc
