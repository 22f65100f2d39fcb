// Prints what it costs to encode and to decode a small call and its reply, in time of this thread's own, so that a busy
// machine counts less: codec_bench [iterations]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "rpc/codec.h"

namespace manta::rpc {
namespace {

CallRequest SmallRequest() {
  CallRequest request;
  request.call = {{3, 7}, 12345};
  request.job = 1;
  request.function = 0x1234567890ABCDEFu;
  request.actor = {{3, 7}, 2};
  request.actor_incarnation = 1;
  request.sequence = 4711;
  request.args.resize(2);
  request.args[0].bytes = Bytes("\x01\x02\x03\x04");
  request.args[1].bytes = Bytes("\x05\x06\x07\x08");
  request.trace = 99;
  return request;
}

CallReply SmallReply() {
  CallReply reply;
  reply.call = {{3, 7}, 12345};
  reply.returns.resize(1);
  reply.returns[0].bytes = Bytes("\x01\x02\x03\x04");
  reply.run_ns = 250;
  return reply;
}

double ThreadNanos() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// The best of five runs, in nanoseconds for each call of `fn`.
template <typename Fn>
double NanosEach(int iterations, Fn&& fn) {
  double best = 1e18;
  for (int run = 0; run < 5; ++run) {
    const double start = ThreadNanos();
    for (int i = 0; i < iterations; ++i) fn();
    best = std::min(best, (ThreadNanos() - start) / iterations);
  }
  return best;
}

void Run(int iterations) {
  const CallRequest request = SmallRequest();
  const CallReply reply = SmallReply();
  FrameBuffer out;
  FrameBuffer reply_out;
  CallRequest request_in;
  CallReply reply_in;
  const auto print = [](const char* what, double nanos) { std::printf("%-34s %7.1f ns\n", what, nanos); };

  print("EncodeCallRequest, 2 x 4 B", NanosEach(iterations, [&] { EncodeCallRequest(request, &out); }));
  print("DecodeCallRequest, reused", NanosEach(iterations, [&] {
          MANTA_CHECK_OK(DecodeCallRequest(out.data(), out.size(), out.capnp_bytes(), &request_in));
        }));
  print("DecodeCallRequest, fresh", NanosEach(iterations, [&] {
          CallRequest fresh;
          MANTA_CHECK_OK(DecodeCallRequest(out.data(), out.size(), out.capnp_bytes(), &fresh));
        }));
  print("Decode (variant)", NanosEach(iterations, [&] {
          MANTA_CHECK(Decode(out.type(), out.data(), out.size(), out.capnp_bytes()).ok());
        }));
  print("EncodeCallReply, 1 x 4 B", NanosEach(iterations, [&] { EncodeCallReply(reply, &reply_out); }));
  print("DecodeCallReply, reused", NanosEach(iterations, [&] {
          MANTA_CHECK_OK(DecodeCallReply(reply_out.data(), reply_out.size(), reply_out.capnp_bytes(), &reply_in));
        }));
  MANTA_CHECK(request_in == request && reply_in == reply);
  std::printf("request %zu bytes, reply %zu bytes\n", out.size(), reply_out.size());

  RefTicket ticket{{{{3, 7}, 5}, 0, 1, false}, {{3, 7}, 9, 0}, {3, 7}, {}};
  print("Encode RefTicket", NanosEach(iterations, [&] { Encode(ticket, &out); }));
  print("Decode RefTicket", NanosEach(iterations, [&] {
          MANTA_CHECK(Decode(out.type(), out.data(), out.size(), out.capnp_bytes()).ok());
        }));
}

}  // namespace
}  // namespace manta::rpc

int main(int argc, char** argv) {
  manta::rpc::Run(argc > 1 ? std::atoi(argv[1]) : 1'000'000);
  return 0;
}
