#include <capnp/message.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/status.h"
#include "rpc/codec_internal.h"
#include "rpc/utf8.h"

namespace manta::rpc {
namespace {
constexpr size_t kWord = sizeof(capnp::word);
constexpr size_t kValueWireBytes = 3 * kWord;
constexpr size_t kRefWireBytes = 8 * kWord;
constexpr size_t kResourceWireBytes = 2 * kWord;
constexpr size_t kPointerWireBytes = kWord;
// The table of a message of one segment: its count and its size.
constexpr size_t kSmallTableWords = 1;
}  // namespace

// ---------------------------------------------------------------- Encoder

kj::ArrayPtr<capnp::word> Encoder::FirstSegment() {
  out_->stored_bytes_ = 0;
  out_->Reserve(kWord);
  const size_t words = std::min(out_->capacity_bytes_ / kWord, FrameBuffer::kFirstSegmentWordsMax);
  std::memset(out_->words_.get(), 0, std::min(out_->dirty_bytes_, words * kWord));
  out_->dirty_bytes_ = out_->capacity_bytes_;  // until Finish knows better
  return {reinterpret_cast<capnp::word*>(out_->words_.get()) + kSmallTableWords, words - kSmallTableWords};
}

Encoder::ScratchBuilder::~ScratchBuilder() noexcept(false) {
  for (void* segment : more_) std::free(segment);
}

kj::ArrayPtr<capnp::word> Encoder::ScratchBuilder::allocateSegment(kj::uint minimum_words) {
  if (first_.size() >= minimum_words) {
    const kj::ArrayPtr<capnp::word> first = first_;
    first_ = nullptr;
    return first;
  }
  // Twice the last each time, so that no message has more segments than a receiver takes.
  next_words_ = std::max<size_t>(next_words_ * 2, minimum_words);
  void* segment = std::calloc(next_words_, kWord);
  if (segment == nullptr) throw std::bad_alloc();
  more_.push_back(segment);
  return {static_cast<capnp::word*>(segment), next_words_};
}

void Encoder::Finish(uint16_t type, size_t gather_bytes_min,
                     kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  MANTA_DCHECK(segments.size() <= kSegmentsMax);
  const size_t table_words = segments.size() / 2 + 1;
  size_t words = table_words;
  for (const auto& segment : segments) words += segment.size();
  out_->type_ = type;
  out_->capnp_bytes_ = words * kWord;
  if (segments.size() == 1) [[likely]] {
    MANTA_DCHECK(reinterpret_cast<const uint64_t*>(segments[0].begin()) == out_->words_.get() + kSmallTableWords);
    out_->stored_bytes_ = out_->capnp_bytes_;
    out_->dirty_bytes_ = 0;  // but for what is stored: the rest of the first segment is still zero
  } else {
    FrameBuffer assembled;
    assembled.Reserve(words * kWord);
    assembled.stored_bytes_ = table_words * kWord;
    for (const auto& segment : segments) {
      assembled.Append(reinterpret_cast<const char*>(segment.begin()), segment.size() * kWord);
    }
    out_->words_ = std::move(assembled.words_);
    out_->capacity_bytes_ = assembled.capacity_bytes_;
    out_->stored_bytes_ = assembled.stored_bytes_;
    out_->dirty_bytes_ = assembled.capacity_bytes_;
  }
  // The table: the number of segments less one, the size of each, and zeros up to a whole word.
  auto* table = reinterpret_cast<uint32_t*>(out_->words_.get());
  table[table_words * 2 - 1] = 0;
  table[0] = static_cast<uint32_t>(segments.size() - 1);
  for (size_t i = 0; i < segments.size(); ++i) table[i + 1] = static_cast<uint32_t>(segments[i].size());
  FinishParts(gather_bytes_min);
  out_->dirty_bytes_ = std::max(out_->dirty_bytes_, out_->stored_bytes_);
}

void Encoder::FinishParts(size_t gather_bytes_min) {
  size_t size = out_->capnp_bytes_;
  for (const Bytes* part : out_->parts_) size += (part->size() + 7) / 8 * 8;
  out_->size_ = size;
  if (size > FrameBuffer::kBodyBytesMax) return;
  static constexpr char kZeros[8] = {};
  for (const Bytes* part : out_->parts_) {
    if (part->size() < gather_bytes_min || part->size() <= Bytes::kInlineBytesMax) {
      out_->Append(part->data(), part->size());
      continue;
    }
    out_->gathered_.push_back({out_->stored_bytes_, *part});
    const size_t padding = (8 - part->size() % 8) % 8;
    if (padding != 0) {
      // Not Append: it would pad the padding.
      out_->Reserve(out_->stored_bytes_ + 8);
      std::memcpy(reinterpret_cast<char*>(out_->words_.get()) + out_->stored_bytes_, kZeros, padding);
      out_->stored_bytes_ += padding;
    }
  }
}

// ---------------------------------------------------------------- Decoder

void Decoder::Name(capnp::Text::Reader text, std::string* out) {
  if (text.size() == 0) return out->clear();
  Text(text, out);
  if (!IsUtf8(*out)) Fail("a name is not UTF-8");
}

const char* SegmentTable::Parse(const void* data, size_t size, size_t capnp_bytes) {
  if (capnp_bytes > size || capnp_bytes % kWord != 0 || capnp_bytes < 2 * kWord) {
    return "the Cap'n Proto part has an impossible length";
  }
  if (size % kWord != 0) return "the body is not a whole number of words";
  if (reinterpret_cast<uintptr_t>(data) % kWord != 0) return "the body is not aligned";
  uint32_t table[kSegmentsMax + 1];
  std::memcpy(table, data, kWord);
  if (table[0] >= kSegmentsMax) return "more than 16 segments";
  count_ = table[0] + 1;
  const size_t table_words = count_ / 2 + 1;
  size_t words = capnp_bytes / kWord;
  if (table_words > words) return "the segment table is longer than the message";
  std::memcpy(table, data, (count_ + 1) * sizeof(uint32_t));
  words -= table_words;
  const auto* at = static_cast<const capnp::word*>(data) + table_words;
  for (size_t i = 0; i < count_; ++i) {
    const size_t segment_words = table[i + 1];
    if (segment_words > words) return "a segment is longer than the message";
    segments_[i] = {at, segment_words};
    at += segment_words;
    words -= segment_words;
  }
  if (words != 0) return "bytes are left after the last segment";
  return nullptr;
}

capnp::ReaderOptions OptionsFor(size_t capnp_bytes) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = capnp_bytes / kWord * kTraversalPerByte;
  options.nestingLimit = kNestingMax;
  return options;
}

