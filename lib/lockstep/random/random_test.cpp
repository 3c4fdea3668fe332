#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/random/philox.h"
#include "lockstep/random/philox_inl.h"

namespace lockstep::random {
namespace {

constexpr std::uint32_t kOnes = 0xffffffff;

// Random123's own known answers for philox4x32 with 10 rounds; the third counter and key are the first digits
// of pi.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32(0, {0, 0, 0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(0xffffffffffffffff, {kOnes, kOnes, kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, TheFormForDevicesDrawsTheSameWords) {
  Block counter{0, 1, 2, 3};
  for (std::uint64_t key = 1; key < (std::uint64_t{1} << 62); key = 3 * key + 1) {
    const PhiloxWords words = philox_words(key, {counter[0], counter[1], counter[2], counter[3]});
    const Block block = philox4x32(key, counter);
    EXPECT_EQ((Block{words.w0, words.w1, words.w2, words.w3}), block);
    counter = block;
  }
}

std::vector<std::uint32_t> draw(Generator generator, int count) {
  std::vector<std::uint32_t> words;
  for (int i = 0; i < count; ++i) words.push_back(generator.next_u32());
  return words;
}

/// The derivation of README.md written down once more.
std::vector<std::uint32_t> derive(const RecordKey& key, std::uint32_t stream, std::uint32_t blocks) {
  const auto record = static_cast<std::uint64_t>(key.record);
  const Block d = philox4x32(key.seed, {stream, key.epoch, static_cast<std::uint32_t>(record),
                                        static_cast<std::uint32_t>(record >> 32)});
  std::vector<std::uint32_t> words;
  for (std::uint32_t b = 0; b < blocks; ++b) {
    for (const std::uint32_t word :
         philox4x32(std::uint64_t{d[0]} << 32 | d[1], {b, key.occurrence, d[2], d[3]})) {
      words.push_back(word);
    }
  }
  return words;
}

TEST(Generator, FollowsItsDerivation) {
  for (const RecordKey& key :
       {RecordKey{}, RecordKey{42, 3, 7, 0}, RecordKey{~0ull, kOnes, INT64_MAX, kOnes}}) {
    EXPECT_EQ(draw(Generator(key, 5), 12), derive(key, 5, 3));
  }
}

TEST(Generator, HasGoldenBits) {
  // From a second implementation, written from README.md alone.
  EXPECT_EQ(draw(Generator(RecordKey{0x0, 0, 0x0, 0}, 0), 5),
            (std::vector<std::uint32_t>{0x87e6b051, 0x2f212b35, 0x4aebe68b, 0x340ba543, 0xd2e57b78}));
  EXPECT_EQ(draw(Generator(RecordKey{0x2a, 3, 0xea5f, 0}, 1), 5),
            (std::vector<std::uint32_t>{0x42d50ebf, 0xca112151, 0xaa4139c7, 0xc4993394, 0x930540ad}));
  EXPECT_EQ(draw(Generator(RecordKey{0x2a, 3, 0xea5f, 2}, 1), 5),
            (std::vector<std::uint32_t>{0x15dff0b0, 0x79bb701a, 0x70ac3ce7, 0xe98948d9, 0x01f377fe}));
  EXPECT_EQ(draw(Generator(RecordKey{0x123456789abcdef0, 7, 0x10000000005, 1}, 9), 5),
            (std::vector<std::uint32_t>{0xc685ce8e, 0x0a37eef9, 0xe6527911, 0xa18f43f5, 0xb668e0a4}));
}

TEST(Generator, DependsOnEveryPartOfItsKey) {
  std::set<std::uint32_t> firsts;
  std::vector<RecordKey> keys{{1, 2, 3, 4},
                              {2, 2, 3, 4},
                              {1, 3, 3, 4},
                              {1, 2, 4, 4},
                              {1, 2, 3, 5},
                              {1, 2, 3 + (std::int64_t{1} << 32), 4},
                              {1 + (std::uint64_t{1} << 32), 2, 3, 4}};
  for (const RecordKey& key : keys) firsts.insert(Generator(key, 0).next_u32());
  firsts.insert(Generator(keys[0], 1).next_u32());
  EXPECT_EQ(firsts.size(), keys.size() + 1);
}

// What others got wrong: with seed + record as the key, neighbours share their draws.
TEST(Generator, NeighboursShareNothing) {
  const auto added = [](std::uint64_t seed, std::uint64_t record) {
    return draw(Generator(seed + record), 4);
  };
  EXPECT_EQ(added(1, 5), added(2, 4)) << "the twin that adds words together collides";
  EXPECT_NE(draw(Generator(RecordKey{1, 0, 5, 0}, 0), 4), draw(Generator(RecordKey{2, 0, 4, 0}, 0), 4));
  EXPECT_NE(draw(Generator(RecordKey{1, 1, 4, 0}, 0), 4), draw(Generator(RecordKey{1, 0, 5, 0}, 0), 4));
}

TEST(Generator, CopiesContinueAlike) {
  Generator a(RecordKey{9, 0, 1, 0}, 2);
  for (int i = 0; i < 5; ++i) a.next_u32();
  Generator b = a;
  EXPECT_EQ(draw(a, 9), draw(b, 9));
}

TEST(Generator, MakesWideWordsOfTwo) {
  Generator a(123), b(123);
  const std::uint64_t high = a.next_u32(), low = a.next_u32();
  EXPECT_EQ(b.next_u64(), high << 32 | low);
}

TEST(Generator, BelowTakesTheHighHalfAndRejectsTheSurplus) {
  __extension__ using Wide = unsigned __int128;
  for (const std::uint64_t bound : {std::uint64_t{1}, std::uint64_t{10}, std::uint64_t{1} << 63,
                                    (std::uint64_t{1} << 63) + 1, ~std::uint64_t{0}}) {
    Generator drawn(7), words(7);
    for (int i = 0; i < 200; ++i) {
      Wide product = Wide{words.next_u64()} * bound;
      // 2^64 mod bound, by another road.
      const auto surplus = static_cast<std::uint64_t>((Wide{1} << 64) % bound);
      while (static_cast<std::uint64_t>(product) < surplus) product = Wide{words.next_u64()} * bound;
      const std::uint64_t got = drawn.below(bound);
      EXPECT_EQ(got, static_cast<std::uint64_t>(product >> 64));
      EXPECT_LT(got, bound);
    }
  }
  // Just above half the range every other draw is rejected: without that, the two generators would stay in
  // step.
  Generator drawn(7), unrejected(7);
  for (int i = 0; i < 200; ++i) drawn.below((std::uint64_t{1} << 63) + 1), unrejected.next_u64();
  EXPECT_NE(drawn.next_u64(), unrejected.next_u64());
}

TEST(Generator, BelowIsEven) {
  Generator generator(2024);
  std::map<std::uint64_t, int> counts;
  constexpr int kDraws = 60000, kBound = 6;
  for (int i = 0; i < kDraws; ++i) ++counts[generator.below(kBound)];
  double chi = 0;
  for (const auto& [value, count] : counts) chi += std::pow(count - kDraws / kBound, 2) / (kDraws / kBound);
  EXPECT_EQ(counts.size(), 6u);
  EXPECT_LT(chi, 20.5);  // 0.1 % of even dice are worse, but the draws are fixed: this passes always or never
}

TEST(Generator, UniformsAreMultiplesInRange) {
  Generator a(5), b(5);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    const float u = a.uniform();
    EXPECT_EQ(u, static_cast<float>(b.next_u32() >> 8) / 16777216.0f);
    EXPECT_TRUE(u >= 0 && u < 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);  // five standard errors
  for (int i = 0; i < 1000; ++i) {
    const double u = a.uniform_double();
    EXPECT_EQ(u, static_cast<double>(b.next_u64() >> 11) / 9007199254740992.0);
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}

TEST(Generator, BernoulliComparesOneWord) {
  Generator a(11), b(11);
  int hits = 0;
  for (int i = 0; i < 10000; ++i) {
    const bool hit = a.bernoulli(0.25);
    EXPECT_EQ(hit, b.next_u32() < 0x40000000u);
    hits += hit ? 1 : 0;
  }
  EXPECT_NEAR(hits, 2500, 220);  // five standard errors
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(a.bernoulli(1));
    EXPECT_FALSE(a.bernoulli(0));
    EXPECT_FALSE(a.bernoulli(0x1p-33)) << "below the smallest step of 2^-32";
  }
}

TEST(Generator, RefusesNonsense) {
  Generator g(1);
  expect_error(ErrorCode::invalid_argument, "bound of below(): expected 1 or more, got 0",
               [&] { g.below(0); });
  expect_error(ErrorCode::invalid_argument, "probability: expected 0 to 1", [&] { g.bernoulli(1.5); });
  expect_error(ErrorCode::invalid_argument, "probability", [&] { g.bernoulli(-0.1); });
  expect_error(ErrorCode::invalid_argument, "probability", [&] { g.bernoulli(std::nan("")); });
  expect_error(ErrorCode::invalid_argument, "record id: expected 0 or more, got -1", [] {
    Generator(RecordKey{0, 0, -1, 0}, 0);
  });
}

}  // namespace
}  // namespace lockstep::random
