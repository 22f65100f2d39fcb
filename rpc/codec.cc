#include "rpc/codec.h"

#include <array>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/status.h"

namespace manta::rpc {

// Defined beside each message's schema: codec_task.cc and so on. This file sees no Cap'n Proto.
template <typename M>
void EncodeAs(const M& message, FrameBuffer* out, size_t gather_bytes_min);
template <typename M>
absl::Status DecodeAs(const void* data, size_t size, size_t capnp_bytes, M* out);

namespace {

using DecodeFunction = absl::StatusOr<Message> (*)(const void* data, size_t size, size_t capnp_bytes);

template <size_t kType>
absl::StatusOr<Message> DecodeType(const void* data, size_t size, size_t capnp_bytes) {
  Message message(std::in_place_index<kType>);
  absl::Status status = DecodeAs(data, size, capnp_bytes, &std::get<kType>(message));
  if (!status.ok()) return status;
  return message;
}

template <size_t... kTypes>
constexpr std::array<DecodeFunction, sizeof...(kTypes)> DecodeTable(std::index_sequence<kTypes...>) {
  return {&DecodeType<kTypes>...};
}
constexpr auto kDecode = DecodeTable(std::make_index_sequence<kMessageTypeCount>());

// The compiler's own spelling of M, so that a new message needs no line here: "... [with M = manta::rpc::CallReply]".
template <typename M>
constexpr std::string_view SpelledName() {
  std::string_view text = __PRETTY_FUNCTION__;
  const size_t from = text.find("M = ") + 4;
  size_t to = from;
  while (text[to] != ';' && text[to] != ']' && text[to] != ',') ++to;
  text = text.substr(from, to - from);
  return text.substr(text.rfind(':') + 1);
}

template <typename M>
struct Name {
  static constexpr std::string_view kView = SpelledName<M>();
  static constexpr auto kText = [] {
    std::array<char, kView.size() + 1> text{};
    for (size_t i = 0; i < kView.size(); ++i) text[i] = kView[i];
    return text;
  }();
};
static_assert(Name<CallRequest>::kView == "CallRequest");
static_assert(Name<JobAccepted>::kView == "JobAccepted");

template <size_t... kTypes>
constexpr std::array<const char*, sizeof...(kTypes)> NameTable(std::index_sequence<kTypes...>) {
  return {Name<std::variant_alternative_t<kTypes, MessageVariant>>::kText.data()...};
}
constexpr auto kNames = NameTable(std::make_index_sequence<kMessageTypeCount>());

}  // namespace

void Encode(const Message& message, FrameBuffer* out, size_t gather_bytes_min) {
  std::visit([&](const auto& m) { EncodeAs(m, out, gather_bytes_min); }, message);
}

absl::StatusOr<Message> Decode(uint16_t type, const void* data, size_t size, size_t capnp_bytes) {
  if (type >= kMessageTypeCount) {
    return base::Error(absl::StatusCode::kInvalidArgument, "unknown message type " + std::to_string(type));
  }
  return kDecode[type](data, size, capnp_bytes);
}

std::string TooLargeText(const std::string& what, const std::vector<Value>& values) {
  size_t refs = 0;
  for (const Value& value : values) refs += value.refs.size();
  return what + " are too large for one message: " + std::to_string(EncodedBytesMax(values)) + " bytes with " +
         std::to_string(refs) + " refs in them; the limit is " + std::to_string(kValuesBytesMax) +
         " bytes, a ref takes 64. Pass fewer at a time, or Put some, and pass the refs to that";
}

const char* MessageName(uint16_t type) { return type < kMessageTypeCount ? kNames[type] : "unknown"; }

const char* MessageName(const Message& message) { return MessageName(TypeOf(message)); }

}  // namespace manta::rpc
