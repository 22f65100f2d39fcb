#include "api/registry.h"

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/hash.h"
#include "base/mutex.h"

namespace manta::internal {
namespace {

class Registry {
 public:
  // Never destroyed: static destructors may still make calls.
  static Registry& Get() {
    static Registry* const registry = new Registry;
    return *registry;
  }

  uint64_t Add(const FunctionEntry& entry) MANTA_EXCLUDES(mutex_) {
    const uint64_t id = base::Hash64(entry.mangled_name);
    base::MutexLock lock(&mutex_);
    const auto [at, added] = entries_.try_emplace(id, entry);
    if (!added && at->second.address != entry.address) collisions_.push_back({at->second, entry});
    return id;
  }

  const FunctionEntry* Find(uint64_t id) MANTA_EXCLUDES(mutex_) {
    base::MutexLock lock(&mutex_);
    const auto at = entries_.find(id);
    return at == entries_.end() ? nullptr : &at->second;  // entries are never taken out
  }

  std::vector<FunctionCollision> collisions() MANTA_EXCLUDES(mutex_) {
    base::MutexLock lock(&mutex_);
    return collisions_;
  }

  std::vector<uint64_t> ids() MANTA_EXCLUDES(mutex_) {
    base::MutexLock lock(&mutex_);
    std::vector<uint64_t> ids;
    for (const auto& [id, entry] : entries_) ids.push_back(id);
    return ids;
  }

 private:
  base::Mutex mutex_;
  std::unordered_map<uint64_t, FunctionEntry> entries_ MANTA_GUARDED_BY(mutex_);
  std::vector<FunctionCollision> collisions_ MANTA_GUARDED_BY(mutex_);
};

// The template arguments of "name<a, b<c, d>, e(f, g)>" at the top level: "a", "b<c, d>", "e(f, g)".
std::vector<std::string_view> TemplateArguments(std::string_view text) {
  std::vector<std::string_view> arguments;
  const size_t open = text.find('<');
  if (open == text.npos || text.back() != '>') return arguments;
  text = text.substr(open + 1, text.size() - open - 2);
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      arguments.push_back(text.substr(begin, i - begin));
      begin = i + 2;  // ", "
    } else if (std::strchr("<([{", text[i]) != nullptr) {
      ++depth;
    } else if (std::strchr(">)]}", text[i]) != nullptr) {
      --depth;
    }
  }
  return arguments;
}

// "Add(int)" of "&(Add(int))", "main::{lambda(int)#1}" of "main::{lambda(int)#1}{}".
std::string_view WithoutDecoration(std::string_view name) {
  if (name.starts_with('&')) name.remove_prefix(1);
  if (name.starts_with('(') && name.ends_with(')')) name = name.substr(1, name.size() - 2);
  if (name.ends_with("{}")) name.remove_suffix(2);
  return name;
}

}  // namespace

uint64_t RegisterFunction(const FunctionEntry& entry) { return Registry::Get().Add(entry); }
const FunctionEntry* FindFunction(uint64_t function) { return Registry::Get().Find(function); }
std::vector<FunctionCollision> FunctionCollisions() { return Registry::Get().collisions(); }

std::string ToString(const FunctionCollision& collision) {
  const std::string name = PrettyFunctionName(Demangle(collision.first.mangled_name));
  const std::string other = PrettyFunctionName(Demangle(collision.second.mangled_name));
  const std::string first_file = collision.first.file == nullptr ? "?" : collision.first.file;
  const std::string second_file = collision.second.file == nullptr ? "?" : collision.second.file;
  return "two functions go by one name: " + name + " of " + first_file + " and " + other + " of " + second_file +
         "; both are internal to their file (static, or in an unnamed namespace), so a worker cannot tell which one is "
         "meant: rename one, or put it into a named namespace";
}

std::string DescribeMissingFunction(uint64_t function) {
  char hash[32];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(function));
  std::string text = std::string("the program has no function ") + hash + "; it has";
  constexpr size_t kShownMax = 5;
  std::map<std::string, uint64_t> names;
  for (const uint64_t id : Registry::Get().ids()) names.emplace(FunctionName(id), id);
  size_t shown = 0;
  for (const auto& [name, id] : names) {
    if (shown == kShownMax) return text + " and " + std::to_string(names.size() - shown) + " more";
    text += (shown++ == 0 ? " " : ", ") + name;
  }
  return names.empty() ? text + " none" : text;
}

std::string PrettyFunctionName(std::string_view demangled) {
  const std::vector<std::string_view> arguments = TemplateArguments(demangled);
  if (arguments.empty()) return std::string(demangled);
  if (demangled.starts_with("manta::internal::TaskFunction<")) return std::string(WithoutDecoration(arguments[0]));
  if (demangled.starts_with("manta::internal::MethodFunction<") && arguments.size() == 2) {
    return std::string(WithoutDecoration(arguments[1]));
  }
  if (demangled.starts_with("manta::internal::ConstructorFunction<")) return std::string(arguments[0]);
  return std::string(demangled);
}

std::string FunctionName(uint64_t function) {
  const FunctionEntry* const entry = FindFunction(function);
  if (entry != nullptr) return PrettyFunctionName(Demangle(entry->mangled_name));
  char hash[40];
  std::snprintf(hash, sizeof hash, "function %016llx", static_cast<unsigned long long>(function));
  return hash;
}

std::string Demangle(const char* mangled_name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(mangled_name, nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 && name != nullptr ? name.get() : mangled_name;
}

}  // namespace manta::internal