absl::Status DecodeError(uint16_t type, std::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, std::string(MessageName(type)) + ": " + std::string(what));
}

// ---------------------------------------------------------------- values

void WriteTicket(const TicketId& id, schema::TicketId::Builder b) {
  WriteCall(id.call, b);
  b.setAttempt(id.attempt);
  b.setIndex(id.index);
  b.setReply(id.reply);
}

TicketId ReadTicket(schema::TicketId::Reader r) { return {ReadCall(r), r.getAttempt(), r.getIndex(), r.getReply()}; }

namespace {
// An error must arrive: a user's text of megabytes would make the reply too large to send.
constexpr size_t kErrorTextBytesMax = 16 * 1024;
constexpr size_t kErrorChainMax = 128;

capnp::Text::Reader CutTextOf(const std::string& text, std::string* cut) {
  if (text.size() <= kErrorTextBytesMax) return TextOf(text);
  *cut = text.substr(0, kErrorTextBytesMax) + " [...]";
  return TextOf(*cut);
}
}  // namespace

void WriteError(const ErrorInfo& error, schema::ErrorInfo::Builder b) {
  std::string cut;
  b.setCode(static_cast<schema::ErrorCode>(error.code));
  b.setMayHaveRun(error.may_have_run);
  if (!error.type.empty()) b.setType(CutTextOf(error.type, &cut));
  if (!error.message.empty()) b.setMessage(CutTextOf(error.message, &cut));
  if (!error.where.empty()) b.setWhere(CutTextOf(error.where, &cut));
  if (error.chain.empty()) return;
  auto chain = b.initChain(static_cast<kj::uint>(std::min(error.chain.size(), kErrorChainMax)));
  for (kj::uint i = 0; i < chain.size(); ++i) chain.set(i, CutTextOf(error.chain[i], &cut));
}

void ReadError(schema::ErrorInfo::Reader r, Decoder* in, ErrorInfo* error) {
  error->code = in->Enum(r.getCode(), ErrorCode::kInternal);
  error->may_have_run = r.getMayHaveRun();
  in->Text(r.getType(), &error->type);
  in->Text(r.getMessage(), &error->message);
  in->Text(r.getWhere(), &error->where);
  const auto chain = r.getChain();
  error->chain.clear();
  if (!in->List(chain.size(), kPointerWireBytes)) return;
  error->chain.resize(chain.size());
  for (kj::uint i = 0; i < chain.size(); ++i) in->Text(chain[i], &error->chain[i]);
}

void WriteResources(const base::ResourceSet& set, schema::ResourceSet::Builder b) {
  kj::uint count = 0;
  for (const auto& [name, amount] : set.amounts()) count += amount.units() > 0;
  auto list = b.initResources(count);
  kj::uint i = 0;
  for (const auto& [name, amount] : set.amounts()) {
    if (amount.units() <= 0) continue;
    list[i].setName(TextOf(name));
    list[i++].setUnits(amount.units());
  }
}

