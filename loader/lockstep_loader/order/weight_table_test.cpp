#include "lockstep_loader/order/weight_table.h"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/native_vectors.h"

namespace lockstep::loader {
namespace {

std::string refusal(const std::vector<double>& weights) {
  try {
    const WeightTable table(weights);
    return "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
}

TEST(WeightTable, EqualsItsSpecification) {
  for (const auto& vector : vectors::kWeighted) {
    const WeightTable table(vector.weights);
    EXPECT_EQ(std::vector<std::uint64_t>(table.sums().begin(), table.sums().end()), vector.sums);
  }
}

TEST(WeightTable, ADrawFallsIntoItsRecordsPart) {
  const WeightTable table(std::vector<double>{0, 1, 0, 3, 0});
  const std::uint64_t one = table.sums()[1];
  EXPECT_EQ(table.total(), 4 * one);
  EXPECT_EQ(table.find(0), 1);
  EXPECT_EQ(table.find(one - 1), 1);
  EXPECT_EQ(table.find(one), 3);
  EXPECT_EQ(table.find(table.total() - 1), 3);
}

TEST(WeightTable, APositiveWeightIsNeverLost) {
  const double tiny = std::numeric_limits<double>::denorm_min();
  const WeightTable table(std::vector<double>{tiny, std::numeric_limits<double>::max(), tiny});
  EXPECT_EQ(table.find(0), 0);
  EXPECT_EQ(table.find(1), 1);
  EXPECT_EQ(table.find(table.total() - 1), 2);
}

TEST(WeightTable, TheTotalStaysBelowItsBound) {
  for (const std::size_t size : {1u, 2u, 3u, 1000u, 65536u, 65537u}) {
    const WeightTable table(std::vector<double>(size, 0.999999));
    EXPECT_LT(table.total(), std::uint64_t{1} << 62) << size;
    EXPECT_GT(table.total(), std::uint64_t{1} << 59) << size;
  }
}

TEST(WeightTable, RefusesWhatIsNoWeight) {
  EXPECT_NE(refusal({1, -0.5}).find("weight 1: expected a finite number, 0 or more, got -0.5"),
            std::string::npos);
  EXPECT_NE(refusal({std::numeric_limits<double>::quiet_NaN()}).find("weight 0"), std::string::npos);
  EXPECT_NE(refusal({1, std::numeric_limits<double>::infinity()}).find("weight 1"), std::string::npos);
  EXPECT_NE(refusal({0, 0, 0}).find("got 3 zeros"), std::string::npos);
  EXPECT_NE(refusal({}).find("got none"), std::string::npos);
  EXPECT_EQ(refusal({0, 1e-320}), "accepted");
}

}  // namespace
}  // namespace lockstep::loader
