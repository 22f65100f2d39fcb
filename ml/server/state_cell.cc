#include "ml/server/state_cell.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace manta::ml {
namespace {

constexpr char kMagic[9] = "mantasc1";
constexpr size_t kHeaderWords = 3;

// Another owner's file is not written to: its process may live yet.
std::unique_ptr<MappedFile> MapFor(const std::string& path, uint64_t owner, size_t words_max) {
  const size_t bytes = (kHeaderWords + 2 * (1 + words_max)) * sizeof(uint64_t);
  uint64_t magic = 0;
  std::memcpy(&magic, kMagic, sizeof magic);
  auto file = std::make_unique<MappedFile>(path, bytes);
  if (file->words()[0] == magic && file->words()[1] == owner) return file;
  std::error_code ignored;  // the next line says it
  std::filesystem::remove(path, ignored);
  file = std::make_unique<MappedFile>(path, bytes);
  file->words()[1] = owner;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // it is nobody's before it has its owner
  file->words()[0] = magic;
  return file;
}

}  // namespace

StateCell::StateCell(const std::string& path, uint64_t owner, size_t words_max)
    : file_(MapFor(path, owner, words_max)),
      slots_(file_->words().subspan(kHeaderWords, 2 * (1 + words_max))),
      in_force_(file_->words()[2]) {}

std::span<const uint64_t> StateCell::value() const {
  if (in_force_ == 0) return {};
  const std::span<const uint64_t> slot = Slot(in_force_);
  return slot.subspan(1, std::min<size_t>(slot[0], slot.size() - 1));
}

void StateCell::Put(std::span<const uint64_t> words) {
  const uint64_t next = in_force_ == 1 ? 2 : 1;
  const std::span<uint64_t> slot = Slot(next);
  slot[0] = words.size();
  std::ranges::copy(words, slot.begin() + 1);
  std::atomic_ref<uint64_t>(in_force_).store(next, std::memory_order_release);
}

}  // namespace manta::ml
