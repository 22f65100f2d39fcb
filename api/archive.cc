#include "manta/archive.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "api/layout.h"
#include "manta/error.h"
#include "manta/internal/function.h"
#include "manta/internal/value.h"

namespace manta {
namespace {

constexpr uint32_t kNoRef = 0xFFFFFFFFu;

uint64_t ReadU64(const char* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

// ---------------------------------------------------------------- writing

OutputArchive::OutputArchive(internal::Serialized* out, std::shared_ptr<const void> owner)
    : cereal::OutputArchive<OutputArchive>(this), out_(out), owner_(std::move(owner)) {}

OutputArchive::~OutputArchive() = default;

void OutputArchive::SaveRef(const internal::RefHandle& ref) {
  uint32_t index = kNoRef;
  if (ref) {
    (void)internal::BackendOf(ref);  // refuses one of an earlier Init
    index = static_cast<uint32_t>(out_->refs.size());
    out_->refs.push_back(ref);
  }
  saveBinary(&index, sizeof index);
}

void OutputArchive::SavePart(const void* data, uint64_t size_bytes, std::shared_ptr<const void> keep) {
  out_->parts.push_back({data, static_cast<size_t>(size_bytes), std::move(keep)});
}

void OutputArchive::SaveRun(const void* data, uint64_t size_bytes) {
  if (size_bytes < kOutOfBandBytesMin) {
    if (size_bytes != 0) saveBinary(data, static_cast<std::streamsize>(size_bytes));
  } else if (Lasts(data)) {
    SavePart(data, size_bytes, owner_);
  } else {
    auto copy = std::make_shared<std::string>(static_cast<const char*>(data), static_cast<size_t>(size_bytes));
    const char* const begin = copy->data();
    SavePart(begin, size_bytes, std::move(copy));
  }
}

void OutputArchive::Enter(const void* object, size_t size_bytes, bool of_library) {
  if (scopes_.size() >= kNestingMax) {
    throw SerializationError("the value nests deeper than " + std::to_string(kNestingMax) +
                             " levels; keep long chains in a std::vector");
  }
  scopes_.push_back({static_cast<const char*>(object), size_bytes, of_library, Lasts(object)});
}

// Whether `data`, handed to the archive by the object that is being written, is part of the value. What a library's
// type hands over is; what a user's save function does may be a temporary of its own, unless it lies in the object.
bool OutputArchive::Lasts(const void* data) const {
  if (scopes_.empty()) return true;
  const Scope& scope = scopes_.back();
  if (!scope.lasting || scope.of_library) return scope.lasting;
  return std::less_equal<>()(scope.begin, static_cast<const char*>(data)) &&
         std::less<>()(static_cast<const char*>(data), scope.begin + scope.size_bytes);
}

// ---------------------------------------------------------------- reading

InputArchive::InputArchive(const internal::Payload& payload)
    : cereal::InputArchive<InputArchive>(this), payload_(payload) {
  using internal::kFrameHeaderBytes, internal::kFramePartBytes, internal::kPartAlignment;
  const uint64_t size = payload.size_bytes;
  uint32_t magic = 0;
  if (size < kFrameHeaderBytes) throw SerializationError("a value of " + std::to_string(size) + " bytes has no frame");
  std::memcpy(&magic, payload.data, sizeof magic);
  std::memcpy(&part_count_, payload.data + 4, sizeof part_count_);
  const uint64_t head_bytes = ReadU64(payload.data + 8);
  if (magic != internal::kFrameMagic) throw SerializationError("the bytes are no framed value (wrong magic)");
  if (part_count_ > (size - kFrameHeaderBytes) / kFramePartBytes) {
    throw SerializationError("a value of " + std::to_string(size) + " bytes cannot have " +
                             std::to_string(part_count_) + " parts");
  }
  const uint64_t head_begin = kFrameHeaderBytes + uint64_t{part_count_} * kFramePartBytes;
  if (head_bytes > size - head_begin) {
    throw SerializationError("a value of " + std::to_string(size) + " bytes cannot have a head of " +
                             std::to_string(head_bytes));
  }
  parts_ = payload.data + kFrameHeaderBytes;
  at_ = payload.data + head_begin;
  end_ = at_ + head_bytes;
  uint64_t parts_begin = head_begin + head_bytes;
  for (uint32_t i = 0; i < part_count_; ++i) {
    const uint64_t offset = ReadU64(parts_ + i * kFramePartBytes);
    const uint64_t bytes = ReadU64(parts_ + i * kFramePartBytes + 8);
    if (offset < parts_begin || offset % kPartAlignment != 0 || offset > size || bytes > size - offset) {
      throw SerializationError("part " + std::to_string(i) + " of a value lies outside of it");
    }
    parts_begin = offset + bytes;
    parts_left_bytes_ += bytes;
  }
}

InputArchive::~InputArchive() = default;

internal::RefHandle InputArchive::LoadRef() {
  uint32_t index = kNoRef;
  loadBinary(&index, sizeof index);
  if (index == kNoRef) return {};
  if (index >= payload_.refs.size()) {
    throw SerializationError("ref " + std::to_string(index) + " of a value that came with " +
                             std::to_string(payload_.refs.size()));
  }
  return payload_.refs[index];
}

std::string_view InputArchive::LoadPart() {
  if (parts_read_ >= part_count_) throw SerializationError("the value has fewer parts than its type wants");
  const char* const entry = parts_ + parts_read_++ * internal::kFramePartBytes;
  const uint64_t bytes = ReadU64(entry + 8);
  parts_left_bytes_ -= bytes;
  return {payload_.data + ReadU64(entry), static_cast<size_t>(bytes)};
}

uint64_t InputArchive::LoadSize() {
  uint64_t size = 0;
  loadBinary(&size, sizeof size);
  if (size > left_bytes()) {
    throw SerializationError("a size of " + std::to_string(size) + " elements, but only " +
                             std::to_string(left_bytes()) + " bytes are left");
  }
  return size;
}

std::string_view InputArchive::LoadRun(uint64_t count, size_t element_bytes) {
  if (count > left_bytes() / element_bytes) FailShort(count);
  const uint64_t size_bytes = count * element_bytes;
  if (size_bytes < kOutOfBandBytesMin) return LoadBytes(size_bytes);
  const std::string_view part = LoadPart();
  if (part.size() != size_bytes) {
    throw SerializationError("a run of " + std::to_string(size_bytes) + " bytes in a part of " +
                             std::to_string(part.size()));
  }
  return part;
}

void InputArchive::Finish() const {
  if (at_ != end_ || parts_read_ != part_count_) {
    throw SerializationError(std::to_string(left_bytes()) + " bytes are left over: the value is of another type");
  }
}

void InputArchive::FailShort(uint64_t wanted) const {
  throw SerializationError("the value is cut short: " + std::to_string(wanted) + " wanted, " +
                           std::to_string(left_bytes()) + " bytes left");
}

void InputArchive::FailDepth() const {
  throw SerializationError("the value nests deeper than " + std::to_string(kNestingMax) + " levels");
}

namespace internal {

// ---------------------------------------------------------------- layout

size_t EncodedBytes(const Serialized& value) {
  size_t size = value.head.size();
  if (value.plain) {
    for (const Serialized::Part& part : value.parts) size += part.size_bytes;
    return size;
  }
  size += kFrameHeaderBytes + value.parts.size() * kFramePartBytes;
  for (const Serialized::Part& part : value.parts) size = AlignPart(size) + part.size_bytes;
  return size;
}

void Encode(const Serialized& value, char* out) {
  if (value.plain) {
    std::memcpy(out, value.head.data(), value.head.size());
    out += value.head.size();
    for (const Serialized::Part& part : value.parts) {
      std::memcpy(out, part.data, part.size_bytes);
      out += part.size_bytes;
    }
    return;
  }
  EncodeFrame(value, out);
  size_t offset = FirstPartOffset(value);
  for (const Serialized::Part& part : value.parts) {
    offset = AlignPart(offset);
    std::memcpy(out + offset, part.data, part.size_bytes);
    offset += part.size_bytes;
  }
}

void EncodeFrame(const Serialized& value, char* out) {
  const uint32_t part_count = static_cast<uint32_t>(value.parts.size());
  const uint64_t head_bytes = value.head.size();
  char* at = out;
  const auto write = [&at](const void* from, size_t bytes) {
    std::memcpy(at, from, bytes);
    at += bytes;
  };
  write(&kFrameMagic, 4);
  write(&part_count, 4);
  write(&head_bytes, 8);
  uint64_t offset = FirstPartOffset(value);
  for (const Serialized::Part& part : value.parts) {
    const uint64_t bytes = part.size_bytes;
    offset = AlignPart(offset);
    write(&offset, 8);
    write(&bytes, 8);
    offset += bytes;
  }
  write(value.head.data(), value.head.size());
  if (!value.parts.empty()) std::memset(at, 0, static_cast<size_t>(out + FirstPartOffset(value) - at));
}

// ---------------------------------------------------------------- whole values

void FailWrite(const std::type_info& type, const char* why) {
  throw SerializationError("a " + Demangle(type.name()) + " could not be written: " + why);
}

void FailRead(const std::type_info& type, const char* why) {
  throw SerializationError("a " + Demangle(type.name()) + " could not be read: " + why);
}

void FailPlainSize(const std::type_info& type, size_t have_bytes, size_t want_bytes) {
  throw SerializationError("a " + Demangle(type.name()) + " could not be read: " + std::to_string(have_bytes) +
                           " bytes, where a multiple of " + std::to_string(want_bytes) + " was expected");
}

void CheckArgumentCount(const Invocation& invocation, size_t count) {
  if (invocation.args.size() != count) {
    throw SerializationError("the call came with " + std::to_string(invocation.args.size()) +
                             " arguments, the function takes " + std::to_string(count));
  }
}

void FailArgument(size_t index, const Error& error) {
  throw SerializationError("argument " + std::to_string(index + 1) + ": " + error.what());
}

}  // namespace internal
}  // namespace manta
