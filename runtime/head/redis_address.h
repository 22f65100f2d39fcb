// RedisAddress says where a Redis is and how to log in.
//
// Threads:    immutable values.
#ifndef MANTA_RUNTIME_HEAD_REDIS_ADDRESS_H_
#define MANTA_RUNTIME_HEAD_REDIS_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace manta::runtime {

struct RedisAddress {
  std::string unix_path;  // "": TCP
  std::string host;
  uint16_t port = 6379;
  std::string user;  // "": the default user
  std::string password;
  int database = 0;
};

// "redis://[[user]:password@]host[:port][/database]" (an IPv6 host in brackets), or
// "unix://[[user]:password@]/path[?db=N]". User and password may be percent-encoded.
// kInvalidArgument: anything else, saying which part is wrong (never the password); rediss:// too.
absl::StatusOr<RedisAddress> ParseRedisUrl(std::string_view url);

// For people, without the password: "redis://host:6379/0", "unix:///run/redis.sock".
std::string ToString(const RedisAddress& address);

// The redis-cli that reaches it (without the password): "redis-cli -h host -p 6379".
std::string RedisCli(const RedisAddress& address);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_REDIS_ADDRESS_H_
