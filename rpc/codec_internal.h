// What the codec's files share: Encoder and Decoder, the values of common.capnp, and the template that ties a
// message to its schema. For codec_*.cc alone: it brings Cap'n Proto's headers along.
//
// Threads:    externally synchronised.
#ifndef MANTA_RPC_CODEC_INTERNAL_H_
#define MANTA_RPC_CODEC_INTERNAL_H_

#include <capnp/message.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "rpc/codec.h"
#include "rpc/frame_buffer.h"
#include "rpc/message.h"
#include "rpc/schema/common.capnp.h"

namespace manta::rpc {

// Encoder builds one message's words in a FrameBuffer and remembers the raw parts that follow them.
class Encoder {
 public:
  explicit Encoder(FrameBuffer* out) : out_(out) {
    out->parts_.clear();
    out->gathered_.clear();
  }

  // The next raw part of the frame. `bytes` must live until the message is finished.
  uint32_t AddPart(const Bytes& bytes) {
    if (!bytes.empty()) out_->parts_.push_back(&bytes);
    return static_cast<uint32_t>(bytes.size());
  }

  // Builds a message: fill(root, encoder). Then lays out words and parts.
  template <typename Root, typename Fill>
  void Build(uint16_t type, size_t gather_bytes_min, Fill&& fill) {
    ScratchBuilder builder(FirstSegment());
    fill(builder.initRoot<Root>());
    Finish(type, gather_bytes_min, builder.getSegmentsForOutput());
  }

 private:
  // Gives Cap'n Proto the FrameBuffer's own words first, so that a message that fits is built where it is sent from.
  class ScratchBuilder : public capnp::MessageBuilder {
   public:
    explicit ScratchBuilder(kj::ArrayPtr<capnp::word> first) : first_(first), next_words_(first.size()) {}
    ~ScratchBuilder() noexcept(false) override;
    kj::ArrayPtr<capnp::word> allocateSegment(kj::uint minimum_words) override;

   private:
    kj::ArrayPtr<capnp::word> first_;  // empty: given out
    size_t next_words_;
    std::vector<void*> more_;
  };

  kj::ArrayPtr<capnp::word> FirstSegment();
  void Finish(uint16_t type, size_t gather_bytes_min, kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  void FinishParts(size_t gather_bytes_min);

  FrameBuffer* const out_;
};

// Decoder hands out what stands in a peer's body, and keeps the first thing that is wrong with it. After an error it
// goes on with empty values, so that readers need not check at every step.
class Decoder {
 public:
  Decoder(const char* parts, const char* end, size_t capnp_bytes)
      : part_(parts), end_(end), budget_bytes_(capnp_bytes) {}

  void Fail(const char* what) {
    if (error_ == nullptr) error_ = what;
  }
  const char* error() const { return error_; }

  // Takes the next raw part.
  void Part(uint32_t size, Bytes* out) {
    const size_t padded = (size_t{size} + 7) / 8 * 8;
    if (padded > static_cast<size_t>(end_ - part_)) return Fail("a raw part is longer than the bytes left");
    *out = Bytes(part_, size);
    part_ += padded;
  }
  // Nothing may be left at the end.
  void CheckEnd() {
    if (part_ != end_) Fail("bytes are left after the last raw part");
  }

  // Whether a list of `count` elements of `wire_bytes` each could be in this message. All lists and texts together
  // may claim each of its bytes once: pointers that overlap run out of budget.
  bool List(size_t count, size_t wire_bytes) { return Claim(count * wire_bytes, "a list is longer than the message"); }

  // Any bytes. Users' texts, shown to people only.
  void Text(capnp::Text::Reader text, std::string* out) {
    if (Claim(text.size(), "a text is longer than the message")) out->assign(text.begin(), text.size());
  }
  // UTF-8, which names must be.
  void Name(capnp::Text::Reader text, std::string* out);

