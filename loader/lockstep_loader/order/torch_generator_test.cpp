#include "lockstep_loader/order/torch_generator.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/checksum/sha256.h"
#include "lockstep_loader/order/torch_vectors.h"

namespace lockstep::loader {
namespace {

std::string sha256(const std::string& bytes) {
  checksum::Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

TorchGenerator used(std::uint64_t seed, std::uint64_t outputs) {
  TorchGenerator generator(seed);
  for (std::uint64_t i = 0; i < outputs; ++i) generator.random();
  return generator;
}

/// The error of reading `bytes`; empty when they are accepted.
std::string refusal(const std::string& bytes) {
  try {
    TorchGenerator::from_state(bytes);
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corruption);
    return error.what();
  }
}

TEST(TorchGenerator, IsTheStandardEngineOfTheLowHalf) {
  for (const std::uint64_t seed : {0ULL, 1ULL, 5489ULL, (1ULL << 40) + 5, ~0ULL}) {
    std::mt19937 standard(static_cast<std::uint32_t>(seed));
    TorchGenerator generator(seed);
    for (int i = 0; i < 3000; ++i) ASSERT_EQ(generator.random(), standard()) << seed << " at " << i;
  }
}

TEST(TorchGenerator, WideDrawsTakeTheHighHalfFirst) {
  TorchGenerator narrow(7), wide(7), sized(7);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t high = narrow.random();
    const std::uint64_t expected = high << 32 | narrow.random();
    ASSERT_EQ(wide.random64(), expected);
    ASSERT_EQ(sized.random_int64(), static_cast<std::int64_t>(expected % (1ULL << 63)));
  }
}

TEST(TorchGenerator, StatesEqualPyTorchByteForByte) {
  for (const auto& vector : vectors::kStates) {
    TorchGenerator generator = used(vector.seed, vector.outputs);
    EXPECT_EQ(sha256(generator.state()), vector.sha256) << vector.seed << " after " << vector.outputs;
    EXPECT_EQ(generator.peek_int64(), vector.next);
    EXPECT_EQ(generator.random_int64(), vector.next);
  }
}

TEST(TorchGenerator, AStateGoesOnWhereItWasTaken) {
  for (const std::uint64_t outputs : {0, 1, 300, 623, 624, 625, 1248, 2000}) {
    TorchGenerator generator = used(42, outputs);
    TorchGenerator copy = TorchGenerator::from_state(generator.state());
    EXPECT_TRUE(copy == generator);
    for (int i = 0; i < 1500; ++i) ASSERT_EQ(copy.random(), generator.random()) << outputs;
    EXPECT_EQ(copy.state(), generator.state());
  }
}

TEST(TorchGenerator, CachedNormalDrawsAreCarriedAlong) {
  std::string state = used(42, 10).state();
  for (std::size_t i = 5016; i < state.size(); ++i) state[i] = static_cast<char>(i);
  EXPECT_EQ(TorchGenerator::from_state(state).state(), state);
}

TEST(TorchGenerator, DiscardIsDrawing) {
  for (const std::uint64_t before : {0, 5, 624}) {
    for (const std::uint64_t outputs : {0, 1, 619, 624, 1248, 100000}) {
      TorchGenerator generator = used(3, before);
      generator.discard(outputs);
      EXPECT_EQ(generator.state(), used(3, before + outputs).state()) << before << " and " << outputs;
    }
  }
}

TEST(TorchGenerator, DamagedStatesAreRefused) {
  const std::string good = used(42, 10).state();
  EXPECT_EQ(refusal(good), "");
  EXPECT_NE(refusal("").find("5056 bytes, got 0 bytes"), std::string::npos);
  EXPECT_NE(refusal(good.substr(0, 5055)).find("5055"), std::string::npos);
  const auto with = [&](std::size_t offset, char value) {
    std::string bytes = good;
    bytes[offset] = value;
    return refusal(bytes);
  };
  EXPECT_NE(with(8, 3).find("left and next"), std::string::npos);
  EXPECT_NE(with(9, 1).find("left and next"), std::string::npos);
  EXPECT_NE(with(12, 0).find("seeded"), std::string::npos);
  EXPECT_NE(with(17, 4).find("left and next"), std::string::npos);
  EXPECT_NE(with(24 + 4, 1).find("32 bits"), std::string::npos);
}

TEST(TorchGenerator, AnotherTwistWouldShow) {
  std::mt19937_64 other(1);
  TorchGenerator generator(1);
  EXPECT_NE(generator.random(), static_cast<std::uint32_t>(other()));
  EXPECT_NE(sha256(used(1, 1).state()), sha256(used(1, 2).state()));
}

}  // namespace
}  // namespace lockstep::loader
