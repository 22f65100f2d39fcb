#include "manta/init.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "api/cluster_connect.h"
#include "api/interrupt.h"
#include "api/local_backend.h"
#include "api/registry.h"
#include "api/runtime_state.h"
#include "api/user_code.h"
#include "base/config.h"
#include "base/log.h"
#include "base/process.h"
#include "manta/error.h"

namespace manta {
namespace {

using internal::Backend;

void CheckFunctions() {
  const std::vector<internal::FunctionCollision> collisions = internal::FunctionCollisions();
  if (!collisions.empty()) throw InvalidArgumentError(internal::ToString(collisions.front()));
}

void CheckFile(const std::string& file) {
  const std::filesystem::path path(file);
  const bool leaves = std::find(path.begin(), path.end(), "..") != path.end();
  std::error_code ignored;
  if (path.empty() || path.is_absolute() || leaves || !std::filesystem::is_regular_file(path, ignored)) {
    throw InvalidArgumentError("Options::files: '" + file +
                               "' is not a file below the working directory, named relative to it");
  }
}

// What the flags and the environment say, over what `options` say.
base::Config ReadConfig(int* argc, char** argv, const Options& options) {
  absl::StatusOr<base::Config> read = base::Config::FromArgs(argc, argv);
  if (!read.ok()) throw InvalidArgumentError(base::Message(read.status()));
  base::Config config = *std::move(read);
  const auto check = [](bool ok, const char* what) {
    if (!ok) throw InvalidArgumentError(what);
  };
  check(!options.num_cpus || (*options.num_cpus >= 0 && *options.num_cpus <= 65536), "Options::num_cpus: 0 to 65536");
  check(!options.num_gpus || (*options.num_gpus >= 0 && *options.num_gpus <= 1024), "Options::num_gpus: 0 to 1024");
  check(!options.store_memory_bytes || *options.store_memory_bytes >= (1 << 20),
        "Options::store_memory_bytes: at least 1 MiB");
  if (!config.num_cpus) config.num_cpus = options.num_cpus;
  if (!config.num_gpus) config.num_gpus = options.num_gpus;
  if (!config.store_memory_bytes) config.store_memory_bytes = options.store_memory_bytes;
  if (config.resources.empty()) {
    for (const auto& [name, amount] : internal::CheckedResources(options.resources)) {
      config.resources.Set(name, *base::Fixed::FromDouble(amount));
    }
  }
  if (!options.name_space.empty()) internal::CheckedName("Options::name_space", options.name_space);
  for (const std::string& file : options.files) CheckFile(file);
  return config;
}

std::unique_ptr<Backend> MakeLocalBackend(const base::Config& config, const Options& options) {
  internal::LocalBackend::Spec spec;
  spec.total = config.resources;
  spec.total.Set("CPU", base::Fixed(config.num_cpus.value_or(base::AvailableCpus())));
  spec.total.Set("GPU", base::Fixed(config.num_gpus.value_or(0)));
  if (config.store_memory_bytes) spec.store_bytes_max = *config.store_memory_bytes;
  if (!options.name_space.empty()) spec.name_space = options.name_space;
  spec.generation = internal::CurrentGeneration() + 1;
  return std::make_unique<internal::LocalBackend>(std::move(spec));
}

std::unique_ptr<Backend> MakeClusterBackend(const base::Config& config, const Options& options) {
  absl::StatusOr<std::unique_ptr<Backend>> backend = internal::ConnectCluster(config, options);
  if (backend.ok()) return *std::move(backend);
  const std::string message = base::Message(backend.status());
  if (absl::IsInvalidArgument(backend.status())) throw InvalidArgumentError(message);
  if (absl::IsDeadlineExceeded(backend.status())) throw TimeoutError(ErrorCode::kTimeout, message);
  throw NodeDiedError(ErrorCode::kNodeDied, message);
}

uint64_t ShutdownGeneration(uint64_t generation) {
  if (internal::CurrentFrame() != nullptr && internal::CurrentOrNull() != nullptr) {
    throw InvalidArgumentError("Shutdown in a task or method: only the driver ends the runtime");
  }
  Backend* const backend = internal::RemoveBackend(generation);
  if (backend == nullptr) return 0;
  const uint64_t cancelled = backend->Shutdown();
  if (cancelled > 0)
    MANTA_LOG(kWarning) << "Shutdown took back " << cancelled << " calls that had not begun or were not done";
  return cancelled;
}

}  // namespace

Runtime Init(int& argc, char** argv, const Options& options) {
  internal::RunIfNotDriver(argc, argv, &internal::RunWorkerStart);
  internal::CheckNoBackend();
  CheckFunctions();
  const base::Config config = ReadConfig(&argc, argv, options);
  const uint64_t generation =
      internal::InstallBackend(config.local ? MakeLocalBackend(config, options) : MakeClusterBackend(config, options));
  Runtime runtime(generation);
  if (options.handle_interrupt) internal::HandleInterrupt();
  if (config.local) internal::RunWorkerStart();
  return runtime;
}

Runtime::~Runtime() {
  if (generation_ == 0) return;
  try {
    ShutdownGeneration(generation_);
  } catch (const std::exception& error) {
    MANTA_LOG(kError) << "Shutdown: " << error.what();
  }
}

void Shutdown() { ShutdownGeneration(0); }

bool DrainFor(std::chrono::nanoseconds timeout) {
  Backend& backend = internal::Current();
  if (timeout == std::chrono::nanoseconds::max()) return backend.Drain(std::nullopt);
  return backend.Drain(std::max(timeout, std::chrono::nanoseconds(0)));
}

void OnWorkerStart(std::function<void()> fn) {
  if (internal::CurrentOrNull() != nullptr) {
    throw InvalidArgumentError("OnWorkerStart after Init: workers run main up to Init only; call it before");
  }
  internal::AddWorkerStart(std::move(fn));
}

}  // namespace manta
