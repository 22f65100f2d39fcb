#include "runtime/head/redis_address.h"

#include <charconv>
#include <optional>

#include "base/socket.h"

namespace manta::runtime {
namespace {

constexpr std::string_view kForms =
    "; it is redis://[:password@]host[:port][/database] or unix://[:password@]/path[?db=N]";

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError("Redis address: " + what + std::string(kForms));
}

std::optional<int> ParseNumber(std::string_view text, int max, int base = 10) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > max) return std::nullopt;
  return number;
}

// Without what stands before `separator`, which is returned; nothing if it does not occur.
std::optional<std::string_view> CutBefore(std::string_view* text, size_t at) {
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = text->substr(0, at);
  text->remove_prefix(at + 1);
  return before;
}

absl::StatusOr<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const std::optional<int> byte = i + 2 < text.size() ? ParseNumber(text.substr(i + 1, 2), 255, 16) : std::nullopt;
    if (!byte) return Wrong("user or password has a % that no two hexadecimal digits follow");
    decoded.push_back(static_cast<char>(*byte));
    i += 2;
  }
  return decoded;
}

absl::Status ParseLogin(std::string_view login, RedisAddress* address) {
  const std::optional<std::string_view> user = CutBefore(&login, login.find(':'));
  if (!user) return Wrong("what stands before the @ is no [user]:password");
  MANTA_ASSIGN_OR_RETURN(address->user, PercentDecode(*user));
  MANTA_ASSIGN_OR_RETURN(address->password, PercentDecode(login));
  return absl::OkStatus();
}

absl::Status ParseDatabase(std::string_view text, RedisAddress* address) {
  const std::optional<int> database = ParseNumber(text, 1'000'000);
  if (!database) return Wrong("database '" + std::string(text) + "' is no number");
  address->database = *database;
  return absl::OkStatus();
}

absl::Status ParseUnix(std::string_view rest, RedisAddress* address) {
  std::string_view path = rest.substr(0, rest.find("?db="));
  if (path.size() != rest.size()) MANTA_RETURN_IF_ERROR(ParseDatabase(rest.substr(path.size() + 4), address));
  if (path.empty() || path.front() != '/') return Wrong("the socket's path does not begin with /");
  if (path.size() > base::kSocketPathBytesMax) {
    return Wrong("the socket's path has " + std::to_string(path.size()) + " bytes, of " +
                 std::to_string(base::kSocketPathBytesMax) + " possible");
  }
  address->unix_path = path;
  return absl::OkStatus();
}

absl::Status ParseTcp(std::string_view rest, RedisAddress* address) {
  const std::string_view place = rest.substr(0, rest.find('/'));
  if (place.size() + 1 < rest.size()) MANTA_RETURN_IF_ERROR(ParseDatabase(rest.substr(place.size() + 1), address));
  std::string_view port;
  if (!place.empty() && place.front() == '[') {
    const size_t close = place.find(']');
    if (close == std::string_view::npos) return Wrong("an IPv6 host wants a closing ]");
    address->host = place.substr(1, close - 1);
    port = place.substr(close + 1);
  } else {
    address->host = place.substr(0, place.find(':'));
    port = place.substr(address->host.size());
  }
  if (address->host.empty()) return Wrong("no host");
  if (port.empty()) return absl::OkStatus();
  const std::optional<int> number = port.front() == ':' ? ParseNumber(port.substr(1), 65535) : std::nullopt;
  if (!number || *number == 0) return Wrong("port '" + std::string(port) + "' is not :1 to :65535");
  address->port = static_cast<uint16_t>(*number);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RedisAddress> ParseRedisUrl(std::string_view url) {
  if (url.find('\0') != std::string_view::npos) return Wrong("a zero byte");
  const size_t end = url.find("://");
  const std::string_view scheme = end == std::string_view::npos ? "" : url.substr(0, end);
  if (scheme == "rediss") return Wrong("TLS to Redis (rediss://) is not supported; use a tunnel or a unix socket");
  if (scheme != "redis" && scheme != "unix") return Wrong("it begins with neither redis:// nor unix://");
  std::string_view rest = url.substr(end + 3);
  RedisAddress address;
  if (const auto login = CutBefore(&rest, rest.rfind('@'))) MANTA_RETURN_IF_ERROR(ParseLogin(*login, &address));
  MANTA_RETURN_IF_ERROR(scheme == "unix" ? ParseUnix(rest, &address) : ParseTcp(rest, &address));
  return address;
}

std::string ToString(const RedisAddress& address) {
  const std::string database = std::to_string(address.database);
  if (!address.unix_path.empty()) {
    return "unix://" + address.unix_path + (address.database == 0 ? "" : "?db=" + database);
  }
  const bool v6 = address.host.find(':') != std::string::npos;
  return "redis://" + (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port) + "/" +
         database;
}

std::string RedisCli(const RedisAddress& address) {
  const std::string place = address.unix_path.empty() ? "-h " + address.host + " -p " + std::to_string(address.port)
                                                      : "-s " + address.unix_path;
  return "redis-cli " + place + (address.database == 0 ? "" : " -n " + std::to_string(address.database));
}

}  // namespace manta::runtime
