#pragma once
// The learning rate as a function of the step.

#include <cstdint>

namespace lockstep::trainers {

/// Linear warm-up, then half a cosine down (Loshchilov and Hutter, SGDR, 2017, without restarts), then
/// constant. In double, from IEEE operations and lockstep's own cosine, so the same on every processor.
struct Schedule {
  double learning_rate = 1e-3;  ///< the largest
  double final_rate = 1e-4;     ///< from decay_steps on
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps =
      0;  ///< the step at which final_rate is reached; 0: the rate stays at its largest

  /// Of the update of step `step`, from 0:
  ///   step < warmup_steps   learning_rate · (step + 1) / warmup_steps
  ///   step < decay_steps    final_rate + (learning_rate - final_rate) · (1 + cos(π · p)) / 2 with
  ///                         p = (step - warmup_steps) / (decay_steps - warmup_steps)
  ///   else                  final_rate
  double at(std::int64_t step) const;
  /// Throws Error(invalid_argument) for rates that are negative or not finite and for negative steps.
  void check() const;
};

}  // namespace lockstep::trainers
