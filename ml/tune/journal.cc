#include "ml/tune/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/hash.h"
#include "manta/ml/error.h"
#include "manta/ml/sweep_error.h"
#include "ml/data/durable_file.h"

namespace manta::ml {
namespace {

constexpr std::string_view kFileMagic = "MANTAJN1";
constexpr uint32_t kFrameMagic = 0x31464A4D;  // "MJF1"
constexpr size_t kHeaderBytes = 32;
constexpr uint64_t kSnapshotAfterBytesMin = 1 << 20;
constexpr uint64_t kEntryBytesMax = 1 << 30;

template <class T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian, as all of Manta's values
}
template <class T>
T Take(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string FrameOf(uint64_t sequence, std::string_view payload) {
  std::string frame;
  frame.reserve(kHeaderBytes + payload.size());
  Put(&frame, kFrameMagic);
  Put(&frame, static_cast<uint32_t>(payload.size()));
  Put(&frame, sequence);
  Put(&frame, base::Hash64(payload));
  Put(&frame, base::Hash64(frame));
  frame += payload;
  return frame;
}

struct Frame {
  uint64_t sequence = 0;
  std::string_view payload;
};

// The frame at `offset`, if there is a whole and undamaged one.
std::optional<Frame> FrameAt(std::string_view file, size_t offset) {
  if (file.size() - offset < kHeaderBytes) return std::nullopt;
  const std::string_view header = file.substr(offset, kHeaderBytes);
  if (Take<uint32_t>(header, 0) != kFrameMagic) return std::nullopt;
  if (Take<uint64_t>(header, 24) != base::Hash64(header.substr(0, 24))) return std::nullopt;
  const uint64_t bytes = Take<uint32_t>(header, 4);
  if (file.size() - offset - kHeaderBytes < bytes) return std::nullopt;
  const std::string_view payload = file.substr(offset + kHeaderBytes, bytes);
  if (Take<uint64_t>(header, 16) != base::Hash64(payload)) return std::nullopt;
  return Frame{Take<uint64_t>(header, 8), payload};
}

void CheckMagic(const std::string& path, std::string_view file) {
  if (!file.starts_with(kFileMagic))
    throw DataError(path, 0, "is no journal of a sweep, or its first bytes are damaged");
}

void SplitEntries(const std::string& path, size_t offset, std::string_view payload, std::vector<std::string>* entries) {
  for (size_t at = 0; at < payload.size();) {
    const uint64_t bytes = payload.size() - at < 4 ? UINT64_MAX : Take<uint32_t>(payload, at);
    if (bytes > payload.size() - at - 4) throw DataError(path, offset + at, "an entry's length is past its frame");
    entries->emplace_back(payload.substr(at + 4, bytes));
    at += 4 + bytes;
  }
}

struct Tail {
  uint64_t good_bytes = 0;
  uint64_t next_sequence = 0;
  std::string dropped;
};

// All frames of a journal, whose first has the number `sequence`; see the header for what may be dropped.
Tail ReadFrames(const std::string& path, std::string_view file, uint64_t sequence, std::vector<std::string>* entries) {
  CheckMagic(path, file);
  size_t offset = kFileMagic.size();
  while (offset < file.size()) {
    const std::optional<Frame> frame = FrameAt(file, offset);
    if (!frame) {
      for (size_t later = file.find("MJF1", offset + 1); later != file.npos; later = file.find("MJF1", later + 1)) {
        if (FrameAt(file, later)) {
          throw DataError(path, offset,
                          "is damaged, and there are good entries behind, from byte " + std::to_string(later) +
                              " on: bring the file back from a copy");
        }
      }
      break;
    }
    if (frame->sequence != sequence) {
      throw DataError(path, offset,
                      "has the entries of write " + std::to_string(frame->sequence) + " where those of " +
                          std::to_string(sequence) + " belong");
    }
    SplitEntries(path, offset + kHeaderBytes, frame->payload, entries);
    ++sequence;
    offset += kHeaderBytes + frame->payload.size();
  }
  Tail tail{offset, sequence, {}};
  if (offset < file.size()) {
    tail.dropped = path + ": the last " + std::to_string(file.size() - offset) + " bytes, from byte " +
                   std::to_string(offset) + " on, are a write that a crash cut short; dropped";
  }
  return tail;
}

// The generation of "journal-000007" for the kind "journal".
std::optional<uint64_t> GenerationOf(const std::string& name, const std::string& kind) {
  if (!name.starts_with(kind + "-")) return std::nullopt;
  uint64_t generation = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kind.size() + 1, end, generation);
  if (error != std::errc() || stop != end) return std::nullopt;
  return generation;
}

struct Found {
  std::vector<uint64_t> journals, snapshots;  // generations, ascending
};

Found LookInto(const std::string& directory) {
  Found found;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = file.path().filename().string();
    if (const auto generation = GenerationOf(name, "journal")) found.journals.push_back(*generation);
    if (const auto generation = GenerationOf(name, "snapshot")) found.snapshots.push_back(*generation);
  }
  std::sort(found.journals.begin(), found.journals.end());
  std::sort(found.snapshots.begin(), found.snapshots.end());
  return found;
}

