#include "common/schedule.h"

#include <cmath>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/math/math_inl.h"

namespace lockstep::trainers {
namespace {

constexpr double kPi = 3.14159265358979323846;

void check_rate(const char* name, double rate) {
  if (!std::isfinite(rate) || rate < 0)
    fail(ErrorCode::invalid_argument,
         {"schedule", name, "a finite number, 0 or more", fmt::to_string(rate), {}});
}

void check_steps(const char* name, std::int64_t steps) {
  if (steps < 0)
    fail(ErrorCode::invalid_argument, {"schedule", name, "0 or more", std::to_string(steps), {}});
}

}  // namespace

double Schedule::at(std::int64_t step) const {
  if (step < warmup_steps)
    return learning_rate * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (decay_steps == 0) return learning_rate;
  if (step >= decay_steps) return final_rate;
  const double part =
      static_cast<double>(step - warmup_steps) / static_cast<double>(decay_steps - warmup_steps);
  const double cosine = math::cos(static_cast<float>(kPi * part));
  return final_rate + (learning_rate - final_rate) * (1.0 + cosine) * 0.5;
}

void Schedule::check() const {
  check_rate("learning_rate", learning_rate);
  check_rate("final_rate", final_rate);
  check_steps("warmup_steps", warmup_steps);
  check_steps("decay_steps", decay_steps);
}

}  // namespace lockstep::trainers
