#include "tests/corpus/corpus.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "rpc/codec.h"
#include "rpc/frame.h"
#include "rpc/handshake.h"
#include "rpc/random_message.h"

namespace manta::tests {
namespace {

using rpc::Message;

// ---------------------------------------------------------------- Cap'n Proto by hand

using Words = std::vector<uint64_t>;

// Pointers: https://capnproto.org/encoding.html. Offsets count words from the end of the pointer.
uint64_t StructPointer(int32_t offset, uint64_t data_words, uint64_t pointers) {
  return (static_cast<uint32_t>(offset) << 2) | (data_words << 32) | (pointers << 48);
}
enum ElementSize : uint64_t { kVoid = 0, kByte = 2, kEightBytes = 5, kPointer = 6, kComposite = 7 };
uint64_t ListPointer(int32_t offset, ElementSize size, uint64_t count) {
  return 1 | static_cast<uint32_t>(offset) << 2 | (static_cast<uint64_t>(size) << 32) | (count << 35);
}
uint64_t FarPointer(uint64_t word, uint64_t segment, bool twice) {
  return 2 | (twice ? 4 : 0) | (word << 3) | (segment << 32);
}
constexpr uint64_t kCapabilityPointer = 3;

// One segment whose root has zeros as data, and 16 pointers made by `pointer(position)`; `tail` follows. A root this
// wide means something to every schema: the same bytes are a text to one and a list of structs to another.
constexpr size_t kDataWords = 8;
constexpr size_t kPointers = 16;
constexpr size_t kTailAt = 1 + kDataWords + kPointers;  // in words from the segment's start
Words Segment(const std::function<uint64_t(size_t position)>& pointer, const Words& tail = {}) {
  Words words(kTailAt);
  words[0] = StructPointer(0, kDataWords, kPointers);
  for (size_t i = 0; i < kPointers; ++i) words[1 + kDataWords + i] = pointer(1 + kDataWords + i);
  words.insert(words.end(), tail.begin(), tail.end());
  return words;
}
// The offset from a pointer at `position` to word `to`.
int32_t OffsetTo(size_t position, size_t to) { return static_cast<int32_t>(to) - static_cast<int32_t>(position) - 1; }

std::string BytesOf(const Words& words) {
  return std::string(reinterpret_cast<const char*>(words.data()), words.size() * 8);
}

BadBody Hand(std::string name, Words words) {
  BadBody body;
  body.name = std::move(name);
  body.every_type = true;
  body.refused = false;
  body.bytes = BytesOf(words);
  body.capnp_bytes = static_cast<uint32_t>(body.bytes.size());
  return body;
}

BadBody OneSegment(std::string name, const Words& segment) {
  Words words = {uint64_t{segment.size()} << 32};
  words.insert(words.end(), segment.begin(), segment.end());
  return Hand(std::move(name), words);
}

// Bodies that only the segment table spoils are refused by every decoder.
BadBody Refused(BadBody body) {
  body.refused = true;
  return body;
}

void AddSegmentTables(std::vector<BadBody>* to) {
  const auto table = [&](const char* name, const Words& words) { to->push_back(Refused(Hand(name, words))); };
  table("no bytes", {});
  table("one word", {0});
  table("2^31 segments", {0x7FFFFFFF, 0, 0, 0});
  table("2^32 segments", {0xFFFFFFFF, 0, 0, 0});
  table("17 segments", Words(40, 16));
  table("all ones", Words(16, UINT64_MAX));
  table("segment longer than the message", {uint64_t{100} << 32, 0, 0});
  table("segment of 2^32-1 words", {uint64_t{0xFFFFFFFF} << 32, 0, 0});
  table("segments that add up to 2^32", {1 | uint64_t{0x80000000} << 32, 0x80000000, 0, 0});
  table("words after the last segment", {uint64_t{1} << 32, 0, 0, 0});
  table("16 segments in no space", {15, 0});
}

void AddPointers(std::vector<BadBody>* to) {
  const auto all = [&](const char* name, const std::function<uint64_t(size_t)>& pointer, const Words& tail = {}) {
    to->push_back(OneSegment(name, Segment(pointer, tail)));
  };
  to->push_back(OneSegment("empty segment", {}));
  to->push_back(OneSegment("null root", {0}));
  to->push_back(Refused(OneSegment("root is a list", {ListPointer(0, kEightBytes, 0)})));
  to->push_back(Refused(OneSegment("root is a capability", {kCapabilityPointer})));
  to->push_back(Refused(OneSegment("root points at itself by a far pointer", {FarPointer(0, 0, false)})));
  to->push_back(OneSegment("root points at itself by a double-far pointer", {FarPointer(0, 0, true), 0}));
  to->push_back(Refused(OneSegment("root far into a segment that is not there", {FarPointer(0, 7, false)})));
  to->push_back(Refused(OneSegment("root beyond the segment", {StructPointer(1000, 1, 1)})));
  to->push_back(Refused(OneSegment("root before the segment", {StructPointer(-1000, 1, 1)})));
  to->push_back(Refused(OneSegment("root of 65535 words", {StructPointer(0, 65535, 65535)})));
  all("far-pointer cycle of one", [](size_t at) { return FarPointer(at, 0, false); });
  all("far-pointer cycle of two", [](size_t at) { return FarPointer(at % 2 == 0 ? at - 1 : at + 1, 0, false); });
  all("double-far cycle", [](size_t at) { return FarPointer(at - 1, 0, true); });
  all("far pointer beyond the segment", [](size_t) { return FarPointer((1 << 29) - 1, 0, false); });
  all("far pointer to another segment", [](size_t) { return FarPointer(0, 0xFFFFFFFF, false); });
  all("struct that is the root again", [](size_t at) { return StructPointer(OffsetTo(at, 1), kDataWords, kPointers); });
  all("list that holds itself", [](size_t at) { return ListPointer(OffsetTo(at, at), kPointer, 1); });
  all("list of structs that holds itself", [](size_t at) { return ListPointer(OffsetTo(at, 1), kComposite, 12); });
  all("capabilities", [](size_t) { return kCapabilityPointer; });
  all("struct beyond the segment", [](size_t) { return StructPointer(1 << 28, 1, 1); });
  all("struct before the segment", [](size_t) { return StructPointer(-(1 << 28), 1, 1); });
  all("2^29 - 1 bytes", [](size_t) { return ListPointer(0, kByte, (1 << 29) - 1); });
  all("2^29 - 1 voids", [](size_t) { return ListPointer(0, kVoid, (1 << 29) - 1); });
  all("2^29 - 1 pointers", [](size_t) { return ListPointer(0, kPointer, (1 << 29) - 1); });
  const auto tail_list = [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kComposite, 0); };
  all("2^29 - 1 empty structs", tail_list, {StructPointer((1 << 29) - 1, 0, 0)});
  all("2^30 - 1 empty structs", tail_list, {StructPointer((1 << 30) - 1, 0, 0)});
  all("structs longer than their list", tail_list, {StructPointer(1000, 8, 8)});
  all("a list whose tag is a list", tail_list, {ListPointer(0, kByte, 1)});
  all("a text without its zero", [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kByte, 8); }, {~0ull});
  all("an empty text", [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kByte, 0); });
  // 16 pointers to the same 64 KiB: read once each they would make 1 MiB, or more as structs.
  all(
      "one large text, 16 times", [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kByte, 65528); },
      Words(65536 / 8, 0));
  all(
      "one large list, 16 times", [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kPointer, 8192); },
      Words(8192, 0));
  const auto structs = [](size_t at) { return ListPointer(OffsetTo(at, kTailAt), kComposite, 8192); };
  Words tail(8193, 0);
  tail[0] = StructPointer(8192, 1, 0);
  all("8192 small structs, 16 times", structs, tail);
}

