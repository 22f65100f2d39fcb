#include "manta/ml/sweep_error.h"

#include <utility>

namespace manta::ml {

SweepExistsError::SweepExistsError(const std::string& directory)
    : InvalidArgumentError("there is a sweep in " + directory +
                           " already: Tuner::Restore(name, storage) goes on with it; or give this one another "
                           "RunConfig::name, or delete the directory") {}

SweepLockedError::SweepLockedError(const std::string& directory, const std::string& holder)
    : InvalidArgumentError("the sweep in " + directory + " is run by " + holder +
                           ": wait for it or end it, then Tuner::Restore") {}

NoSuchSweepError::NoSuchSweepError(const std::string& directory, const std::string& others)
    : InvalidArgumentError("there is no sweep in " + directory + "; " + others) {}

SweepInterruptedError::SweepInterruptedError(const std::string& message) : Error(ErrorCode::kCancelled, message) {}

TrialsLeftBehindError::TrialsLeftBehindError(const std::string& message, ResultGrid results)
    : Error(ErrorCode::kTimeout, message), results_(std::make_shared<const ResultGrid>(std::move(results))) {}

}  // namespace manta::ml