base::UniqueFd Lock(const std::string& directory) {
  const std::string path = directory + "/lock";
  base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) throw FileError(path, std::string("cannot open: ") + std::strerror(errno));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw FileError(path, std::string("cannot lock: ") + std::strerror(errno));
    char text[64] = {};
    const ssize_t size = ::pread(fd.get(), text, sizeof text - 1, 0);
    throw SweepLockedError(directory, size > 0 ? text : "another process");
  }
  char host[48] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string holder = "process " + std::to_string(::getpid()) + " on " + host;
  if (::ftruncate(fd.get(), 0) != 0) throw FileError(path, std::string("cannot truncate: ") + std::strerror(errno));
  WriteAll(fd.get(), path, holder);
  return fd;
}

std::string OtherSweeps(const std::string& directory) {
  const std::filesystem::path storage = std::filesystem::path(directory).parent_path();
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(storage.empty() ? "." : storage, error)) {
    if (!LookInto(entry.path().string()).journals.empty()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  std::string text = storage.string() + (names.empty() ? " has none" : " has ");
  for (size_t i = 0; i < names.size() && i < 8; ++i) text += (i == 0 ? "\"" : ", \"") + names[i] + "\"";
  return names.size() > 8 ? text + " and " + std::to_string(names.size() - 8) + " more" : text;
}

}  // namespace

Journal Journal::Create(const std::string& directory, std::string_view first, OpenAppendFile open) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw FileError(directory, "cannot make the directory: " + error.message());
  Journal journal(directory, Lock(directory), std::move(open));
  if (!LookInto(directory).journals.empty()) throw SweepExistsError(directory);
  journal.Append(first);
  const std::string frame = FrameOf(journal.sequence_++, journal.pending_);
  journal.pending_.clear();
  WriteDurably(journal.PathOf("journal", 0), std::array{kFileMagic, std::string_view(frame)});
  SyncDirectory(std::filesystem::path(directory).parent_path().string());
  journal.Continue(kFileMagic.size() + frame.size());
  return journal;
}

