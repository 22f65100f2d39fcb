// FileSizeLimit is a disk without room: while it lives, no file of this process grows beyond so many bytes, and a write
// that would fails with EFBIG, after as much of it as there is room for.
#ifndef MANTA_ML_TESTING_FILE_SIZE_LIMIT_H_
#define MANTA_ML_TESTING_FILE_SIZE_LIMIT_H_

#include <sys/resource.h>

#include <csignal>

namespace manta::ml {

class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*const handler_)(int);
  rlimit before_ = {};
};

}  // namespace manta::ml

#endif  // MANTA_ML_TESTING_FILE_SIZE_LIMIT_H_