// Structs (or lists) inside one another.
void AddDepth(std::vector<BadBody>* to) {
  for (const size_t depth : {15, 16, 17, 65, 4000}) {
    Words structs = {StructPointer(0, 0, 1)};
    Words lists = {StructPointer(0, 0, 1)};
    for (size_t i = 0; i < depth; ++i) {
      structs.push_back(StructPointer(0, 0, 1));
      lists.push_back(ListPointer(0, kPointer, 1));
    }
    structs.push_back(0);
    lists.push_back(0);
    to->push_back(OneSegment("structs of depth " + std::to_string(depth), structs));
    to->push_back(OneSegment("lists of depth " + std::to_string(depth), lists));
  }
}

// ---------------------------------------------------------------- good messages, spoiled

BadBody Encoded(std::string name, const Message& message) {
  rpc::FrameBuffer out;
  rpc::Encode(message, &out);
  BadBody body;
  body.name = std::move(name);
  body.type = out.type();
  body.bytes = std::string(out.body());
  body.capnp_bytes = static_cast<uint32_t>(out.capnp_bytes());
  return body;
}

// Puts `to` where `from` stands.
template <typename T>
BadBody Replaced(BadBody body, T from, T to) {
  char old_bytes[sizeof(T)];
  std::memcpy(old_bytes, &from, sizeof(T));
  const size_t at = body.bytes.find(std::string(old_bytes, sizeof(T)));
  MANTA_CHECK(at != std::string::npos) << body.name;
  std::memcpy(body.bytes.data() + at, &to, sizeof(T));
  return body;
}

