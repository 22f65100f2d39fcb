// CommitFile remembers the highest acknowledged commit_seq in a file of the head's state directory, so that a Redis
// that comes back with less is found out.
//
// Problem:    an fsync may take long, and commits are many.
// Ownership:  owns a thread that writes; nothing else waits for the disk.
// Threads:    thread-safe.
// Invariants: (1) the file holds a number that was noted, or is not there; after a crash, too.
//             (2) it is at most kWriteEvery and one fsync behind; the destructor writes what is left.
// Errors:     a write that fails is logged and tried again with the next number.
#ifndef MANTA_RUNTIME_HEAD_COMMIT_FILE_H_
#define MANTA_RUNTIME_HEAD_COMMIT_FILE_H_

#include <cstdint>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "base/time.h"

namespace manta::runtime {

class CommitFile {
 public:
  static constexpr Duration kWriteEvery = std::chrono::milliseconds(100);

  explicit CommitFile(std::string path);
  ~CommitFile();

  // Never waits for the disk. Numbers that are not higher than earlier ones are ignored.
  void Note(uint64_t commit_seq);

  // 0: there is no such file. kDataLoss: it holds something else than a number.
  static absl::StatusOr<uint64_t> Read(const std::string& path);

 private:
  void WriteNoted();

  const std::string path_;
  base::Mutex mutex_;
  base::CondVar changed_;
  uint64_t noted_ MANTA_GUARDED_BY(mutex_) = 0;
  bool ending_ MANTA_GUARDED_BY(mutex_) = false;
  std::thread writer_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_COMMIT_FILE_H_
