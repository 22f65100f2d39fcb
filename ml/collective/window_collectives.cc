#include "ml/collective/window_collectives.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "manta/ml/process_group.h"
#include "ml/collective/partition.h"
#include "ml/collective/reduce.h"

namespace manta::ml::internal {
namespace {

using Stage = Window::Stage;

// Below this many bytes every member reduces all values itself: one wait for the others instead of two.
constexpr size_t kWholeBytesMax = 16 << 10;

// One operation under way.
class Run {
 public:
  Run(Window& window, const Operation& operation, const Label& label)
      : window_(window),
        members_(window.members()),
        rank_(window.index()),
        operation_(operation),
        label_(label),
        item_bytes_(ItemBytes(operation.dtype)),
        in_(static_cast<const std::byte*>(operation.in)),
        out_(static_cast<std::byte*>(operation.out)) {}

  uint64_t AllReduce() {
    if (operation_.count * item_bytes_ <= std::min(kWholeBytesMax, window_.slot_bytes())) return AllReduceWhole();
    return ReduceParts(true, true);
  }
  uint64_t Reduce() { return ReduceParts(operation_.root == rank_, operation_.root == rank_); }
  uint64_t ReduceScatter();
  uint64_t AllGather();
  uint64_t Broadcast();
  uint64_t Barrier();

 private:
  // Elements [begin, end) of the values, and the window's number for them.
  struct Piece {
    size_t begin;
    size_t end;
    uint32_t number;
  };

  uint64_t AllReduceWhole();
  uint64_t ReduceParts(bool keeps_own, bool takes_others);
  void EnterParts(const Piece& piece);
  void ReduceOwnPart(const Piece& piece, bool keeps);
  void LeaveParts(const Piece& piece, bool takes);
  std::vector<Piece> Pieces(size_t count, size_t elements_max);
  void Copy(std::byte* to, const std::byte* from, size_t elements) {
    if (elements != 0 && to != from) std::memcpy(to, from, elements * item_bytes_);
  }
  void CountBytes(size_t elements) { bytes_ += elements * item_bytes_; }

