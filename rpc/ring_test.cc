#include "rpc/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/random.h"

namespace manta::rpc {
namespace {

constexpr size_t kHeaderBytes = 8;

// A ring in this process's own memory, so that TSan sees both ends of it.
class RingFixture : public testing::Test {
 protected:
  struct alignas(64) Memory {
    RingControl control = {};
    alignas(64) char data[kRingBytes] = {};
  };

  // Writes a frame whose body says who it is; false if the ring is full.
  bool Write(uint64_t number, size_t body_bytes) {
    char* body = producer_.Reserve(body_bytes);
    if (body == nullptr) return false;
    Fill(number, body, body_bytes);
    producer_.Commit({.type = static_cast<uint16_t>(number), .body_bytes = static_cast<uint32_t>(body_bytes)});
    return true;
  }
  void ExpectFrame(uint64_t number, size_t body_bytes) {
    RingHeader header;
    const char* body = nullptr;
    ASSERT_EQ(consumer_.Next(&header, &body), RingConsumer::Result::kFrame) << "frame " << number;
    Check(number, body_bytes, header, body);
    consumer_.Pop();
  }
  void ExpectEmpty() {
    RingHeader header;
    const char* body = nullptr;
    EXPECT_FALSE(consumer_.HasFrame());
    EXPECT_EQ(consumer_.Next(&header, &body), RingConsumer::Result::kEmpty);
  }

  static void Fill(uint64_t number, char* body, size_t body_bytes) {
    for (size_t at = 0; at < body_bytes; at += 8) {
      const uint64_t word = number * 1'000'003 + at;
      std::memcpy(body + at, &word, 8);
    }
  }
  static void Check(uint64_t number, size_t body_bytes, const RingHeader& header, const char* body) {
    ASSERT_EQ(header.body_bytes, body_bytes) << "frame " << number;
    ASSERT_EQ(header.type, static_cast<uint16_t>(number));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(body) % 8, 0u);
    for (size_t at = 0; at < body_bytes; at += 8) {
      uint64_t word;
      std::memcpy(&word, body + at, 8);
      ASSERT_EQ(word, number * 1'000'003 + at) << "frame " << number << " at " << at;
    }
  }

  // Moves both ends to `offset` (a multiple of 8).
  void MoveTo(size_t offset) {
    while (producer_.position() % kRingBytes != offset) {
      const size_t left = (offset - producer_.position() % kRingBytes + kRingBytes) % kRingBytes;
      const size_t body = std::min(left, kRingBodyBytesMax) - kHeaderBytes;
      ASSERT_TRUE(Write(1, body));
      ExpectFrame(1, body);
    }
  }

  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
  RingMemory ring_{&memory_->control, memory_->data};
  RingProducer producer_{ring_};
  RingConsumer consumer_{ring_};
};

using Ring = RingFixture;

TEST_F(Ring, IsEmptyWhenAllIsZero) { ExpectEmpty(); }

TEST_F(Ring, HeaderKeepsItsFieldsAtTheirLimits) {
  const RingHeader header{.type = 0xFFFF,
                          .flags = RingHeader::kFragment,
                          .body_bytes = kRingBodyBytesMax,
                          .capnp_bytes = kRingBodyBytesMax};
  RingHeader read;
  ASSERT_TRUE(RingHeader::Unpack(header.Pack(), &read));
  EXPECT_EQ(read.type, header.type);
  EXPECT_EQ(read.flags, header.flags);
  EXPECT_EQ(read.body_bytes, header.body_bytes);
  EXPECT_EQ(read.capnp_bytes, header.capnp_bytes);
}

TEST_F(Ring, FramesOfAnySizeCrossTheEndUnbroken) {
  // Every way in which a frame can end before, at and behind the ring's end.
  uint64_t number = 0;
  for (size_t before_end = 8; before_end <= 96; before_end += 8) {
    for (size_t body = 0; body <= 96; body += 8) {
      MoveTo(kRingBytes - before_end);
      for (int i = 0; i < 3; ++i) ASSERT_TRUE(Write(++number, body));
      for (int i = 2; i >= 0; --i) ExpectFrame(number - static_cast<uint64_t>(i), body);
      ExpectEmpty();
    }
  }
}

TEST_F(Ring, LargestFrameAlwaysFitsIntoAnEmptyRing) {
  for (size_t offset = 0; offset < kRingBytes; offset += kRingBytes / 64 + 8) {
    MoveTo(offset);
    ASSERT_TRUE(Write(7, kRingBodyBytesMax)) << "at " << offset;
    ASSERT_TRUE(Write(8, kRingBodyBytesMax)) << "at " << offset;
    ExpectFrame(7, kRingBodyBytesMax);
    ExpectFrame(8, kRingBodyBytesMax);
  }
}

TEST_F(Ring, FullRingRefusesAndTakesAgainAfterOneIsRead) {
  uint64_t written = 0;
  while (Write(written, 1000)) ++written;
  EXPECT_EQ(written, (kRingBytes - kHeaderBytes) / (1000 + kHeaderBytes));
  EXPECT_FALSE(producer_.HasRoomFor(1000));
  ExpectFrame(0, 1000);
  EXPECT_TRUE(producer_.HasRoomFor(0));
  for (uint64_t number = 1; number < written; ++number) ExpectFrame(number, 1000);
  ExpectEmpty();
  EXPECT_TRUE(Write(written, 1000));
  ExpectFrame(written, 1000);
}

TEST_F(Ring, WaitingProducerIsFoundByTheConsumersRoomCheck) {
  base::Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<size_t> sizes;
    size_t body = 0;
    while (true) {
      body = rng.Uniform(kRingBodyBytesMax / 8 + 1) * 8;
      if (!Write(sizes.size(), body)) break;
      sizes.push_back(body);
    }
    ASSERT_FALSE(producer_.WaitForRoom(body));
    bool told = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      ExpectFrame(i, sizes[i]);
      if (consumer_.IsRoomCheckDue() && consumer_.CheckRoom()) told = true;
    }
    // Though not checked after the last frame, as long as little was read since.
    EXPECT_TRUE(told) << "round " << round;
    EXPECT_TRUE(producer_.HasRoomFor(body));
    producer_.DoneWaiting();
    EXPECT_FALSE(consumer_.CheckRoom());
  }
}

