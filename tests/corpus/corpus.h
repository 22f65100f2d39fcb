// The bad-bytes corpus: what strangers, broken peers and attackers send, made by code.
//
// Problem:    each byte string here has broken some system; a parser that meets all of them on every test run stays
//             honest, and a fuzzer that starts from them gets further.
// Threads:    thread-safe functions.
// See:        rpc/frame.h, rpc/schema/common.capnp (layouts); corpus_test.cc feeds them to everything that reads bytes.
#ifndef MANTA_TESTS_CORPUS_CORPUS_H_
#define MANTA_TESTS_CORPUS_CORPUS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace manta::tests {

// What somebody may write to a listening socket. None of it is a complete, good handshake.
struct BadStream {
  std::string name;
  std::string bytes;
};
std::vector<BadStream> BadStreams();

// A body that a member might send after its handshake: Cap'n Proto that lies about itself.
struct BadBody {
  std::string name;
  uint16_t type = 0;        // the message that it was made for; bad for all others as well
  bool every_type = false;  // not made for any
  bool refused = true;      // by `type`'s decoder; else it may also be read as something harmless
  std::string bytes;        // a multiple of 8
  uint32_t capnp_bytes = 0;
};
std::vector<BadBody> BadBodies();

// A good message or a bad body with a few bytes changed; the same for the same seed.
BadBody Mutant(uint64_t seed);

// `body` as a frame of `type` with a good header.
std::string Framed(uint16_t type, const BadBody& body);

}  // namespace manta::tests

#endif  // MANTA_TESTS_CORPUS_CORPUS_H_