  // A Cap'n Proto enum as ours. REQUIRES: both count from 0 alike; `last` is the highest.
  template <typename E, typename Raw>
  E Enum(Raw raw, E last) {
    if (static_cast<uint16_t>(raw) > static_cast<uint16_t>(last)) {
      Fail("an enum value is out of range");
      return E{};
    }
    return static_cast<E>(raw);
  }

 private:
  bool Claim(size_t bytes, const char* what) {
    if (bytes > budget_bytes_) {
      Fail(what);
      return false;
    }
    budget_bytes_ -= bytes;
    return true;
  }

  const char* part_;
  const char* const end_;
  size_t budget_bytes_;
  const char* error_ = nullptr;
};

// ---------------------------------------------------------------- values of common.capnp
// Ids that are none (all zeros) are left out: an absent pointer reads as zeros.

// For structs and for groups, which have the same fields.
template <typename Builder>
void WriteCall(const CallId& id, Builder b) {
  b.setCallerNode(id.caller.node);
  b.setCallerNumber(id.caller.number);
  b.setNumber(id.number);
}
template <typename Reader>
CallId ReadCall(Reader r) {
  return {{r.getCallerNode(), r.getCallerNumber()}, r.getNumber()};
}
template <typename Builder>
void WriteObject(const ObjectId& id, Builder b) {
  b.setOwnerNode(id.owner.node);
  b.setOwnerNumber(id.owner.number);
  b.setNumber(id.number);
  b.setIndex(id.index);
}
template <typename Reader>
ObjectId ReadObject(Reader r) {
  return {{r.getOwnerNode(), r.getOwnerNumber()}, r.getNumber(), r.getIndex()};
}
template <typename Builder>
void WriteActor(const ActorId& id, Builder b) {
  b.setCreatorNode(id.creator.node);
  b.setCreatorNumber(id.creator.number);
  b.setNumber(id.number);
}
template <typename Reader>
ActorId ReadActor(Reader r) {
  return {{r.getCreatorNode(), r.getCreatorNumber()}, r.getNumber()};
}
template <typename Id, typename Builder>  // ProcessId, LeaseId
void WritePair(const Id& id, Builder b) {
  b.setNode(id.node);
  b.setNumber(id.number);
}
inline ProcessId ReadProcess(schema::ProcessId::Reader r) { return {r.getNode(), r.getNumber()}; }
template <typename Reader>
LeaseId ReadLease(Reader r) {
  return {r.getNode(), r.getNumber()};
}
template <typename Builder>
void WriteLocation(const StoreLocation& location, Builder b) {
  b.setNode(location.node);
  b.setSegment(location.segment);
  b.setOffset(location.offset);
  b.setSizeBytes(location.size_bytes);
}
template <typename Reader>
StoreLocation ReadLocation(Reader r) {
  return {r.getNode(), r.getSegment(), r.getOffset(), r.getSizeBytes()};
}
void WriteTicket(const TicketId& id, schema::TicketId::Builder b);
TicketId ReadTicket(schema::TicketId::Reader r);

inline capnp::Text::Reader TextOf(const std::string& text) { return {text.data(), text.size()}; }

void WriteError(const ErrorInfo& error, schema::ErrorInfo::Builder b);
void ReadError(schema::ErrorInfo::Reader r, Decoder* in, ErrorInfo* error);

void WriteResources(const base::ResourceSet& set, schema::ResourceSet::Builder b);
void ReadResources(schema::ResourceSet::Reader r, Decoder* in, base::ResourceSet* set);

void WriteHint(const SchedulingHint& hint, schema::SchedulingHint::Builder b);
void ReadHint(schema::SchedulingHint::Reader r, Decoder* in, SchedulingHint* hint);
void WriteTexts(const std::vector<std::string>& texts, capnp::List<capnp::Text>::Builder list);
void ReadTexts(capnp::List<capnp::Text>::Reader list, Decoder* in, std::vector<std::string>* texts);

void WriteValue(const Value& value, schema::Value::Builder b, Encoder* out);
void ReadValue(schema::Value::Reader r, Decoder* in, Value* value);
void WriteValues(const std::vector<Value>& values, capnp::List<schema::Value>::Builder list, Encoder* out);
void ReadValues(capnp::List<schema::Value>::Reader list, Decoder* in, std::vector<Value>* values);
void WriteRefs(const std::vector<NestedRef>& refs, capnp::List<schema::NestedRef>::Builder list);
void ReadRefs(capnp::List<schema::NestedRef>::Reader list, Decoder* in, std::vector<NestedRef>* refs);
void WriteNumbers(const std::vector<uint32_t>& numbers, capnp::List<uint32_t>::Builder list);
void ReadNumbers(capnp::List<uint32_t>::Reader list, Decoder* in, std::vector<uint32_t>* numbers);

// ---------------------------------------------------------------- messages

// M's place in the schema: Wire<M>::Schema and Wire<M>::kType. Specialised by MANTA_RPC_MESSAGE.
template <typename M>
struct Wire;

template <typename M>
void EncodeAs(const M& message, FrameBuffer* out, size_t gather_bytes_min);
template <typename M>
absl::Status DecodeAs(const void* data, size_t size, size_t capnp_bytes, M* out);

// The segments of a body's Cap'n Proto part.
class SegmentTable {
 public:
  // Null, or what is wrong.
  const char* Parse(const void* data, size_t size, size_t capnp_bytes);
  kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments() const { return {segments_, count_}; }

