#include "tests/sim/transfers.h"

#include <algorithm>

#include "tests/sim/node_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Duration kProgressTimeout = std::chrono::seconds(3);
constexpr int kChunksMax = 6;

bool Overlap(const rpc::StoreLocation& a, const rpc::StoreLocation& b) {
  return a.segment == b.segment && a.offset < b.offset + b.size_bytes && b.offset < a.offset + a.size_bytes;
}

}  // namespace

// ---------------------------------------------------------------- as a source

void Transfers::Offer(const ObjectId& object, uint32_t attempt, const rpc::StoreLocation& location) {
  offers_[{object, attempt}] = location;
}

std::optional<rpc::StoreLocation> Transfers::Open(Reader reader, const ObjectId& object, uint32_t attempt) {
  if (const auto open = readers_.find(reader); open != readers_.end()) return open->second;
  const auto offer = offers_.find({object, attempt});
  if (offer == offers_.end()) return std::nullopt;
  readers_[reader] = offer->second;
  return offer->second;
}

bool Transfers::ReadsAt(const rpc::StoreLocation& range) {
  std::erase_if(offers_, [&](const auto& offer) { return Overlap(offer.second, range); });
  std::erase_if(readers_, [](const auto& reader) { return !reader.first.first->alive(); });  // its connection broke
  return std::any_of(readers_.begin(), readers_.end(),
                     [&](const auto& reader) { return Overlap(reader.second, range); });
}

// ---------------------------------------------------------------- as a destination

void Transfers::Fetch(const runtime::WriteObject& write) {
  // Until the last chunk is there, a reader would find a wrong number.
  node_->Write(write.location, {write.object, write.attempt, write.location.size_bytes, 0}, node_->label());
  Fetching& fetching = fetching_[write.pull];
  fetching.write = write;
  fetching.chunks_left = 1 + static_cast<int>(world_->rng().Uniform(kChunksMax));
  fetching.give_up_at = world_->now() + kProgressTimeout;
  StepLater(write.pull, microseconds(world_->rng().Between(50, 500)));
}

void Transfers::StepLater(uint64_t pull, Duration delay) {
  world_->queue().After(delay, [this, pull] {
    if (node_->alive()) Step(pull);
  });
}

// The next chunk, or another attempt at it.
void Transfers::Step(uint64_t pull) {
  Fetching& fetching = fetching_.at(pull);
  const runtime::WriteObject& write = fetching.write;
  base::Rng& rng = world_->rng();
  if (fetching.abandoned) return End(pull, "nobody waits for it");
  const Reader reader{node_, pull};
  NodeHost* const source = FindSource(write.source);
  const bool cut = source != nullptr && world_->network().IsCut(node_->machine(), source->machine());
  if (cut) source->transfers().Close(reader);
  if (source == nullptr || cut) {
    if (world_->now() >= fetching.give_up_at) return End(pull, "no progress");
    return StepLater(pull, milliseconds(rng.Between(20, 400)));
  }
  const std::optional<rpc::StoreLocation> there = source->transfers().Open(reader, write.object, write.attempt);
  if (!there) return End(pull, "it is not there any more");
  node_->Read(write.location, write.object, DaemonOf(node_->id()));
  const int64_t number = source->Read(*there, write.object, DaemonOf(node_->id()));
  if (world_->IsDamagedAt(write.source, write.object, write.attempt)) {
    world_->oracle().ComesDamaged(write.object);
    return End(pull, "a chunk comes with a wrong checksum", true);
  }
  if (world_->TransferFails()) {
    if (rng.Uniform(2) == 0) {  // the connection breaks
      source->transfers().Close(reader);
      return StepLater(pull, milliseconds(rng.Between(1, 200)));
    }
    if (std::exchange(fetching.damaged, true)) return End(pull, "a chunk has come twice with a wrong checksum", true);
    return StepLater(pull, microseconds(rng.Between(100, 2'000)));
  }
  fetching.damaged = false;
  fetching.give_up_at = world_->now() + kProgressTimeout;
  if (--fetching.chunks_left > 0) return StepLater(pull, microseconds(rng.Between(100, 3'000)));
  const rpc::StoreLocation room = write.location;
  const NodeHost::Blob blob{write.object, write.attempt, room.size_bytes, number};
  End(pull, "");
  node_->Write(room, blob, node_->label());
}

void Transfers::End(uint64_t pull, const std::string& error, bool damaged) {
  const auto it = fetching_.find(pull);
  if (NodeHost* source = FindSource(it->second.write.source)) source->transfers().Close({node_, pull});
  fetching_.erase(it);
  world_->queue().After(microseconds(world_->rng().Between(5, 200)),
                        [this, pull, error, damaged] { node_->Written(pull, error, damaged); });
}

void Transfers::Abandon(uint64_t pull) {
  if (const auto it = fetching_.find(pull); it != fetching_.end()) it->second.abandoned = true;
}

bool Transfers::WritesAt(const rpc::StoreLocation& range) const {
  return std::any_of(fetching_.begin(), fetching_.end(),
                     [&](const auto& fetching) { return Overlap(fetching.second.write.location, range); });
}

// Null: it is dead, as far as this node knows.
NodeHost* Transfers::FindSource(NodeId source) const {
  NodeHost* const host = world_->FindNode(source);
  if (host == nullptr || !host->alive() || node_->takes_for_dead(source)) return nullptr;
  return host;
}

}  // namespace manta::sim
