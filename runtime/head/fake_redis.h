// FakeRedis answers on a unix socket what a test tells it to, for replies that no real server gives.
//
// Threads:    loop-confined: it lives on the loop of the store that it answers.
#ifndef MANTA_RUNTIME_HEAD_FAKE_REDIS_H_
#define MANTA_RUNTIME_HEAD_FAKE_REDIS_H_

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/socket.h"

namespace manta::runtime {

class FakeRedis {
 public:
  using Words = std::vector<std::string>;
  // The bytes that answer one command.
  using Answer = std::function<std::string(const Words& command)>;

  FakeRedis(base::EventLoop* loop, const std::string& path, Answer answer) : loop_(loop), answer_(std::move(answer)) {
    absl::StatusOr<base::UniqueFd> listener = base::ListenUnix(path);
    EXPECT_TRUE(listener.ok()) << listener.status();
    if (!listener.ok()) return;
    listener_ = *std::move(listener);
    accepting_ = loop_->WatchFd(listener_.get(), base::kReadable, [this](int) { Accept(); });
  }

  // What a Redis says that holds nothing and is set as it should be.
  static std::string Right(const Words& command) {
    static const std::map<std::string, std::string> kAnswers = {
        {"PING", "+PONG\r\n"},
        {"INFO", Text("redis_version:7.0.15\r\nrole:master\r\nloading:0\r\ncluster_enabled:0\r\n")},
        {"CONFIG GET *append*",
         List({"appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no"})},
        {"CONFIG GET maxmemory*", List({"maxmemory", "0", "maxmemory-policy", "noeviction"})},
        {"MGET", "*2\r\n$-1\r\n$-1\r\n"},
        {"EXEC", "*2\r\n+OK\r\n+OK\r\n"},
        {"HSCAN", "*2\r\n$1\r\n0\r\n*0\r\n"},
    };
    std::string name = command[0];
    if (name == "CONFIG") name += " " + command[1] + " " + command[2];
    const auto it = kAnswers.find(name);
    return it == kAnswers.end() ? "+OK\r\n" : it->second;
  }
  static std::string Text(const std::string& text) {
    return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
  }
  static std::string List(const Words& words) {
    std::string list = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words) list += Text(word);
    return list;
  }

 private:
  struct Connection {
    base::UniqueFd fd;
    std::string received;
    base::FdWatch watch;
  };

  void Accept() {
    absl::StatusOr<base::UniqueFd> fd = base::AcceptUnix(listener_.get());
    if (!fd.ok()) return;
    const uint64_t number = ++last_connection_;
    Connection& connection = connections_[number];
    connection.fd = *std::move(fd);
    connection.watch = loop_->WatchFd(connection.fd.get(), base::kReadable, [this, number](int) { Read(number); });
  }

  void Read(uint64_t number) {
    Connection& connection = connections_[number];
    char buffer[4096];
    const ssize_t size = read(connection.fd.get(), buffer, sizeof(buffer));
    if (size <= 0) {
      connections_.erase(number);
      return;
    }
    connection.received.append(buffer, static_cast<size_t>(size));
    std::string answers;
    for (Words command; TakeCommand(&connection.received, &command); command.clear()) answers += answer_(command);
    (void)send(connection.fd.get(), answers.data(), answers.size(), MSG_NOSIGNAL);
  }

  // "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"; false: there is no whole one yet.
  static bool TakeCommand(std::string* bytes, Words* command) {
    size_t at = 0;
    const auto number = [&](char mark) {
      if (at >= bytes->size() || (*bytes)[at] != mark) return size_t{0};
      const size_t end = bytes->find("\r\n", at);
      if (end == std::string::npos) return size_t{0};
      const size_t value = std::strtoull(bytes->c_str() + at + 1, nullptr, 10);
      at = end + 2;
      return value + 1;  // 0: not there
    };
    const size_t words = number('*');
    if (words == 0) return false;
    for (size_t i = 1; i < words; ++i) {
      const size_t size = number('$');
      if (size == 0 || at + size + 1 > bytes->size()) return false;
      command->push_back(bytes->substr(at, size - 1));
      at += size + 1;
    }
    bytes->erase(0, at);
    return true;
  }

  base::EventLoop* const loop_;
  const Answer answer_;
  base::UniqueFd listener_;
  base::FdWatch accepting_;
  uint64_t last_connection_ = 0;
  std::map<uint64_t, Connection> connections_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_FAKE_REDIS_H_