Journal Journal::Open(const std::string& directory, Contents* contents, OpenAppendFile open) {
  if (LookInto(directory).journals.empty()) throw NoSuchSweepError(directory, OtherSweeps(directory));
  Journal journal(directory, Lock(directory), std::move(open));
  const Found found = LookInto(directory);  // its last writer may have been at work before we had the lock
  if (!found.snapshots.empty()) {
    journal.generation_ = found.snapshots.back();
    const std::string path = journal.PathOf("snapshot", journal.generation_);
    const std::string file = ReadWhole(path);
    CheckMagic(path, file);
    const std::optional<Frame> frame = FrameAt(file, kFileMagic.size());
    if (!frame || frame->payload.size() + kHeaderBytes + kFileMagic.size() != file.size()) {
      throw DataError(path, kFileMagic.size(), "the snapshot is damaged: bring the file back from a copy");
    }
    contents->snapshot = frame->payload;
    journal.sequence_ = frame->sequence + 1;
    journal.snapshot_bytes_ = file.size();
  }
  const std::string path = journal.PathOf("journal", journal.generation_);
  const Tail tail = ReadFrames(path, ReadWhole(path), journal.sequence_, &contents->entries);
  if (contents->snapshot.empty() && contents->entries.empty()) {
    throw DataError(path, kFileMagic.size(), "its first entry, the sweep's configuration, is damaged");
  }
  contents->dropped = tail.dropped;
  journal.sequence_ = tail.next_sequence;
  journal.Continue(tail.good_bytes);
  journal.DropOthers();
  return journal;
}

void Journal::Append(std::string_view entry) {
  if (entry.size() > kEntryBytesMax) throw FileError(directory_, "an entry of more than 1 GiB");
  if (pending_.size() + entry.size() > kEntryBytesMax) Commit();
  Put(&pending_, static_cast<uint32_t>(entry.size()));
  pending_ += entry;
}

void Journal::Commit() {
  if (pending_.empty()) return;
  const std::string frame = FrameOf(sequence_, pending_);
  if (!file_) throw FileError(PathOf("journal", generation_), "an earlier write to it failed: restore the sweep");
  if (const std::error_code error = file_->Append(frame)) Fail("write", error);
  if (const std::error_code error = file_->Sync()) Fail("sync", error);
  size_bytes_ += frame.size();
  ++sequence_;
  pending_.clear();
}

bool Journal::WantsSnapshot() const { return size_bytes_ > std::max(kSnapshotAfterBytesMin, snapshot_bytes_); }

void Journal::Snapshot(std::string_view state) {
  Commit();
  const uint64_t next = generation_ + 1;
  const std::string frame = FrameOf(sequence_, state);
  WriteDurably(PathOf("journal", next), kFileMagic);
  WriteDurably(PathOf("snapshot", next), std::array{kFileMagic, std::string_view(frame)});
  ++sequence_;
  generation_ = next;
  snapshot_bytes_ = kFileMagic.size() + frame.size();
  Continue(kFileMagic.size());
  DropOthers();
}

std::string Journal::PathOf(const char* kind, uint64_t generation) const {
  std::string number = std::to_string(generation);
  number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');
  return directory_ + "/" + kind + "-" + number;
}

// Appends to the journal of this generation behind its first `size_bytes`.
void Journal::Continue(uint64_t size_bytes) {
  file_ = open_(PathOf("journal", generation_));
  size_bytes_ = size_bytes;
  if (const std::error_code error = file_->CutTo(size_bytes)) Fail("cut", error);
  if (const std::error_code error = file_->Sync()) Fail("sync", error);
}

// The file stays readable in any case: half a frame at its end is dropped. It is not written to again: what could not
// be synced once may count as clean to the system, and a second sync would promise too much.
void Journal::Fail(const char* what, const std::error_code& error) {
  file_->CutTo(size_bytes_);
  file_.reset();
  throw FileError(PathOf("journal", generation_),
                  std::string("cannot ") + what + ": " + error.message() +
                      "; what was decided before is kept, and Tuner::Restore goes on from there");
}

// What a crash between two generations has left, and those before this one.
void Journal::DropOthers() const {
  const Found found = LookInto(directory_);
  std::error_code ignored;  // what stays is dropped the next time
  for (const uint64_t generation : found.snapshots) {
    if (generation != generation_) std::filesystem::remove(PathOf("snapshot", generation), ignored);
  }
  for (const uint64_t generation : found.journals) {
    if (generation != generation_) std::filesystem::remove(PathOf("journal", generation), ignored);
  }
}

}  // namespace manta::ml
