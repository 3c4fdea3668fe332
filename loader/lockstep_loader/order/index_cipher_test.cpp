#include "lockstep_loader/order/index_cipher.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/native_vectors.h"

namespace lockstep::loader {
namespace {

using Ids = std::vector<std::int64_t>;
using Permute = std::function<Ids(std::int64_t size, std::uint64_t seed, std::int64_t epoch)>;

Ids cipher_ids(std::int64_t size, std::uint64_t seed, std::int64_t epoch) {
  Ids ids(static_cast<std::size_t>(size));
  IndexCipher(size, seed, epoch).ids(0, ids);
  return ids;
}

/// A wrong twin: an affine map with a keyed factor and offset. It is a permutation, and its ids look mixed at
/// a glance.
Ids affine_ids(std::int64_t size, std::uint64_t seed, std::int64_t epoch) {
  const auto hash = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  };
  const std::uint64_t key = hash(seed * 0x9e3779b97f4a7c15 + static_cast<std::uint64_t>(epoch) + 1);
  const auto n = static_cast<std::uint64_t>(size);
  std::uint64_t factor = key % n | 1;
  while (std::gcd(factor, n) != 1) factor += 2;
  Ids ids(n);
  for (std::uint64_t i = 0; i < n; ++i)
    ids[i] = static_cast<std::int64_t>((i * (factor % n) + hash(key) % n) % n);
  return ids;
}

bool is_permutation(Ids ids) {
  std::sort(ids.begin(), ids.end());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

/// (chi-square - degrees) in standard deviations: a good order stays within a few, one with a pattern does
/// not.
double deviation(const std::vector<double>& counts, double expected, double degrees) {
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return (sum - degrees) / std::sqrt(2 * degrees);
}

double flatness(const std::vector<double>& counts) {
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  const auto cells = static_cast<double>(counts.size());
  return deviation(counts, total / cells, cells - 1);
}

constexpr int kKeys = 20000;
constexpr double kFar = 6;

/// How often each id comes at each position.
double place_statistic(const Permute& permute, std::int64_t size) {
  std::vector<double> counts(static_cast<std::size_t>(size * size));
  for (int key = 0; key < kKeys; ++key) {
    const Ids ids = permute(size, 7, key);
    for (std::int64_t i = 0; i < size; ++i)
      ++counts[static_cast<std::size_t>(i * size + ids[static_cast<std::size_t>(i)])];
  }
  return deviation(counts, static_cast<double>(kKeys) / static_cast<double>(size),
                   static_cast<double>((size - 1) * (size - 1)));
}

/// How often each pair of ids comes at the first two positions.
double pair_statistic(const Permute& permute, std::int64_t size) {
  std::vector<double> counts;
  std::map<std::pair<std::int64_t, std::int64_t>, double> pairs;
  for (int key = 0; key < kKeys; ++key) {
    const Ids ids = permute(size, 8, key);
    ++pairs[{ids[0], ids[1]}];
  }
  for (const auto& [pair, count] : pairs) counts.push_back(count);
  counts.resize(static_cast<std::size_t>(size * (size - 1)));
  return flatness(counts);
}

/// Distances between neighbours of one long order.
double step_statistic(const Permute& permute, std::int64_t size) {
  const Ids ids = permute(size, 9, 0);
  std::vector<double> counts(64);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const std::int64_t step = (ids[i] - ids[i - 1] + size) % size;
    ++counts[static_cast<std::size_t>(step * 64 / size)];
  }
  return flatness(counts);
}

/// Where the ids of one order come in another one.
double joint_statistic(const Ids& a, const Ids& b) {
  const auto size = static_cast<std::int64_t>(a.size());
  std::vector<double> counts(32 * 32);
  for (std::size_t i = 0; i < a.size(); ++i)
    ++counts[static_cast<std::size_t>(a[i] * 32 / size * 32 + b[i] * 32 / size)];
  return flatness(counts);
}

std::int64_t equal_places(const Ids& a, const Ids& b) {
  std::int64_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  return equal;
}

TEST(IndexCipher, EqualsItsSpecification) {
  for (const auto& vector : vectors::kCipher) {
    const IndexCipher cipher(vector.size, vector.seed, vector.epoch, vector.repeat, vector.stream);
    EXPECT_EQ(cipher.id(vector.position), vector.id) << vector.size << " at " << vector.position;
    EXPECT_EQ(cipher.position(vector.id), vector.position) << vector.size << " at " << vector.position;
  }
  for (std::size_t epoch = 0; epoch < vectors::kTen.size(); ++epoch) {
    EXPECT_EQ(cipher_ids(10, 42, static_cast<std::int64_t>(epoch)), vectors::kTen[epoch]);
  }
}

TEST(IndexCipher, IsAPermutationOfEverySmallSize) {
  for (std::int64_t size = 0; size <= 2000; ++size) {
    const IndexCipher cipher(size, 1, size);
    Ids ids(static_cast<std::size_t>(size));
    cipher.ids(0, ids);
    ASSERT_TRUE(is_permutation(ids)) << size;
    for (std::int64_t i = 0; i < size; i += 1 + size / 50) {
      ASSERT_EQ(cipher.id(i), ids[static_cast<std::size_t>(i)]) << size << " at " << i;
      ASSERT_EQ(cipher.position(cipher.id(i)), i) << size;
    }
  }
}

TEST(IndexCipher, IsAPermutationOfSizesAroundTheRoundChange) {
  for (const std::int64_t size : {4094, 4095, 4096, 4097, 65536, 65537, 1281167}) {
    EXPECT_TRUE(is_permutation(cipher_ids(size, 3, 0))) << size;
  }
}

TEST(IndexCipher, LargeSizesAreInvertedExactly) {
  for (const std::int64_t size : {std::int64_t{1} << 32, (std::int64_t{1} << 32) + 1, std::int64_t{1} << 45,
                                  IndexCipher::kMaxSize - 1, IndexCipher::kMaxSize}) {
    const IndexCipher cipher(size, 5, 6);
    for (std::int64_t i = 0; i < 2000; ++i) {
      const std::int64_t position = i < 1000 ? i : size - 1 - (i - 1000) * (size / 1001);
      const std::int64_t id = cipher.id(position);
      ASSERT_TRUE(id >= 0 && id < size);
      ASSERT_EQ(cipher.position(id), position) << size;
    }
  }
}

TEST(IndexCipher, PiecesEqualTheWhole) {
  for (const std::int64_t size : {65, 1000, 60000}) {
    const Ids whole = cipher_ids(size, 11, 2);
    const IndexCipher cipher(size, 11, 2);
    for (const std::int64_t piece : {1, 7, 15, 16, 63, 64, 65, 200}) {
      for (std::int64_t first = 0; first + piece <= size; first += 1 + size / 13) {
        Ids ids(static_cast<std::size_t>(piece));
        cipher.ids(first, ids);
        ASSERT_TRUE(std::equal(ids.begin(), ids.end(), whole.begin() + first)) << first << " + " << piece;
      }
    }
  }
}

TEST(IndexCipher, EveryPartOfTheKeyCounts) {
  const Ids ids = cipher_ids(1000, 1, 0);
  EXPECT_NE(ids, cipher_ids(1000, 2, 0));
  EXPECT_NE(ids, cipher_ids(1000, 1ULL << 32 | 1, 0));
  EXPECT_NE(ids, cipher_ids(1000, 1, 1));
  Ids other(1000);
  IndexCipher(1000, 1, 0, 1).ids(0, other);
  EXPECT_NE(ids, other);
  IndexCipher(1000, 1, 0, 0, kSplitStream).ids(0, other);
  EXPECT_NE(ids, other);
}

TEST(IndexCipher, RefusesWhatItCannotPermute) {
  const auto words = [](std::int64_t size, std::int64_t epoch) -> std::string {
    try {
      const IndexCipher cipher(size, 0, epoch);
      return "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
  };
  EXPECT_NE(words(-1, 0).find("size: expected 0 to 2^62, got -1"), std::string::npos);
  EXPECT_NE(words(IndexCipher::kMaxSize + 1, 0).find("size"), std::string::npos);
  EXPECT_NE(words(10, -1).find("epoch: expected 0 to 4294967295, got -1"), std::string::npos);
  EXPECT_NE(words(10, std::int64_t{1} << 32).find("epoch"), std::string::npos);
  EXPECT_EQ(words(0, 0), "accepted");
}

TEST(IndexCipher, EveryOrderOfAFewRecordsIsEquallyLikely) {
  for (const std::int64_t size : {2, 3, 4, 5, 6}) {
    std::map<Ids, double> orders;
    for (int key = 0; key < 120000; ++key) ++orders[cipher_ids(size, 12, key)];
    double factorial = 1;
    for (std::int64_t i = 2; i <= size; ++i) factorial *= static_cast<double>(i);
    std::vector<double> counts;
    for (const auto& [order, count] : orders) counts.push_back(count);
    counts.resize(static_cast<std::size_t>(factorial));
    EXPECT_LT(std::abs(flatness(counts)), kFar) << size;
  }
}

TEST(IndexCipher, PlacesAndPairsAreEven) {
  for (const std::int64_t size : {7, 9, 16, 25, 48, 100}) {
    EXPECT_LT(std::abs(place_statistic(cipher_ids, size)), kFar) << size;
    EXPECT_LT(std::abs(pair_statistic(cipher_ids, std::min<std::int64_t>(size, 48))), kFar) << size;
  }
}

TEST(IndexCipher, NeighboursTellNothing) {
  for (const std::int64_t size : {4096, 60000, 65536, 1000003}) {
    EXPECT_LT(std::abs(step_statistic(cipher_ids, size)), kFar) << size;
  }
}

TEST(IndexCipher, EpochsAndSeedsAreUnrelated) {
  const std::int64_t size = 60000;
  const Ids ids = cipher_ids(size, 100, 0);
  for (std::int64_t other = 1; other <= 8; ++other) {
    const Ids by_epoch = cipher_ids(size, 100, other);
    const Ids by_seed = cipher_ids(size, 100 + static_cast<std::uint64_t>(other), 0);
    EXPECT_LT(std::abs(joint_statistic(ids, by_epoch)), kFar) << other;
    EXPECT_LT(std::abs(joint_statistic(ids, by_seed)), kFar) << other;
    EXPECT_LT(equal_places(ids, by_epoch), 10);
    EXPECT_LT(equal_places(ids, by_seed), 10);
  }
}

/// The statistics can go red: an affine map is a permutation too, and fails them.
TEST(IndexCipher, AnAffineMapFailsTheStatistics) {
  EXPECT_TRUE(is_permutation(affine_ids(1000, 1, 0)));
  EXPECT_GT(pair_statistic(affine_ids, 48), kFar);
  EXPECT_GT(step_statistic(affine_ids, 60000), kFar);
  std::map<Ids, double> orders;
  for (int key = 0; key < 20000; ++key) ++orders[affine_ids(6, 12, key)];
  EXPECT_LT(orders.size(), 720u);
}

}  // namespace
}  // namespace lockstep::loader