void AddNames(std::vector<BadBody>* to) {
  for (const char* bad : {"\xFF", "\xC3(", "\xED\xA0\x80", "\xC0\x80", "ends in half a character \xE7\x8C"}) {
    to->push_back(Encoded("actor name that is not UTF-8", rpc::ActorLookup{{}, 1, "", bad}));
    to->push_back(Encoded("namespace that is not UTF-8", rpc::ProcessWelcome{{}, 1, bad, 0}));
    rpc::CallRequest call;
    call.name_space = bad;
    to->push_back(Encoded("call's namespace that is not UTF-8", call));
    rpc::NodeReport report;
    report.info.name = bad;
    to->push_back(Encoded("node name that is not UTF-8", report));
    rpc::LeaseRequest lease;
    lease.shape.Set(bad, base::Fixed(1));
    to->push_back(Encoded("resource name that is not UTF-8", lease));
  }
}

void AddEnums(std::vector<BadBody>* to) {
  rpc::CallReply reply;
  reply.outcome = static_cast<rpc::Outcome>(4);
  to->push_back(Encoded("outcome 4", reply));
  reply.outcome = static_cast<rpc::Outcome>(255);
  to->push_back(Encoded("outcome 255", reply));
  reply = rpc::CallReply();
  reply.error.code = static_cast<rpc::ErrorCode>(60000);
  to->push_back(Encoded("error code 60000", reply));
  rpc::ActorUpdate update;
  update.state = static_cast<rpc::ActorState>(9);
  to->push_back(Encoded("actor state 9", update));
  rpc::ProcessHello hello;
  hello.kind = static_cast<rpc::ProcessKind>(77);
  to->push_back(Encoded("process kind 77", hello));
  rpc::CallRequest call;
  call.args.resize(1);
  call.args[0].kind = rpc::Value::Kind::kRef;
  to->push_back(Encoded("an argument that is still a ref", call));
  rpc::ActorCreate create;
  create.spec.max_restarts = -2;
  to->push_back(Encoded("max_restarts -2", create));
}

void AddResources(std::vector<BadBody>* to) {
  constexpr int64_t kMarker = 0x0000123456789ABC;
  rpc::LeaseRequest lease;
  lease.shape.Set("CPU", base::Fixed::FromUnits(kMarker));
  const BadBody good = Encoded("", lease);
  const auto units = [&](const char* name, int64_t bad) {
    BadBody body = Replaced(good, kMarker, bad);
    body.name = std::string("resource amount ") + name;
    to->push_back(body);
  };
  units("0", 0);
  units("-1", -1);
  units("of the lowest number", std::numeric_limits<int64_t>::min());
  units("of the highest number", std::numeric_limits<int64_t>::max());
  units("above the highest amount", base::Fixed::kUnitsMax + 1);
  units("NaN", std::bit_cast<int64_t>(std::numeric_limits<double>::quiet_NaN()));
  units("negative NaN", std::bit_cast<int64_t>(-std::numeric_limits<double>::quiet_NaN()));
  units("infinity", std::bit_cast<int64_t>(std::numeric_limits<double>::infinity()));

  rpc::LeaseRequest twice;
  twice.shape.Set("CPU", base::Fixed(1));
  twice.shape.Set("CPV", base::Fixed(1));
  BadBody body =
      Replaced(Encoded("", twice), uint32_t{'C' | 'P' << 8 | 'V' << 16}, uint32_t{'C' | 'P' << 8 | 'U' << 16});
  body.name = "a resource twice";
  to->push_back(body);
  rpc::LeaseRequest nameless;
  nameless.shape.Set("", base::Fixed(1));
  to->push_back(Encoded("a resource without a name", nameless));
  rpc::LeaseRequest long_name;
  long_name.shape.Set(std::string(129, 'r'), base::Fixed(1));
  to->push_back(Encoded("a resource name of 129 bytes", long_name));
  rpc::LeaseRequest many;
  for (int i = 0; i < 257; ++i) many.shape.Set("r" + std::to_string(i), base::Fixed(1));
  to->push_back(Encoded("257 resources", many));
}

