#include "lockstep_loader/order/weight_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

constexpr int kTotalBits = 62;

std::uint64_t as_integer(double weight, int shift) {
  if (weight == 0) return 0;
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ldexp(weight, shift)));
}

}  // namespace

void check_weights(std::span<const double> weights) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (std::isfinite(weights[i]) && weights[i] >= 0) continue;
    fail(ErrorCode::invalid_argument, {"sampler", "weight " + std::to_string(i), "a finite number, 0 or more",
                                       std::to_string(weights[i]), "Check how the weights were computed"});
  }
  const auto positive =
      std::count_if(weights.begin(), weights.end(), [](double weight) { return weight > 0; });
  if (positive == 0) {
    fail(ErrorCode::invalid_argument, {"sampler",
                                       "weights",
                                       "at least one above 0",
                                       weights.empty() ? "none" : std::to_string(weights.size()) + " zeros",
                                       {}});
  }
}

WeightTable::WeightTable(std::span<const double> weights) {
  check_weights(weights);
  int exponent = 0;
  std::frexp(*std::max_element(weights.begin(), weights.end()), &exponent);
  const int shift = kTotalBits - std::bit_width(weights.size() - 1) - exponent;
  sums_.reserve(weights.size());
  std::uint64_t sum = 0;
  for (const double weight : weights) sums_.push_back(sum += as_integer(weight, shift));
}

std::int64_t WeightTable::find(std::uint64_t draw) const {
  return std::upper_bound(sums_.begin(), sums_.end(), draw) - sums_.begin();
}

}  // namespace lockstep::loader
