#include "runtime/node/program_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/hex.h"
#include "base/status.h"
#include "rpc/crypto.h"

namespace manta::runtime {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDirectoryDigits = 16;
constexpr char kProgramName[] = ".manta-program";  // no file of a user's

absl::StatusOr<rpc::ProgramFile> DescribeFile(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return base::ErrnoStatus(errno, "look at " + path);
  if (!S_ISREG(info.st_mode)) return base::Error(absl::StatusCode::kInvalidArgument, path + " is not a file");
  const size_t size = static_cast<size_t>(info.st_size);
  std::string_view content;
  if (size != 0) {
    void* const bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return base::ErrnoStatus(errno, "read " + path);
    content = {static_cast<const char*>(bytes), size};
  }
  const rpc::Bits256 hash = rpc::Sha256(content);
  if (size != 0) munmap(const_cast<char*>(content.data()), size);
  return rpc::ProgramFile{path, Bytes(rpc::BytesOf(hash)), size, (info.st_mode & S_IXUSR) != 0};
}

// Nobody's file may be written outside of the program's folder.
bool IsInside(const std::string& path) {
  const fs::path relative(path);
  if (path.empty() || relative.is_absolute()) return false;
  for (const fs::path& part : relative) {
    if (part == "..") return false;
  }
  return true;
}

}  // namespace

struct ProgramFiles::Bringing {
  NodeId from = 0;
  std::vector<rpc::ProgramFile> files;
  size_t next = 0;
  std::string directory;
  Brought done;
};

ProgramFiles::ProgramFiles(base::EventLoop* loop, std::string directory, Fetch fetch)
    : loop_(loop), directory_(std::move(directory)), fetch_(std::move(fetch)) {}