TEST_F(Ring, ProducerThatWaitsLooksOnceMore) {
  while (Write(0, 1000)) {
  }
  EXPECT_FALSE(producer_.WaitForRoom(1000));
  ExpectFrame(0, 1000);
  ExpectFrame(0, 1000);
  EXPECT_TRUE(producer_.WaitForRoom(1000));
  EXPECT_TRUE(consumer_.CheckRoom()) << "it is told until it is done";
}

TEST_F(Ring, FramesArriveInOrderBetweenTwoThreads) {
  constexpr uint64_t kFrames = 200'000;
  std::thread writer([this] {
    base::Rng rng(17);
    for (uint64_t number = 0; number < kFrames;) {
      const size_t body = (rng.Bernoulli(0.01) ? rng.Uniform(kRingBodyBytesMax / 8 + 1) : rng.Uniform(40)) * 8;
      while (!Write(number, body)) std::this_thread::yield();
      ++number;
    }
  });
  base::Rng rng(17);
  for (uint64_t number = 0; number < kFrames; ++number) {
    const size_t body = (rng.Bernoulli(0.01) ? rng.Uniform(kRingBodyBytesMax / 8 + 1) : rng.Uniform(40)) * 8;
    while (!consumer_.HasFrame()) std::this_thread::yield();
    ExpectFrame(number, body);
    if (HasFatalFailure()) break;
  }
  if (HasFatalFailure()) _exit(1);  // the writer would wait for ever
  writer.join();
  ExpectEmpty();
}

TEST_F(Ring, ConsumerRefusesForgedHeaders) {
  const auto expect_broken = [this](uint64_t word) {
    std::memcpy(memory_->data, &word, 8);
    RingConsumer fresh(ring_);
    RingHeader header;
    const char* body = nullptr;
    EXPECT_EQ(fresh.Next(&header, &body), RingConsumer::Result::kBroken) << std::hex << word;
  };
  expect_broken(1);
  expect_broken(UINT64_MAX);
  expect_broken(uint64_t{RingHeader::kPresent} << 56 | 0xFFFF);                // longer than any frame
  expect_broken(uint64_t{RingHeader::kPresent} << 56 | 1 << 16);               // more Cap'n Proto than body
  expect_broken(uint64_t{RingHeader::kPresent} << 56 | uint64_t{0x80} << 48);  // an unknown flag
  expect_broken(RingHeader{.flags = RingHeader::kSkip}.Pack());                // a whole ring skipped
  expect_broken(RingHeader{.flags = RingHeader::kSkip, .body_bytes = 8}.Pack());
}

