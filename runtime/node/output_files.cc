#include "runtime/node/output_files.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace manta::runtime {
namespace {

constexpr size_t kReadBytesMax = 32 << 10;

}  // namespace

OutputFiles::OutputFiles(base::EventLoop* loop, std::string directory, std::function<void(rpc::Output)> listener)
    : loop_(loop), directory_(std::move(directory)), listener_(std::move(listener)) {
  inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_ || inotify_add_watch(inotify_.get(), directory_.c_str(), IN_MODIFY) < 0) {
    MANTA_LOG(kWarning) << "workers' output is not shown while they run: inotify on " << directory_ << ": errno "
                        << errno;
    return;
  }
  watch_ = loop_->WatchFd(inotify_.get(), base::kReadable, [this](int) { OnModified(); });
}

OutputFiles::~OutputFiles() = default;

OutputFiles::Fds OutputFiles::Open(ProcessId worker, JobId job) {
  return {OpenOne(worker, job, false), OpenOne(worker, job, true)};
}

base::UniqueFd OutputFiles::OpenOne(ProcessId worker, JobId job, bool is_stderr) {
  const std::string name = ToString(worker) + (is_stderr ? ".err" : ".out");
  const std::string path = directory_ + "/" + name;
  base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  base::UniqueFd reader(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || !reader) {
    MANTA_LOG(kWarning) << "output of " << name << " is lost: " << base::Message(base::ErrnoStatus(errno, path));
    return base::UniqueFd(open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  files_[name] = File{worker, job, is_stderr, std::move(reader), 0, 0, kBytesPerSecondMax, loop_->Now()};
  return fd;
}

void OutputFiles::Close(ProcessId worker) {
  for (const char* suffix : {".out", ".err"}) {
    auto found = files_.find(ToString(worker) + suffix);
    if (found == files_.end()) continue;
    File& file = found->second;
    Tail(file, true);
    if (file.dropped != 0) listener_({file.worker, file.is_stderr, Bytes(), file.dropped, file.job});
    files_.erase(found);
  }
}

void OutputFiles::OnModified() {
  alignas(inotify_event) std::array<char, 16 << 10> buffer;
  std::vector<std::string> names;
  for (ssize_t size = read(inotify_.get(), buffer.data(), buffer.size()); size > 0;
       size = read(inotify_.get(), buffer.data(), buffer.size())) {
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if (event->len != 0) names.emplace_back(event->name);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    auto found = files_.find(name);
    if (found != files_.end()) Tail(found->second, false);
  }
}

void OutputFiles::Tail(File& file, bool ended) {
  const Time now = loop_->Now();
  if (now - file.budget_from >= std::chrono::seconds(1)) {
    file.budget = kBytesPerSecondMax;
    file.budget_from = now;
  }
  while (true) {
    if (file.budget == 0) {  // skip what is there, and count it
      const off_t end = lseek(file.fd.get(), 0, SEEK_END);
      if (end > static_cast<off_t>(file.offset)) {
        file.dropped += static_cast<uint64_t>(end) - file.offset;
        file.offset = static_cast<uint64_t>(end);
      }
      return;
    }
    std::array<char, kReadBytesMax> text;
    const size_t wanted = std::min<size_t>(text.size(), file.budget);
    ssize_t size = pread(file.fd.get(), text.data(), wanted, static_cast<off_t>(file.offset));
    if (size <= 0) return;
    if (!ended && static_cast<size_t>(size) < wanted) {  // a line that is not ended waits for its rest
      size = static_cast<ssize_t>(std::string_view(text.data(), static_cast<size_t>(size)).rfind('\n') + 1);
      if (size == 0) return;
    }
    file.offset += static_cast<uint64_t>(size);
    file.budget -= static_cast<uint64_t>(size);
    listener_({file.worker, file.is_stderr, Bytes(text.data(), static_cast<size_t>(size)), file.dropped, file.job});
    file.dropped = 0;
  }
}

}  // namespace manta::runtime
