// ProgramFiles gives other nodes the programs of drivers on this node, and brings theirs here, by content.
//
// Problem:    workers of a job run the driver's very executable, wherever they are; rebuilding it during a run must mix
//             nothing.
// How:        a program is the SHA-256 of its bytes, computed when another node first asks. Files that were brought are
//             kept under their hash until the node ends; a file is brought once, however many jobs run it.
// Ownership:  borrows the loop; owns the directory's contents and its thread.
// Threads:    loop-confined, but Open: any thread.
// See:        rpc/schema/head.capnp (ProgramRequest, ProgramInfo)
#ifndef MANTA_RUNTIME_NODE_PROGRAM_FILES_H_
#define MANTA_RUNTIME_NODE_PROGRAM_FILES_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "rpc/message.h"

namespace manta::runtime {

class ProgramFiles {
 public:
  // Brings the file with that hash from node `from` to `path`, whole or not at all; `done` on the loop.
  using Fetch = std::function<void(NodeId from, const rpc::ProgramFile& file, const std::string& path,
                                   std::function<void(absl::Status)> done)>;
  // A program's executable and its other files, in that order. They can be opened as long as a copy of this is kept.
  struct Description {
    std::vector<rpc::ProgramFile> files;
    std::vector<std::shared_ptr<const base::UniqueFd>> open;
  };
  using Described = std::function<void(absl::StatusOr<Description>)>;
  using Brought = std::function<void(absl::StatusOr<base::UniqueFd> image)>;

  // `directory`: for what is brought; made on first use.
  ProgramFiles(base::EventLoop* loop, std::string directory, Fetch fetch);
  ~ProgramFiles();  // removes the directory
  ProgramFiles(const ProgramFiles&) = delete;
  ProgramFiles& operator=(const ProgramFiles&) = delete;

  // Hashes the executable behind `image` and `files` (relative to `directory`; absolute ones are shared libraries,
  // which go into the program's kLibraryFolder), on a thread of its own, and lets Open find them.
  // kNotFound and others: a file that is not there, or cannot be read.
  void Describe(int image, const std::string& directory, const std::vector<std::string>& files, Described done);
  // A file of a Description that is kept. kNotFound: none has that hash.
  absl::StatusOr<base::UniqueFd> Open(const Bytes& sha256) const;
  // Brings `files` here; the first is the executable.
  void Bring(NodeId from, std::vector<rpc::ProgramFile> files, Brought done);
  // Where the shared libraries of a program lie below its directory on other nodes.
  static constexpr char kLibraryFolder[] = ".manta-libraries";
  // The folders in which a program whose files these are (as Describe takes them, or as they were brought) finds its
  // shared libraries: "/a/lib:/b". "": it has none of its own.
  static std::string LibraryPath(const std::string& directory, const std::vector<std::string>& files);
  // Where these files lie together once they are here.
  std::string DirectoryOf(const std::vector<rpc::ProgramFile>& files) const;

 private:
  struct Bringing;
  void BringNext(std::shared_ptr<Bringing> bringing);
  absl::StatusOr<Description> DescribeAll(base::UniqueFd image, const std::string& directory,
                                          const std::vector<std::string>& files);
  std::shared_ptr<const base::UniqueFd> Share(const rpc::ProgramFile& file, base::UniqueFd opened);

  base::EventLoop* const loop_;
  const std::string directory_;
  const Fetch fetch_;
  std::vector<std::thread> hashing_;
  size_t hashing_now_ = 0;  // of these; the others have ended
  mutable base::Mutex mutex_;
  std::map<std::string, std::weak_ptr<const base::UniqueFd>> described_ MANTA_GUARDED_BY(mutex_);  // by hash
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_PROGRAM_FILES_H_