void ReadResources(schema::ResourceSet::Reader r, Decoder* in, base::ResourceSet* set) {
  const auto list = r.getResources();
  *set = base::ResourceSet();
  if (!in->List(list.size(), kResourceWireBytes)) return;
  if (list.size() > base::ResourceSet::kNamesMax) return in->Fail("more than 256 resources");
  std::string name;
  for (const auto resource : list) {
    in->Name(resource.getName(), &name);
    const int64_t units = resource.getUnits();
    if (units <= 0 || units > base::Fixed::kUnitsMax) return in->Fail("an amount of a resource is out of range");
    if (name.empty() || name.size() > base::ResourceSet::kNameBytesMax) {
      return in->Fail("a resource's name is empty or too long");
    }
    if (set->amounts().contains(name)) return in->Fail("a resource stands in the list twice");
    set->Set(name, base::Fixed::FromUnits(units));
  }
}

void WriteHint(const SchedulingHint& hint, schema::SchedulingHint::Builder b) {
  b.setSpreading(static_cast<schema::Spreading>(hint.spreading));
  b.setAffinity(hint.affinity);
  b.setAffinityHard(hint.affinity_hard);
}

void ReadHint(schema::SchedulingHint::Reader r, Decoder* in, SchedulingHint* hint) {
  hint->spreading = in->Enum(r.getSpreading(), Spreading::kSpread);
  hint->affinity = r.getAffinity();
  hint->affinity_hard = r.getAffinityHard();
}

void WriteTexts(const std::vector<std::string>& texts, capnp::List<capnp::Text>::Builder list) {
  for (kj::uint i = 0; i < list.size(); ++i) list.set(i, TextOf(texts[i]));
}

void ReadTexts(capnp::List<capnp::Text>::Reader list, Decoder* in, std::vector<std::string>* texts) {
  texts->clear();
  if (!in->List(list.size(), sizeof(capnp::word))) return;
  texts->resize(list.size());
  for (kj::uint i = 0; i < list.size(); ++i) in->Text(list[i], &(*texts)[i]);
}

void WriteValue(const Value& value, schema::Value::Builder b, Encoder* out) {
  if (value.kind == Value::Kind::kInline) {
    b.setInlineBytes(out->AddPart(value.bytes));
  } else {
    // A kRef has no wire form: the receiver refuses a kind of 2.
    b.setKind(static_cast<schema::Value::Kind>(value.kind));
    auto stored = b.initStored();
    WriteObject(value.object, stored.getObject());
    WriteLocation(value.location, stored.getLocation());
  }
  if (!value.refs.empty()) WriteRefs(value.refs, b.initRefs(static_cast<kj::uint>(value.refs.size())));
}

void ReadValue(schema::Value::Reader r, Decoder* in, Value* value) {
  value->kind = in->Enum(r.getKind(), Value::Kind::kStored);
  if (value->kind == Value::Kind::kInline) {
    in->Part(r.getInlineBytes(), &value->bytes);
    value->object = ObjectId();
    value->location = StoreLocation();
  } else {
    const auto stored = r.getStored();
    value->bytes = Bytes();
    value->object = ReadObject(stored.getObject());
    value->location = ReadLocation(stored.getLocation());
  }
  if (r.hasRefs()) {
    ReadRefs(r.getRefs(), in, &value->refs);
  } else {
    value->refs.clear();
  }
}

void WriteValues(const std::vector<Value>& values, capnp::List<schema::Value>::Builder list, Encoder* out) {
  for (kj::uint i = 0; i < list.size(); ++i) WriteValue(values[i], list[i], out);
}

void ReadValues(capnp::List<schema::Value>::Reader list, Decoder* in, std::vector<Value>* values) {
  if (!in->List(list.size(), kValueWireBytes)) return values->clear();
  values->resize(list.size());
  for (kj::uint i = 0; i < list.size(); ++i) ReadValue(list[i], in, &(*values)[i]);
}

void WriteRefs(const std::vector<NestedRef>& refs, capnp::List<schema::NestedRef>::Builder list) {
  for (kj::uint i = 0; i < list.size(); ++i) {
    WriteObject(refs[i].object, list[i].getObject());
    WriteLocation(refs[i].location, list[i].getLocation());
  }
}

void ReadRefs(capnp::List<schema::NestedRef>::Reader list, Decoder* in, std::vector<NestedRef>* refs) {
  if (!in->List(list.size(), kRefWireBytes)) return refs->clear();
  refs->resize(list.size());
  for (kj::uint i = 0; i < list.size(); ++i) {
    (*refs)[i] = {ReadObject(list[i].getObject()), ReadLocation(list[i].getLocation())};
  }
}

void WriteNumbers(const std::vector<uint32_t>& numbers, capnp::List<uint32_t>::Builder list) {
  for (kj::uint i = 0; i < list.size(); ++i) list.set(i, numbers[i]);
}

void ReadNumbers(capnp::List<uint32_t>::Reader list, Decoder* in, std::vector<uint32_t>* numbers) {
  if (!in->List(list.size(), sizeof(uint32_t))) return numbers->clear();
  numbers->resize(list.size());
  for (kj::uint i = 0; i < list.size(); ++i) (*numbers)[i] = list[i];
}

}  // namespace manta::rpc
