#include "table.h"

#include <cmath>

#include <fmt/format.h>

#include "common/data.h"
#include "lockstep/base/error.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/dataset/in_memory.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kSyntheticRows = 1000;
constexpr double kNoise = 0.01;

double bell(random::Generator& generator) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += generator.uniform_double();
  return sum;
}

/// The normal equations of [x, 1]: a symmetric matrix and a right-hand side.
struct NormalEquations {
  std::size_t size;
  std::vector<double> matrix, right;

  explicit NormalEquations(std::size_t n) : size(n), matrix(n * n), right(n) {}
  double& at(std::size_t row, std::size_t column) { return matrix[row * size + column]; }
};

NormalEquations normal_equations(const RegressionTable& table) {
  const auto columns = static_cast<std::size_t>(table.columns);
  NormalEquations equations(columns + 1);
  std::vector<double> row(columns + 1, 1.0);
  for (std::size_t i = 0; i < table.y.size(); ++i) {
    for (std::size_t c = 0; c < columns; ++c) row[c] = table.x[i * columns + c];
    for (std::size_t a = 0; a <= columns; ++a) {
      for (std::size_t b = 0; b <= columns; ++b) equations.at(a, b) += row[a] * row[b];
      equations.right[a] += row[a] * table.y[i];
    }
  }
  return equations;
}

void decompose(NormalEquations& equations) {
  for (std::size_t j = 0; j < equations.size; ++j) {
    for (std::size_t i = j; i < equations.size; ++i) {
      double sum = equations.at(i, j);
      for (std::size_t k = 0; k < j; ++k) sum -= equations.at(i, k) * equations.at(j, k);
      if (i == j && !(sum > 0))
        fail(ErrorCode::invalid_argument,
             {"least squares", fmt::format("column {}", j), "columns that are independent",
              "one that the others determine", "Leave it out"});
      equations.at(i, j) = i == j ? std::sqrt(sum) : sum / equations.at(j, j);
    }
  }
}

std::vector<double> substitute(NormalEquations& equations) {
  std::vector<double> solution = equations.right;
  for (std::size_t i = 0; i < equations.size; ++i) {
    for (std::size_t k = 0; k < i; ++k) solution[i] -= equations.at(i, k) * solution[k];
    solution[i] /= equations.at(i, i);
  }
  for (std::size_t i = equations.size; i-- > 0;) {
    for (std::size_t k = i + 1; k < equations.size; ++k) solution[i] -= equations.at(k, i) * solution[k];
    solution[i] /= equations.at(i, i);
  }
  return solution;
}

}  // namespace

RegressionTable make_synthetic(std::uint64_t seed) {
  RegressionTable table{"synthetic", kSyntheticRows, 2, {}, {}, {{2.0, -3.4}, 4.2}, "truth"};
  for (std::int64_t row = 0; row < table.rows; ++row) {
    random::Generator generator({seed, 0, row, 0}, 0);
    double y = table.truth.bias;
    for (double weight : table.truth.weights) {
      const double x = bell(generator);
      table.x.push_back(static_cast<float>(x));
      y += weight * x;
    }
    table.y.push_back(static_cast<float>(y + kNoise * bell(generator)));
  }
  return table;
}

RegressionTable read_diabetes(const std::filesystem::path& file) {
  const PatientTable patients = read_patients(file);
  const auto columns = static_cast<std::int64_t>(patients.names.size());
  RegressionTable table{"diabetes",
                        patients.patients(),
                        columns,
                        standardised(patients.columns, columns),
                        standardised(patients.progression, 1),
                        {},
                        "least squares"};
  table.truth = least_squares(table);
  return table;
}

LinearTruth least_squares(const RegressionTable& table) {
  NormalEquations equations = normal_equations(table);
  decompose(equations);
  std::vector<double> solution = substitute(equations);
  const double bias = solution.back();
  solution.pop_back();
  return {std::move(solution), bias};
}

loader::DatasetPtr dataset_of(const RegressionTable& table) {
  return loader::InMemoryDataset::copy_of(
      {{"x", {table.x.data(), DType::float32, {table.rows, table.columns}}},
       {"y", {table.y.data(), DType::float32, {table.rows}}}},
      table.name);
}

}  // namespace lockstep::trainers