  Window& window_;
  const size_t members_;
  const size_t rank_;
  const Operation& operation_;
  const Label& label_;
  const size_t item_bytes_;
  const std::byte* const in_;
  std::byte* const out_;
  uint64_t bytes_ = 0;
};

// Equal pieces of whole cache lines; at least one, which then is a barrier and compares labels.
// REQUIRES: elements_max is a multiple of kElementsOfLine.
std::vector<Run::Piece> Run::Pieces(size_t count, size_t elements_max) {
  const size_t number = std::max<size_t>(1, (count + elements_max - 1) / elements_max);
  const size_t size = ((count + number - 1) / number + kElementsOfLine - 1) / kElementsOfLine * kElementsOfLine;
  std::vector<Piece> pieces;
  for (size_t begin = 0; begin < count || pieces.empty(); begin += size) {
    pieces.push_back({begin, std::min(count, begin + size), window_.NextPiece()});
  }
  return pieces;
}

uint64_t Run::AllReduceWhole() {
  const uint32_t piece = window_.NextPiece();
  window_.Open(piece, label_);
  Copy(window_.slot(rank_, piece), in_, operation_.count);
  CountBytes(operation_.count);
  window_.Publish(Stage::kEntered, piece);
  window_.Await(Stage::kEntered, piece);
  std::array<const void*, ProcessGroup::kMembersMax> sources;
  for (size_t i = 0; i < members_; ++i) sources[i] = window_.slot(i, piece);
  ReduceValues(operation_.dtype, operation_.reduction, {sources.data(), members_}, out_, operation_.count);
  window_.Publish(Stage::kReduced, piece);
  window_.Publish(Stage::kLeft, piece);
  return bytes_;
}

uint64_t Run::ReduceParts(bool keeps_own, bool takes_others) {
  const size_t elements_max = window_.slot_bytes() / item_bytes_;
  const std::vector<Piece> pieces = Pieces(operation_.count, elements_max);
  for (size_t i = 0; i < pieces.size() + 2; ++i) {
    if (i < pieces.size()) EnterParts(pieces[i]);
    if (i >= 1 && i <= pieces.size()) ReduceOwnPart(pieces[i - 1], keeps_own);
    if (i >= 2) LeaveParts(pieces[i - 2], takes_others);
  }
  return bytes_;
}

// The others' parts go into the own slot; the own one's place there is for its result.
void Run::EnterParts(const Piece& piece) {
  const size_t count = piece.end - piece.begin;
  const size_t own_begin = PartBegin(count, rank_, members_);
  const size_t own_end = PartBegin(count, rank_ + 1, members_);
  std::byte* const slot = window_.slot(rank_, piece.number);
  const std::byte* const values = in_ + piece.begin * item_bytes_;
  window_.Open(piece.number, label_);
  Copy(slot, values, own_begin);
  Copy(slot + own_end * item_bytes_, values + own_end * item_bytes_, count - own_end);
  CountBytes(count - (own_end - own_begin));
  window_.Publish(Stage::kEntered, piece.number);
}

void Run::ReduceOwnPart(const Piece& piece, bool keeps) {
  const size_t begin = PartBegin(piece.end - piece.begin, rank_, members_);
  const size_t count = PartBegin(piece.end - piece.begin, rank_ + 1, members_) - begin;
  const size_t offset = begin * item_bytes_;
  window_.Await(Stage::kEntered, piece.number);
  std::array<const void*, ProcessGroup::kMembersMax> sources;
  for (size_t i = 0; i < members_; ++i) sources[i] = window_.slot(i, piece.number) + offset;
  sources[rank_] = in_ + piece.begin * item_bytes_ + offset;
  std::byte* const result = window_.slot(rank_, piece.number) + offset;
  ReduceValues(operation_.dtype, operation_.reduction, {sources.data(), members_}, result, count);
  CountBytes(count);
  window_.Publish(Stage::kReduced, piece.number);
  if (keeps) Copy(out_ + piece.begin * item_bytes_ + offset, result, count);
}

void Run::LeaveParts(const Piece& piece, bool takes) {
  const size_t count = piece.end - piece.begin;
  if (takes) {
    window_.Await(Stage::kReduced, piece.number);
    for (size_t i = 1; i < members_; ++i) {
      const size_t member = (rank_ + i) % members_;
      const size_t begin = PartBegin(count, member, members_);
      Copy(out_ + (piece.begin + begin) * item_bytes_, window_.slot(member, piece.number) + begin * item_bytes_,
           PartBegin(count, member + 1, members_) - begin);
    }
  }
  window_.Publish(Stage::kLeft, piece.number);
}

// A slot holds a run of each member's part.
uint64_t Run::ReduceScatter() {
  const size_t stride = window_.slot_bytes() / members_ / item_bytes_ / kElementsOfLine * kElementsOfLine;
  const std::vector<Piece> pieces = Pieces(operation_.count, stride);
  for (size_t i = 0; i < pieces.size() + 1; ++i) {
    if (i < pieces.size()) {
      const Piece& piece = pieces[i];
      window_.Open(piece.number, label_);
      for (size_t member = 0; member < members_; ++member) {
        if (member == rank_) continue;
        Copy(window_.slot(rank_, piece.number) + member * stride * item_bytes_,
             in_ + (member * operation_.count + piece.begin) * item_bytes_, piece.end - piece.begin);
        CountBytes(piece.end - piece.begin);
      }
      window_.Publish(Stage::kEntered, piece.number);
    }
    if (i >= 1) {
      const Piece& piece = pieces[i - 1];
      window_.Await(Stage::kEntered, piece.number);
      std::array<const void*, ProcessGroup::kMembersMax> sources;
      for (size_t member = 0; member < members_; ++member) {
        sources[member] = window_.slot(member, piece.number) + rank_ * stride * item_bytes_;
      }
      sources[rank_] = in_ + (rank_ * operation_.count + piece.begin) * item_bytes_;
      ReduceValues(operation_.dtype, operation_.reduction, {sources.data(), members_}, out_ + piece.begin * item_bytes_,
                   piece.end - piece.begin);
      window_.Publish(Stage::kReduced, piece.number);
      window_.Publish(Stage::kLeft, piece.number);
    }
  }
  return bytes_;
}

uint64_t Run::AllGather() {
  const std::vector<Piece> pieces = Pieces(operation_.count, window_.slot_bytes() / item_bytes_);
  for (size_t i = 0; i < pieces.size() + 1; ++i) {
    if (i < pieces.size()) {
      const Piece& piece = pieces[i];
      window_.Open(piece.number, label_);
      Copy(window_.slot(rank_, piece.number), in_ + piece.begin * item_bytes_, piece.end - piece.begin);
      CountBytes(piece.end - piece.begin);
      window_.Publish(Stage::kEntered, piece.number);
    }
    if (i >= 1) {
      const Piece& piece = pieces[i - 1];
      window_.Await(Stage::kEntered, piece.number);
      for (size_t member = 0; member < members_; ++member) {
        const std::byte* const from =
            member == rank_ ? in_ + piece.begin * item_bytes_ : window_.slot(member, piece.number);
        Copy(out_ + (member * operation_.count + piece.begin) * item_bytes_, from, piece.end - piece.begin);
      }
      window_.Publish(Stage::kReduced, piece.number);
      window_.Publish(Stage::kLeft, piece.number);
    }
  }
  return bytes_;
}

uint64_t Run::Broadcast() {
  for (const Piece& piece : Pieces(operation_.count, window_.slot_bytes() / item_bytes_)) {
    window_.Open(piece.number, label_);
    if (rank_ == operation_.root) {
      Copy(window_.slot(rank_, piece.number), in_ + piece.begin * item_bytes_, piece.end - piece.begin);
      CountBytes(piece.end - piece.begin);
      window_.Publish(Stage::kEntered, piece.number);
    } else {
      window_.Publish(Stage::kEntered, piece.number);
      window_.Await(Stage::kEntered, piece.number);
      Copy(out_ + piece.begin * item_bytes_, window_.slot(operation_.root, piece.number), piece.end - piece.begin);
    }
    window_.Publish(Stage::kReduced, piece.number);
    window_.Publish(Stage::kLeft, piece.number);
  }
  return bytes_;
}

uint64_t Run::Barrier() {
  const uint32_t piece = window_.NextPiece();
  window_.Open(piece, label_);
  window_.Publish(Stage::kEntered, piece);
  window_.Await(Stage::kEntered, piece);
  window_.Publish(Stage::kReduced, piece);
  window_.Publish(Stage::kLeft, piece);
  return 0;
}

}  // namespace

uint64_t RunOnWindow(Window& window, const Operation& operation, const Label& label) {
  Run run(window, operation, label);
  switch (operation.kind) {
    case CollectiveKind::kAllReduce:
      return run.AllReduce();
    case CollectiveKind::kReduceScatter:
      return run.ReduceScatter();
    case CollectiveKind::kAllGather:
      return run.AllGather();
    case CollectiveKind::kBroadcast:
      return run.Broadcast();
    case CollectiveKind::kReduce:
      return run.Reduce();
    case CollectiveKind::kBarrier:
      break;
  }
  return run.Barrier();
}

}  // namespace manta::ml::internal
