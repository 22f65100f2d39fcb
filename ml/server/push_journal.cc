#include "manta/ml/push_journal.h"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <type_traits>

#include "manta/ml/error.h"
#include "ml/server/mapped_file.h"

namespace manta::ml {
namespace {

// magic | count | entries. The count is written after its entry.
constexpr char kMagic[9] = "mantapj1";
constexpr size_t kHeaderWords = 2, kEntryWords = 6;
static_assert(sizeof(JournalEntry) == kEntryWords * sizeof(uint64_t) && std::is_trivially_copyable_v<JournalEntry>);

std::unique_ptr<MappedFile> MapWithRoomFor(const std::string& path, uint64_t entries) {
  std::error_code none;
  const uintmax_t size = std::filesystem::file_size(path, none);
  return std::make_unique<MappedFile>(path,
                                      (none ? 0 : size) + (kHeaderWords + entries * kEntryWords) * sizeof(uint64_t));
}

}  // namespace

PushJournal::PushJournal(const std::string& path, uint64_t capacity) : file_(MapWithRoomFor(path, capacity)) {
  const std::span<uint64_t> words = file_->words();
  count_ = &words[1];
  entries_ = reinterpret_cast<JournalEntry*>(&words[kHeaderWords]);
  capacity_ = (words.size() - kHeaderWords) / kEntryWords;
  // Zeros: whoever made it was killed, or the machine failed, before there was an entry.
  const bool is_new = words[0] == 0 && size() == 0;
  if (!is_new && (std::memcmp(words.data(), kMagic, sizeof(uint64_t)) != 0 ||
                  size() > (file_->bytes_before() / sizeof(uint64_t) - kHeaderWords) / kEntryWords)) {
    throw DataError(path, 0, "it is no journal of pushes, or cut short");
  }
  std::memcpy(words.data(), kMagic, sizeof(uint64_t));
}

PushJournal::~PushJournal() = default;

void PushJournal::Append(const JournalEntry& entry) {
  const uint64_t at = size();
  entries_[at] = entry;
  std::atomic_ref<uint64_t>(*count_).store(at + 1, std::memory_order_release);
}

}  // namespace manta::ml
