#include "runtime/head/redis_safety.h"

#include <charconv>
#include <map>
#include <string_view>

namespace manta::runtime {
namespace {

using Settings = std::map<std::string, std::string>;

constexpr int kMajorMin = 6, kMinorMin = 2;

// "name:value" lines.
Settings ParseInfo(std::string_view text) {
  Settings info;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos) info.emplace(line.substr(0, colon), line.substr(colon + 1));
  }
  return info;
}

std::string Get(const Settings& settings, const std::string& name) {
  const auto it = settings.find(name);
  return it == settings.end() ? "" : it->second;
}

bool IsVersionEnough(const std::string& version) {
  int major = 0, minor = 0;
  const char* const end = version.data() + version.size();
  const auto [after, error] = std::from_chars(version.data(), end, major);
  if (error != std::errc() || after == end || *after != '.') return false;
  if (std::from_chars(after + 1, end, minor).ec != std::errc()) return false;
  return major > kMajorMin || (major == kMajorMin && minor >= kMinorMin);
}

absl::Status CheckServer(const Settings& info) {
  const std::string version = Get(info, "redis_version");
  if (version.empty()) return absl::FailedPreconditionError("its INFO names no redis_version: it is no Redis");
  if (!IsVersionEnough(version)) {
    return absl::FailedPreconditionError("Redis " + version + " is too old; install Redis 6.2 or later");
  }
  if (Get(info, "loading") == "1") return absl::UnavailableError("it is loading its data");
  if (Get(info, "cluster_enabled") == "1") {
    return absl::FailedPreconditionError("it is part of a Redis Cluster; give the address of one that stands alone");
  }
  if (Get(info, "role") != "master") {
    return absl::FailedPreconditionError("it is a replica of " + Get(info, "master_host") + ":" +
                                         Get(info, "master_port") + "; give the primary's address");
  }
  return absl::OkStatus();
}

struct Rule {
  const char* setting;
  const char* wanted;
  const char* danger;
};

absl::Status CheckSettings(const Settings& settings, const RedisAddress& address) {
  constexpr Rule kRules[] = {
      {"appendonly", "yes", "loses everything when it ends"},
      {"appendfsync", "always", "loses acknowledged writes when its machine fails"},
      {"no-appendfsync-on-rewrite", "no", "loses acknowledged writes when its machine fails during a rewrite"},
      {"maxmemory-policy", "noeviction", "throws facts away when memory is short"},
  };
  for (const Rule& rule : kRules) {
    const std::string found = Get(settings, rule.setting);
    if (std::string_view(rule.setting) == "maxmemory-policy" && Get(settings, "maxmemory") == "0") continue;
    if (found == rule.wanted) continue;
    return absl::FailedPreconditionError(
        "its setting '" + std::string(rule.setting) + " " + found + "' " + rule.danger + "; run `" + RedisCli(address) +
        " CONFIG SET " + rule.setting + " " + rule.wanted +
        "` (and set it in its redis.conf), or accept the loss with --metadata-durability=none");
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<RedisCommand> SafetyQuestions() {
  return {{"INFO"}, {"CONFIG", "GET", "*append*"}, {"CONFIG", "GET", "maxmemory*"}};
}

absl::Status CheckSafety(const std::vector<RedisReply>& answers, MetadataDurability durability,
                         const RedisAddress& address) {
  if (answers.size() != SafetyQuestions().size()) return absl::InternalError("answers to other questions");
  if (answers[0].kind != RedisReply::Kind::kText) return base::Annotate(ReplyError(answers[0]), "INFO");
  MANTA_RETURN_IF_ERROR(CheckServer(ParseInfo(answers[0].text)));
  if (durability == MetadataDurability::kNone) return absl::OkStatus();
  Settings settings;
  for (size_t i = 1; i < answers.size(); ++i) {
    const std::vector<RedisReply>& pairs = answers[i].elements;
    if (answers[i].kind != RedisReply::Kind::kArray || pairs.size() % 2 != 0) {
      return base::Annotate(
          ReplyError(answers[i]),
          "CONFIG GET (needed to see that nothing can be lost; --metadata-durability=none goes without)");
    }
    for (size_t k = 0; k < pairs.size(); k += 2) settings.emplace(pairs[k].text, pairs[k + 1].text);
  }
  return CheckSettings(settings, address);
}

absl::Status ReplyError(const RedisReply& reply) {
  if (reply.kind != RedisReply::Kind::kError) return absl::FailedPreconditionError("unexpected reply");
  const std::string_view text = reply.text;
  for (const char* word : {"NOAUTH", "NOPERM", "WRONGPASS"}) {
    if (text.starts_with(word)) return absl::PermissionDeniedError(reply.text);
  }
  for (const char* word : {"LOADING", "MISCONF", "OOM", "READONLY", "BUSY", "MASTERDOWN", "EXECABORT", "TRYAGAIN"}) {
    if (text.starts_with(word)) return absl::UnavailableError(reply.text);
  }
  return absl::FailedPreconditionError(reply.text);
}

}  // namespace manta::runtime