ProgramFiles::~ProgramFiles() {
  *alive_ = false;
  for (std::thread& thread : hashing_) thread.join();
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

void ProgramFiles::Describe(int image, const std::string& directory, const std::vector<std::string>& files,
                            Described done) {
  base::UniqueFd own(fcntl(image, F_DUPFD_CLOEXEC, 0));
  if (!own) return done(base::ErrnoStatus(errno, "duplicate the program's descriptor"));
  if (hashing_now_ == 0) {
    for (std::thread& ended : hashing_) ended.join();
    hashing_.clear();
  }
  ++hashing_now_;
  hashing_.emplace_back(
      [this, own = std::make_shared<base::UniqueFd>(std::move(own)), directory, files, done = std::move(done)] {
        absl::StatusOr<Description> described = DescribeAll(std::move(*own), directory, files);
        loop_->Post([this, described = std::move(described), done, alive = std::weak_ptr<bool>(alive_)] {
          const std::shared_ptr<bool> still = alive.lock();
          if (!still || !*still) return;
          --hashing_now_;
          done(described);
        });
      });
}

absl::StatusOr<ProgramFiles::Description> ProgramFiles::DescribeAll(base::UniqueFd image, const std::string& directory,
                                                                    const std::vector<std::string>& files) {
  Description description;
  MANTA_ASSIGN_OR_RETURN(description.files.emplace_back(), DescribeFile(image.get(), kProgramName));
  description.files.back().executable = true;
  description.open.push_back(Share(description.files.back(), std::move(image)));
  for (const std::string& file : files) {
    const bool is_library = fs::path(file).is_absolute();
    const std::string here = is_library ? file : directory + "/" + file;
    const std::string there = is_library ? kLibraryFolder + ("/" + fs::path(file).filename().string()) : file;
    if (!IsInside(there)) return base::Error(absl::StatusCode::kInvalidArgument, "'" + file + "' lies outside");
    base::UniqueFd opened(open(here.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!opened) return base::ErrnoStatus(errno, std::string(is_library ? "shared library " : "open ") + here);
    MANTA_ASSIGN_OR_RETURN(description.files.emplace_back(), DescribeFile(opened.get(), there));
    description.open.push_back(Share(description.files.back(), std::move(opened)));
  }
  return description;
}

// The one descriptor of this content, for all jobs that have it.
std::shared_ptr<const base::UniqueFd> ProgramFiles::Share(const rpc::ProgramFile& file, base::UniqueFd opened) {
  base::MutexLock lock(&mutex_);
  std::erase_if(described_, [](const auto& item) { return item.second.expired(); });
  std::weak_ptr<const base::UniqueFd>& known = described_[std::string(file.sha256.view())];
  if (std::shared_ptr<const base::UniqueFd> shared = known.lock()) return shared;
  auto shared = std::make_shared<const base::UniqueFd>(std::move(opened));
  known = shared;
  return shared;
}

absl::StatusOr<base::UniqueFd> ProgramFiles::Open(const Bytes& sha256) const {
  base::MutexLock lock(&mutex_);
  const auto found = described_.find(std::string(sha256.view()));
  const std::shared_ptr<const base::UniqueFd> file = found == described_.end() ? nullptr : found->second.lock();
  if (file == nullptr) return absl::NotFoundError("no program of this node has that hash");
  base::UniqueFd duplicate(fcntl(file->get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate) return base::ErrnoStatus(errno, "duplicate the program's descriptor");
  return duplicate;
}

std::string ProgramFiles::LibraryPath(const std::string& directory, const std::vector<std::string>& files) {
  std::vector<std::string> folders;
  for (const std::string& file : files) {
    const fs::path path(file);
    std::string folder;
    if (path.is_absolute()) folder = path.parent_path().string();
    if (path.parent_path() == kLibraryFolder) folder = directory + "/" + kLibraryFolder;
    if (!folder.empty() && std::find(folders.begin(), folders.end(), folder) == folders.end()) {
      folders.push_back(std::move(folder));
    }
  }
  std::string joined;
  for (const std::string& folder : folders) joined += (joined.empty() ? "" : ":") + folder;
  return joined;
}

std::string ProgramFiles::DirectoryOf(const std::vector<rpc::ProgramFile>& files) const {
  std::string content;
  for (const rpc::ProgramFile& file : files) content.append(file.path).append(1, '\0').append(file.sha256.view());
  return directory_ + "/" + base::Hex(rpc::BytesOf(rpc::Sha256(content))).substr(0, kDirectoryDigits);
}

void ProgramFiles::Bring(NodeId from, std::vector<rpc::ProgramFile> files, Brought done) {
  for (const rpc::ProgramFile& file : files) {
    if (!IsInside(file.path)) {
      return done(
          base::Error(absl::StatusCode::kInvalidArgument, "a program's file lies outside: '" + file.path + "'"));
    }
  }
  if (files.empty() || directory_.empty()) return done(absl::InvalidArgumentError("a program without an executable"));
  auto bringing = std::make_shared<Bringing>();
  bringing->from = from;
  bringing->directory = DirectoryOf(files);
  bringing->files = std::move(files);
  bringing->done = std::move(done);
  BringNext(std::move(bringing));
}

void ProgramFiles::BringNext(std::shared_ptr<Bringing> bringing) {
  while (bringing->next < bringing->files.size()) {
    const rpc::ProgramFile& file = bringing->files[bringing->next++];
    const std::string path = bringing->directory + "/" + file.path;
    if (access(path.c_str(), F_OK) == 0) continue;
    std::error_code error;
    fs::create_directories(fs::path(path).parent_path(), error);
    if (error) return bringing->done(base::ErrnoStatus(error.value(), "make the folder of " + path));
    return fetch_(bringing->from, file, path,
                  [this, bringing, path, file, alive = std::weak_ptr<bool>(alive_)](const absl::Status& status) {
                    const std::shared_ptr<bool> still = alive.lock();
                    if (!still || !*still) return;
                    if (!status.ok()) return bringing->done(base::Annotate(status, "bring " + file.path));
                    if (file.executable) (void)chmod(path.c_str(), 0700);
                    BringNext(bringing);
                  });
  }
  const std::string path = bringing->directory + "/" + bringing->files.front().path;
  base::UniqueFd image(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!image) return bringing->done(base::ErrnoStatus(errno, "open " + path));
  bringing->done(std::move(image));
}

}  // namespace manta::runtime