void AddParts(std::vector<BadBody>* to) {
  constexpr uint32_t kMarkerBytes = 0x1234;
  rpc::CallRequest call;
  call.args.resize(3);
  call.args[1].bytes = Bytes(std::string(kMarkerBytes, 'p'));
  const BadBody good = Encoded("", call);
  for (const uint32_t bad : {kMarkerBytes + 8, kMarkerBytes - 8, 0u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    BadBody body = Replaced(good, kMarkerBytes, bad);
    body.name = "an argument that says it has " + std::to_string(bad) + " bytes";
    to->push_back(body);
  }
  BadBody longer = good;
  longer.name = "bytes after the last part";
  longer.bytes.append(8, '\0');
  to->push_back(longer);
  BadBody none = good;
  none.name = "parts that are missing";
  none.bytes.resize(none.capnp_bytes);
  to->push_back(none);
}

// ---------------------------------------------------------------- streams

std::string HandshakeFrame(const rpc::HandshakeMessage& message) {
  rpc::FrameBuffer out;
  rpc::EncodeHandshake(message, &out);
  BadBody body;
  body.bytes = std::string(out.body());
  body.capnp_bytes = static_cast<uint32_t>(out.capnp_bytes());
  return Framed(out.type(), body);
}

rpc::ClientHello AnyHello() {
  rpc::ClientHello hello;
  hello.protocol_version = rpc::kProtocolVersion;
  hello.cluster_id = "test cluster";
  hello.process = {3, 7};
  hello.nonce = rpc::Sha256("corpus");
  return hello;
}

std::string Header(rpc::FrameHeader header) {
  std::string bytes(rpc::kFrameHeaderBytes, '\0');
  rpc::EncodeFrameHeader(header, bytes.data());
  return bytes;
}

void AddStrangers(std::vector<BadStream>* to) {
  to->push_back({"empty", ""});
  to->push_back({"one byte", "M"});
  to->push_back({"one zero byte", std::string(1, '\0')});
  to->push_back({"HTTP GET", "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88\r\nAccept: */*\r\n\r\n"});
  to->push_back({"TLS hello", std::string("\x16\x03\x01\x00\xC8\x01\x00\x00\xC4\x03\x03", 11) + std::string(194, 'r')});
  to->push_back({"RESP", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"});
  std::string asdf;
  for (int i = 0; i < 1000; ++i) asdf += "asdf";
  to->push_back({"1000 x asdf", asdf});
  to->push_back({"ones", std::string(4096, '\xFF')});
  to->push_back({"zeros", std::string(4096, '\0')});
  to->push_back({"magic, then zeros", "MNTF" + std::string(4096, '\0')});
  to->push_back({"megabytes of junk", std::string(4 << 20, 'j')});
}

void AddHeaders(std::vector<BadStream>* to) {
  const uint16_t hello_type = rpc::kHandshakeTypeMin;
  for (const uint32_t size : {4104u, 1u << 20, 1u << 30, 0xFFFFFFF8u}) {
    rpc::FrameHeader header;
    header.type = hello_type;
    header.body_bytes = size;
    to->push_back({"a hello of " + std::to_string(size) + " bytes", Header(header)});
  }
  rpc::FrameHeader odd;
  odd.type = hello_type;
  odd.body_bytes = 0xFFFFFFFF;
  to->push_back({"length 2^32-1", Header(odd)});
  rpc::FrameHeader unknown;
  unknown.type = 0xFFFF;
  to->push_back({"an unknown handshake type", Header(unknown)});
  rpc::FrameHeader lying;
  lying.type = hello_type;
  lying.body_bytes = 64;
  lying.capnp_bytes = 64;
  to->push_back({"a hello of ones", Header(lying) + std::string(64, '\xFF')});
  to->push_back({"a hello of zeros", Header(lying) + std::string(64, '\0')});
  std::string flipped = HandshakeFrame(AnyHello());
  flipped[6] ^= 1;
  to->push_back({"a flipped bit in the header", flipped});
  rpc::FrameHeader ack;
  ack.type = rpc::kAckFrameType;
  to->push_back({"an acknowledgement first", Header(ack)});
  for (const BadBody& body : BadBodies()) {
    if (body.every_type && body.bytes.size() <= 4096) {
      to->push_back({"as a hello: " + body.name, Framed(hello_type, body)});
    }
  }
}

void AddHandshakes(std::vector<BadStream>* to) {
  const rpc::ClientHello hello = AnyHello();
  const auto with = [&](const char* name, const std::function<void(rpc::ClientHello*)>& change) {
    rpc::ClientHello changed = hello;
    change(&changed);
    to->push_back({name, HandshakeFrame(changed)});
  };
  with("another protocol version", [](rpc::ClientHello* h) { h->protocol_version = 99; });
  with("another cluster", [](rpc::ClientHello* h) { h->cluster_id = "other"; });
  with("a stale incarnation", [](rpc::ClientHello* h) {
    h->server = {3, 0};
    h->server_life = 77;
  });
  with("an unknown token", [](rpc::ClientHello* h) {
    h->credential = rpc::Credential::kToken;
    h->token_id = 5;
  });
  with("a cluster id that is not UTF-8", [](rpc::ClientHello* h) { h->cluster_id = "\xFF"; });
  with("a trust class that is none", [](rpc::ClientHello* h) { h->trust = static_cast<rpc::TrustClass>(9); });
  with("a credential that is none", [](rpc::ClientHello* h) { h->credential = static_cast<rpc::Credential>(9); });
  const std::string first = HandshakeFrame(hello);
  const std::string proof = HandshakeFrame(rpc::ClientProof{});
  to->push_back({"the hello twice", first + first});
  to->push_back({"the proof first", proof});
  to->push_back({"hello and a wrong proof", first + proof});
  to->push_back({"the server's part", HandshakeFrame(rpc::ServerHello{})});
  to->push_back({"the server's proof", HandshakeFrame(rpc::ServerProof{})});
  to->push_back({"a refusal", HandshakeFrame(rpc::Refusal{rpc::Refusal::Reason::kBusy, "no"})});
  for (const auto& message : {Message(rpc::JobEnd{1}), Message(rpc::CallRequest())}) {
    const BadBody body = Encoded("", message);
    to->push_back({"a message without a handshake", Framed(body.type, body)});
    to->push_back({"a message in the middle of a handshake", first + Framed(body.type, body)});
  }
  for (size_t size = 1; size < first.size(); ++size) {
    to->push_back({"a hello cut after " + std::to_string(size) + " bytes", first.substr(0, size)});
  }
}

}  // namespace

std::vector<BadStream> BadStreams() {
  std::vector<BadStream> streams;
  AddStrangers(&streams);
  AddHeaders(&streams);
  AddHandshakes(&streams);
  return streams;
}

std::vector<BadBody> BadBodies() {
  std::vector<BadBody> bodies;
  AddSegmentTables(&bodies);
  AddPointers(&bodies);
  AddDepth(&bodies);
  AddNames(&bodies);
  AddEnums(&bodies);
  AddResources(&bodies);
  AddParts(&bodies);
  return bodies;
}

BadBody Mutant(uint64_t seed) {
  static const std::vector<BadBody> bodies = BadBodies();
  base::Rng rng(seed);
  BadBody mutant;
  mutant.name = "seed " + std::to_string(seed);
  mutant.type = static_cast<uint16_t>(rng.Uniform(rpc::kMessageTypeCount));
  mutant.refused = false;
  if (rng.Bernoulli(0.5)) {
    rpc::FrameBuffer out;
    rpc::Encode(rpc::RandomMessage(mutant.type, &rng), &out);
    mutant.bytes = out.body();
    mutant.capnp_bytes = static_cast<uint32_t>(out.capnp_bytes());
  } else {
    const BadBody& body = bodies[rng.Uniform(bodies.size())];
    if (!body.every_type) mutant.type = body.type;
    mutant.bytes = body.bytes;
    mutant.capnp_bytes = body.capnp_bytes;
  }
  std::string& bytes = mutant.bytes;
  for (uint64_t changes = bytes.empty() ? 0 : 1 + rng.Uniform(6); changes > 0; --changes) {
    const size_t at = rng.Uniform(std::min<size_t>(bytes.size(), 1024));
    switch (rng.Uniform(3)) {
      case 0:
        bytes[at] ^= static_cast<char>(1 << rng.Uniform(8));
        break;
      case 1:
        bytes[at] = static_cast<char>(rng.Next());
        break;
      default: {  // a word of somewhere else: pointers land in odd places
        const size_t from = rng.Uniform(bytes.size() / 8) * 8;
        std::memmove(bytes.data() + at / 8 * 8, bytes.data() + from, 8);
      }
    }
  }
  return mutant;
}

std::string Framed(uint16_t type, const BadBody& body) {
  rpc::FrameHeader header;
  header.type = type;
  header.capnp_bytes = body.capnp_bytes;
  header.body_bytes = static_cast<uint32_t>(body.bytes.size());
  return Header(header) + body.bytes;
}

}  // namespace manta::tests
