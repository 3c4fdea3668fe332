#include "lockstep/order/fold.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/order/cuts_test.h"

namespace lockstep::order {
namespace {

/// Of many magnitudes, so that nearly every add rounds and any other order has other bits.
std::vector<float> values(std::int64_t count) {
  std::uint32_t state = 11;
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& value : out) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state) >> 8),
                       static_cast<int>(state & 7) - 24);
  }
  return out;
}

/// The contract as a plain loop over the whole batch.
float plain_fold(const std::vector<float>& x) {
  float total = 0;
  for (std::size_t chunk = 0; chunk < x.size(); chunk += 1024) {
    float partial = 0;
    for (std::size_t row = chunk; row < chunk + 1024 && row < x.size(); ++row)
      partial = std::fma(0.75f, x[row], partial);
    total = total + partial;
  }
  return total;
}

/// The fold over spans that end where `ends` says. Memory for the open partial is there only where a span
/// asks for it, and holds a NaN before its first use.
float fold_cut_at(const std::vector<float>& x, std::vector<std::int64_t> ends) {
  float total = 0, open = std::numeric_limits<float>::quiet_NaN();
  std::int64_t first = 0;
  for (std::size_t i = 0; i < ends.size(); first = ends[i], ++i) {
    const FoldSpan span{first, ends[i] - first, i + 1 == ends.size()};
    fold_rows(span, total, needs_open_partial(span) ? &open : nullptr, [&](float partial, std::int64_t row) {
      return std::fma(0.75f, x[static_cast<std::size_t>(first + row)], partial);
    });
  }
  return total;
}

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

TEST(Fold, IsThePlainLoopWithoutACut) {
  for (const std::int64_t rows : {0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 5000}) {
    const auto x = values(rows);
    EXPECT_EQ(bits(fold_cut_at(x, {rows})), bits(plain_fold(x))) << rows;
  }
}

TEST(Fold, EveryCutOfABatchGivesTheSameBits) {
  for (const std::int64_t rows : {7, 1024, 1030, 2048, 2055}) {
    const auto x = values(rows);
    const std::uint32_t expected = bits(plain_fold(x));
    for (std::int64_t cut = 0; cut <= rows; ++cut)
      ASSERT_EQ(bits(fold_cut_at(x, {cut, rows})), expected) << rows << " rows cut at " << cut;
  }
}

TEST(Fold, EveryTwoCutsOfASmallBatchGiveTheSameBits) {
  const auto near_edges = [](std::int64_t rows) {
    std::vector<std::int64_t> places;
    for (std::int64_t cut = 0; cut <= rows; ++cut)
      if (cut < 4 || cut % 1024 < 4 || cut % 1024 > 1020 || cut > rows - 4 || cut % 331 == 0)
        places.push_back(cut);
    return places;
  };
  for (const std::int64_t rows : {9, 1026, 2050, 3073}) {
    const auto x = values(rows);
    const std::uint32_t expected = bits(plain_fold(x));
    for (const std::int64_t first : near_edges(rows)) {
      for (const std::int64_t second : near_edges(rows)) {
        if (second < first) continue;
        ASSERT_EQ(bits(fold_cut_at(x, {first, second, rows})), expected)
            << rows << ": " << first << ", " << second;
      }
    }
  }
}

TEST(Fold, EqualMicroBatchesOfAnySizeGiveTheSameBits) {
  const std::int64_t rows = 2500;
  const auto x = values(rows);
  const std::uint32_t expected = bits(plain_fold(x));
  for (const std::int64_t size : {1, 2, 7, 16, 64, 333, 512, 1000, 1024, 1500, 2048, 2500}) {
    EXPECT_EQ(bits(fold_cut_at(x, ends_of_pieces(rows, size))), expected) << size;
  }
}

TEST(Fold, ALastSpanWithoutRowsClosesTheOpenChunk) {
  for (const std::int64_t rows : {1, 700, 1024, 1500}) {
    const auto x = values(rows);
    EXPECT_EQ(bits(fold_cut_at(x, {rows / 2, rows, rows})), bits(plain_fold(x))) << rows;
  }
  EXPECT_EQ(fold_segments({1024, 0, true}), 0) << "nothing is open on the grid";
  EXPECT_EQ(fold_segments({1000, 0, false}), 0) << "more rows follow";
}

TEST(Fold, SegmentsCoverASpanOnceAndEndAtTheGrid) {
  for (const std::int64_t first : {0, 1, 1000, 1023, 1024, 1025, 4096}) {
    for (const std::int64_t rows : {1, 2, 23, 24, 25, 1024, 1048, 1049, 3000}) {
      for (const bool last : {false, true}) {
        const FoldSpan span{first, rows, last};
        std::int64_t next = 0;
        bool left_open = false;
        for (std::int64_t i = 0; i < fold_segments(span); ++i) {
          const FoldSegment segment = fold_segment(span, i);
          EXPECT_EQ(segment.offset, next);
          EXPECT_GT(segment.rows, 0);
          EXPECT_EQ(segment.opens, (first + segment.offset) % 1024 == 0);
          EXPECT_EQ((first + segment.offset) / 1024, (first + segment.offset + segment.rows - 1) / 1024);
          next += segment.rows;
          EXPECT_EQ(segment.closes, (first + next) % 1024 == 0 || (last && next == rows));
          left_open = !segment.closes;
        }
        EXPECT_EQ(next, rows);
        EXPECT_EQ(needs_open_partial(span), left_open || first % 1024 != 0);
      }
    }
  }
}

TEST(Fold, StartsAtPlusZeroAndKeepsIt) {
  float total = 0;
  fold_rows(FoldSpan{0, 3, true}, total, static_cast<float*>(nullptr),
            [](float partial, std::int64_t) { return partial + -0.0f; });
  EXPECT_EQ(bits(total), 0u);
}

TEST(Fold, OneChainGoesRed) {
  const auto x = values(5000);
  float chain = 0;
  for (const float value : x) chain = std::fma(0.75f, value, chain);
  EXPECT_NE(bits(chain), bits(plain_fold(x)));
}

TEST(Fold, AMicroBatchsOwnGridGoesRed) {
  const auto x = values(2048);
  float total = 0;
  for (const std::int64_t first : {0, 700, 1400}) {
    const std::int64_t rows = std::min<std::int64_t>(700, 2048 - first);
    total += plain_fold(std::vector<float>(x.begin() + first, x.begin() + first + rows));
  }
  EXPECT_NE(bits(total), bits(plain_fold(x)));
}

TEST(Fold, IsKnownAtCompileTime) {
  static_assert(fold_segments({1000, 100, true}) == 2);
  static_assert(fold_segment({1000, 100, true}, 0).rows == 24 &&
                fold_segment({1000, 100, true}, 1).rows == 76);
  static_assert(!needs_open_partial({0, 2048, false}) && needs_open_partial({0, 2000, false}));
  static_assert(!needs_open_partial({1024, 5, true}) && needs_open_partial({5, 1019, false}));
}

}  // namespace
}  // namespace lockstep::order
