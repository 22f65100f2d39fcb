#include "rpc/crypto.h"

#include <gtest/gtest.h>

#include <string>

namespace manta::rpc {
namespace {

std::string Hex(const Bits256& bits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bits) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

TEST(Crypto, Sha256MatchesFips180) {
  EXPECT_EQ(Hex(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Crypto, HmacMatchesRfc4231) {
  // Test case 2, whose key "Jefe" is padded with zeros to any length up to a block.
  Bits256 key = {};
  key[0] = 'J', key[1] = 'e', key[2] = 'f', key[3] = 'e';
  EXPECT_EQ(Hex(HmacSha256(key, "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Crypto, ComparesAllBytes) {
  const Bits256 a = Sha256("a");
  EXPECT_TRUE(ConstantTimeEqual(a, a));
  for (size_t i = 0; i < a.size(); ++i) {
    Bits256 b = a;
    b[i] ^= 1;
    EXPECT_FALSE(ConstantTimeEqual(a, b)) << i;
  }
}

TEST(Crypto, DrawsDifferentBits) { EXPECT_NE(RandomBits256(), RandomBits256()); }

TEST(Crypto, WipesToZero) {
  Bits256 bits = Sha256("secret");
  Wipe(&bits);
  EXPECT_EQ(bits, Bits256{});
}

}  // namespace
}  // namespace manta::rpc