 private:
  size_t count_ = 0;
  kj::ArrayPtr<const capnp::word> segments_[kSegmentsMax];
};
capnp::ReaderOptions OptionsFor(size_t capnp_bytes);
absl::Status DecodeError(uint16_t type, std::string_view what);

// Instantiates EncodeAs and DecodeAs of one message out of Write(const M&, Builder, Encoder*) and
// Read(Reader, Decoder*, M*), which stand above it.
#define MANTA_RPC_MESSAGE(M, TYPE)                                                                           \
  template <>                                                                                                \
  struct Wire<M> {                                                                                           \
    static constexpr uint16_t kType = static_cast<uint16_t>(schema::MessageType::TYPE);                      \
    static_assert(std::is_same_v<std::variant_alternative_t<kType, MessageVariant>, M>);                     \
  };                                                                                                         \
  template <>                                                                                                \
  void EncodeAs<M>(const M& message, FrameBuffer* out, size_t gather_bytes_min) {                            \
    Encoder encoder(out);                                                                                    \
    encoder.Build<schema::M>(Wire<M>::kType, gather_bytes_min,                                               \
                             [&](schema::M::Builder root) { Write(message, root, &encoder); });              \
  }                                                                                                          \
  template <>                                                                                                \
  absl::Status DecodeAs<M>(const void* data, size_t size, size_t capnp_bytes, M* out) {                      \
    SegmentTable table;                                                                                      \
    if (const char* wrong = table.Parse(data, size, capnp_bytes)) return DecodeError(Wire<M>::kType, wrong); \
    const char* bytes = static_cast<const char*>(data);                                                      \
    Decoder decoder(bytes + capnp_bytes, bytes + size, capnp_bytes);                                         \
    try {                                                                                                    \
      capnp::SegmentArrayMessageReader reader(table.segments(), OptionsFor(capnp_bytes));                    \
      Read(reader.getRoot<schema::M>(), &decoder, out);                                                      \
      decoder.CheckEnd();                                                                                    \
    } catch (const kj::Exception& broken) {                                                                  \
      return DecodeError(Wire<M>::kType, {broken.getDescription().begin(), broken.getDescription().size()}); \
    }                                                                                                        \
    if (decoder.error() != nullptr) return DecodeError(Wire<M>::kType, decoder.error());                     \
    return absl::OkStatus();                                                                                 \
  }

}  // namespace manta::rpc

#endif  // MANTA_RPC_CODEC_INTERNAL_H_