TEST_F(Ring, ConsumerRefusesARingThatWasOverwrittenWithZeros) {
  for (uint64_t number = 1; number <= 3; ++number) ASSERT_TRUE(Write(number, 64));
  ExpectFrame(1, 64);
  EXPECT_TRUE(consumer_.IsIntact());
  std::memset(static_cast<void*>(memory_.get()), 0, sizeof *memory_);
  EXPECT_FALSE(consumer_.IsIntact());
  ASSERT_TRUE(Write(4, 64));  // two frames before it are gone
  RingHeader header;
  const char* body = nullptr;
  EXPECT_EQ(consumer_.Next(&header, &body), RingConsumer::Result::kBroken);
}

TEST_F(Ring, ConsumerRefusesAFrameThatReachesBeyondTheEnd) {
  MoveTo(kRingBytes - 16);
  const uint64_t word = RingHeader{.body_bytes = 16}.Pack();
  std::memcpy(memory_->data + kRingBytes - 16, &word, 8);
  RingHeader header;
  const char* body = nullptr;
  EXPECT_EQ(consumer_.Next(&header, &body), RingConsumer::Result::kBroken);
}

TEST_F(Ring, ConsumerRefusesASecondSkip) {
  MoveTo(kRingBytes - 16);
  const uint64_t skip = RingHeader{.flags = RingHeader::kSkip}.Pack();
  std::memcpy(memory_->data + kRingBytes - 16, &skip, 8);
  std::memcpy(memory_->data, &skip, 8);
  RingHeader header;
  const char* body = nullptr;
  EXPECT_EQ(consumer_.Next(&header, &body), RingConsumer::Result::kBroken);
}

TEST_F(Ring, ProducerRefusesForgedIndices) {
  for (const uint64_t forged : {uint64_t{1} << 63, UINT64_MAX, uint64_t{kRingBytes}, uint64_t{kRingBytes + 8}}) {
    memory_ = std::make_unique<Memory>();
    RingProducer producer({&memory_->control, memory_->data});
    for (int i = 0; i < 3; ++i) {
      ASSERT_NE(producer.Reserve(kRingBodyBytesMax), nullptr);
      producer.Commit({.body_bytes = kRingBodyBytesMax});
    }
    memory_->control.head.store(forged);
    EXPECT_EQ(producer.Reserve(kRingBodyBytesMax), nullptr) << forged;
    EXPECT_FALSE(producer.ok()) << forged;
    EXPECT_EQ(producer.Reserve(8), nullptr);
  }
}

TEST_F(Ring, ProducerRefusesAnIndexThatGoesBack) {
  while (Write(0, 1000)) {
  }
  for (int i = 0; i < 200; ++i) ExpectFrame(0, 1000);
  while (Write(0, 1000)) {
  }
  memory_->control.head.store(8);
  EXPECT_EQ(producer_.Reserve(1000), nullptr);
  EXPECT_FALSE(producer_.ok());
}

// Whatever stands in the ring, reading ends, and stays inside it.
TEST_F(Ring, MutatedRingsNeverTrapTheConsumer) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    base::Rng rng(seed);
    std::memset(memory_->data, 0, 4096);
    RingProducer producer(ring_);
    memory_->control.head.store(0);
    for (int i = 0; i < 20; ++i) {
      const size_t body = rng.Uniform(20) * 8;
      char* to = producer.Reserve(body);
      ASSERT_NE(to, nullptr);
      for (size_t at = 0; at < body; ++at) to[at] = static_cast<char>(rng.Next());
      producer.Commit({.type = static_cast<uint16_t>(rng.Next()), .body_bytes = static_cast<uint32_t>(body)});
    }
    for (uint64_t i = 0, n = 1 + rng.Uniform(4); i < n; ++i) {
      char* at = memory_->data + rng.Uniform(producer.position());
      switch (rng.Uniform(3)) {
        case 0:
          *at ^= static_cast<char>(1 << rng.Uniform(8));
          break;
        case 1:
          *at = static_cast<char>(rng.Next());
          break;
        default:
          *at = static_cast<char>(0xFF);
          break;
      }
    }
    RingConsumer consumer(ring_);
    RingHeader header;
    const char* body = nullptr;
    size_t frames = 0;
    while (consumer.Next(&header, &body) == RingConsumer::Result::kFrame) {
      ASSERT_GE(body, memory_->data) << "seed " << seed;
      ASSERT_LE(body + header.body_bytes, memory_->data + kRingBytes) << "seed " << seed;
      ASSERT_LE(header.capnp_bytes, header.body_bytes) << "seed " << seed;
      consumer.Pop();
      ASSERT_LE(++frames, 4096u / 8) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace manta::rpc
