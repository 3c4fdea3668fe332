// The double forms of the functions: those of <cmath>, one element after the other.

#include <cmath>

#include "lockstep/math/math_internal.h"

namespace lockstep::math {

void run_cpu(Function function, const double* x, double* y, std::int64_t count) {
  const auto map = [&](auto of) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = of(x[i]);
  };
  switch (function) {
    case Function::exp:
      return map([](double value) { return std::exp(value); });
    case Function::exp2:
      return map([](double value) { return std::exp2(value); });
    case Function::expm1:
      return map([](double value) { return std::expm1(value); });
    case Function::log:
      return map([](double value) { return std::log(value); });
    case Function::log2:
      return map([](double value) { return std::log2(value); });
    case Function::log1p:
      return map([](double value) { return std::log1p(value); });
    case Function::tanh:
      return map([](double value) { return std::tanh(value); });
    case Function::erf:
      return map([](double value) { return std::erf(value); });
    case Function::sigmoid:
      return map([](double value) { return 1 / (1 + std::exp(-value)); });
    case Function::sqrt:
      return map([](double value) { return std::sqrt(value); });
    case Function::rsqrt:
      return map([](double value) { return 1 / std::sqrt(value); });
    case Function::sin:
      return map([](double value) { return std::sin(value); });
    case Function::cos:
      return map([](double value) { return std::cos(value); });
  }
}

void pow_cpu(const double* x, const double* y, double* z, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) z[i] = std::pow(x[i], y[i]);
}

}  // namespace lockstep::math
