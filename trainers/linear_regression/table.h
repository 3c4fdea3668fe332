#pragma once
// The data of a linear regression, and what the right answer is.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

/// y = x · weights + bias, as known or as least squares finds it.
struct LinearTruth {
  std::vector<double> weights;
  double bias = 0;
};

struct RegressionTable {
  std::string name;
  std::int64_t rows = 0, columns = 0;
  std::vector<float> x;  ///< [rows, columns]
  std::vector<float> y;  ///< [rows]
  LinearTruth truth;
  std::string truth_name;  ///< "truth", "least squares"
};

/// 1,000 rows of y = 2 x0 - 3.4 x1 + 4.2 plus noise of deviation 0.01. x and noise are sums of twelve uniform
/// draws minus 6 (mean 0, deviation 1): additions of multiples of 2^-53 only, so that every machine makes the
/// same table.
RegressionTable make_synthetic(std::uint64_t seed);

/// The diabetes table with standardised columns and progression; its truth is the least-squares solution.
RegressionTable read_diabetes(const std::filesystem::path& file);

/// Solves the normal equations in double by Cholesky's decomposition. Throws Error(invalid_argument) for
/// columns that depend on each other.
LinearTruth least_squares(const RegressionTable& table);

/// Fields x float32 [columns] and y float32 [].
loader::DatasetPtr dataset_of(const RegressionTable& table);

}  // namespace lockstep::trainers
