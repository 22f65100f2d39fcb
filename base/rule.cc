#include "base/rule.h"

#ifdef MANTA_MUTANTS

#include <set>
#include <utility>

#include "base/mutex.h"

namespace manta::base {
namespace {

// A test's switch, not a part of the product: the one place where a mutable global is the point.
struct Mutants {
  Mutex mutex;
  std::string active MANTA_GUARDED_BY(mutex);
  std::set<std::string, std::less<>> asked MANTA_GUARDED_BY(mutex);
};

Mutants& TheMutants() {
  static Mutants& mutants = *new Mutants;
  return mutants;
}

}  // namespace

void SetActiveMutant(std::string name) {
  Mutants& mutants = TheMutants();
  MutexLock lock(&mutants.mutex);
  mutants.active = std::move(name);
  mutants.asked.clear();
}

bool ActiveMutant(std::string_view name) {
  Mutants& mutants = TheMutants();
  MutexLock lock(&mutants.mutex);
  if (!mutants.asked.contains(name)) mutants.asked.emplace(name);
  return mutants.active == name;
}

std::vector<std::string> AskedRules() {
  Mutants& mutants = TheMutants();
  MutexLock lock(&mutants.mutex);
  return {mutants.asked.begin(), mutants.asked.end()};
}

}  // namespace manta::base

#endif  // MANTA_MUTANTS
