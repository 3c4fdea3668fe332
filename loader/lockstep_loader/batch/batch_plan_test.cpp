#include "lockstep_loader/batch/batch_plan.h"

#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::loader {
namespace {

using Ids = std::vector<std::int64_t>;

Ids batch_ids(const BatchPlan& plan, std::int64_t batch) {
  const auto order = native_sequential(plan.positions)->begin_epoch(0, {});
  const BatchRange range = plan.range(batch);
  Ids ids(static_cast<std::size_t>(range.count));
  plan.ids(*order, range, ids);
  return ids;
}

std::string refusal(const BatchPlan& plan) {
  try {
    plan.check();
    return "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
}

TEST(BatchPlan, KeepLeavesTheLastBatchShort) {
  const BatchPlan plan{10, 4, LastBatch::keep, 0, 1};
  EXPECT_EQ(plan.batches(), 3);
  EXPECT_EQ(plan.samples(), 10);
  EXPECT_EQ(batch_ids(plan, 0), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(batch_ids(plan, 2), (Ids{8, 9}));
}

TEST(BatchPlan, DropLeavesItOut) {
  const BatchPlan plan{10, 4, LastBatch::drop, 0, 1};
  EXPECT_EQ(plan.batches(), 2);
  EXPECT_EQ(plan.samples(), 8);
  EXPECT_EQ((BatchPlan{3, 4, LastBatch::drop, 0, 1}.batches()), 0);
}

TEST(BatchPlan, WrapFillsItFromTheBeginning) {
  const BatchPlan plan{10, 4, LastBatch::wrap, 0, 1};
  EXPECT_EQ(plan.batches(), 3);
  EXPECT_EQ(plan.samples(), 12);
  EXPECT_EQ(batch_ids(plan, 2), (Ids{8, 9, 0, 1}));
  EXPECT_EQ(batch_ids({3, 8, LastBatch::wrap, 0, 1}, 0), (Ids{0, 1, 2, 0, 1, 2, 0, 1}));
  EXPECT_EQ(batch_ids({3, 8, LastBatch::wrap, 1, 2}, 0), (Ids{1, 2, 0, 1}));
}

TEST(BatchPlan, AnEmptyEpochHasNoBatches) {
  for (const LastBatch last : {LastBatch::keep, LastBatch::drop, LastBatch::wrap}) {
    const BatchPlan plan{0, 4, last, 0, 1};
    EXPECT_EQ(plan.batches(), 0);
    EXPECT_EQ(plan.samples(), 0);
  }
}

TEST(BatchPlan, RanksTogetherHoldTheGlobalBatch) {
  for (const LastBatch last : {LastBatch::keep, LastBatch::drop, LastBatch::wrap}) {
    for (const std::int64_t positions : {1, 5, 12, 13, 47}) {
      const BatchPlan whole{positions, 12, last, 0, 1};
      for (const int world : {1, 2, 3, 4, 6, 12}) {
        for (std::int64_t batch = 0; batch < whole.batches(); ++batch) {
          Ids joined;
          for (int rank = 0; rank < world; ++rank) {
            const BatchPlan part{positions, 12, last, rank, world};
            const BatchRange range = part.range(batch);
            EXPECT_EQ(range.first_sample, static_cast<std::int64_t>(joined.size()));
            EXPECT_EQ(range.global_samples, whole.range(batch).count);
            EXPECT_LE(range.count - part.range(batch).global_samples / world, 1);
            const Ids ids = batch_ids(part, batch);
            joined.insert(joined.end(), ids.begin(), ids.end());
          }
          EXPECT_EQ(joined, batch_ids(whole, batch)) << positions << " over " << world;
        }
      }
    }
  }
}

/// The cut by strides (a DistributedSampler's) deals other records to a rank: the test above can go red.
TEST(BatchPlan, IsNoStridedCut) {
  EXPECT_EQ(batch_ids({12, 12, LastBatch::keep, 0, 2}, 0), (Ids{0, 1, 2, 3, 4, 5}));
  EXPECT_NE(batch_ids({12, 12, LastBatch::keep, 0, 2}, 0), (Ids{0, 2, 4, 6, 8, 10}));
}

TEST(BatchPlan, HugeEpochsDoNotOverflow) {
  const std::int64_t positions = std::int64_t{1} << 62;
  const BatchPlan plan{positions, 64, LastBatch::wrap, 3, 4};
  EXPECT_EQ(plan.range(plan.batches() - 1).first, positions - 16);
}

TEST(BatchPlan, RefusesWhatCannotWork) {
  EXPECT_EQ(refusal({10, 4, LastBatch::keep, 1, 2}), "accepted");
  EXPECT_NE(refusal({10, 0, LastBatch::keep, 0, 1}).find("batch size: expected 1 or more, got 0"),
            std::string::npos);
  EXPECT_NE(refusal({-1, 4, LastBatch::keep, 0, 1}).find("positions"), std::string::npos);
  EXPECT_NE(refusal({10, 4, LastBatch::keep, 0, 0}).find("world size"), std::string::npos);
  EXPECT_NE(refusal({10, 4, LastBatch::keep, 2, 2}).find("rank: expected 0 to 1, got 2"), std::string::npos);
  EXPECT_NE(refusal({10, 4, LastBatch::keep, -1, 2}).find("rank"), std::string::npos);
  EXPECT_NE(refusal({10, 4, LastBatch::keep, 0, 8}).find("at most the 4 samples of a global batch, got 8"),
            std::string::npos);
  EXPECT_NE(refusal({10, 4, LastBatch::keep, 0, 3}).find("a divisor of the global batch size 4, got 3"),
            std::string::npos);
}

}  // namespace
}  // namespace lockstep::loader
