// What goes wrong with a sweep as a whole, beside manta/ml/error.h (DataError: its journal is damaged; FileError: it
// cannot be written). What a single trial does wrong is in its row of the ResultGrid.
#ifndef MANTA_ML_SWEEP_ERROR_H_
#define MANTA_ML_SWEEP_ERROR_H_

#include <memory>
#include <string>

#include "manta/error.h"
#include "manta/ml/result_grid.h"

namespace manta::ml {

// The storage has a sweep of this name already: Tuner::Restore goes on with it, another name begins another one.
class MANTA_EXPORT SweepExistsError : public InvalidArgumentError {
 public:
  explicit SweepExistsError(const std::string& directory);
};

// Another process, or another Tuner of this one, runs this sweep.
class MANTA_EXPORT SweepLockedError : public InvalidArgumentError {
 public:
  SweepLockedError(const std::string& directory, const std::string& holder);
};

// Restore was asked for a sweep that the storage does not have.
class MANTA_EXPORT NoSuchSweepError : public InvalidArgumentError {
 public:
  NoSuchSweepError(const std::string& directory, const std::string& others);
};

// Ctrl-C came while the sweep ran, and the program's handler of it has not ended the program for 5 s. The journal is
// complete; what() says how to go on.
class MANTA_EXPORT SweepInterruptedError : public Error {
 public:
  explicit SweepInterruptedError(const std::string& message);
};

// The sweep is over, but trials that hung may still run: with --manta-local they share the tuner's process, which
// cannot end them. They end at their next report, or with the process. On a cluster their processes are ended instead.
class MANTA_EXPORT TrialsLeftBehindError : public Error {
 public:
  TrialsLeftBehindError(const std::string& message, ResultGrid results);

  // What Fit returns otherwise.
  const ResultGrid& results() const { return *results_; }

 private:
  std::shared_ptr<const ResultGrid> results_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SWEEP_ERROR_H_
