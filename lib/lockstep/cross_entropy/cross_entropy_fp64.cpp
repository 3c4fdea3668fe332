// The double forms of cross-entropy: the references of this room and of softmax, one row after the other.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "lockstep/base/float_mode.h"
#include "lockstep/cross_entropy/cross_entropy_internal.h"
#include "lockstep/cross_entropy/cross_entropy_ref.h"
#include "lockstep/softmax/softmax_ref.h"

namespace lockstep::cross_entropy_internal {
namespace {

using Row = std::vector<double>;

cross_entropy_ref::Targets<double> reference_targets(const ClassTargets64& of) {
  const Row weight = of.weight == nullptr ? Row() : Row(of.weight, of.weight + of.classes);
  return {{of.targets, of.targets + of.rows}, weight, of.ignore_index, of.label_smoothing};
}

Row row_of(const double* scores, std::int64_t r, std::int64_t classes) {
  return Row(scores + r * classes, scores + (r + 1) * classes);
}

Row log_probabilities(Row logits, double row_max, double row_log_sum) {
  for (double& x : logits) x = (x - row_max) - row_log_sum;
  return logits;
}

}  // namespace

void forward_cpu(const ClassTargets64& targets, const Forward64& to) {
  const FloatMode mode;
  const auto of = reference_targets(targets);
  for (std::int64_t r = 0; r < targets.rows; ++r) {
    Row y = row_of(to.scores, r, targets.classes);
    if (to.row_max != nullptr) {
      to.row_max[r] = softmax_ref::largest(y);
      to.row_log_sum[r] = softmax_ref::logarithm(softmax_ref::sum_of_exponentials(y, to.row_max[r]));
      y = log_probabilities(y, to.row_max[r], to.row_log_sum[r]);
    }
    to.loss[r] = cross_entropy_ref::nll_row(y, of, static_cast<std::size_t>(r));
  }
}

void backward_cpu(const ClassTargets64& targets, const Backward64& from) {
  const FloatMode mode;
  const auto of = reference_targets(targets);
  for (std::int64_t r = 0; r < targets.rows; ++r) {
    const double gradient = from.gradients.rows == nullptr ? from.gradients.all : from.gradients.rows[r];
    Row dx = cross_entropy_ref::nll_backward_row(static_cast<std::size_t>(targets.classes), of,
                                                 static_cast<std::size_t>(r), gradient);
    if (from.logits != nullptr)
      dx = softmax_ref::log_softmax_backward_slice(
          dx,
          log_probabilities(row_of(from.logits, r, targets.classes), from.row_max[r], from.row_log_sum[r]));
    std::copy(dx.begin(), dx.end(), from.result + r * targets.classes);
  }
}

}  // namespace lockstep::cross_entropy_internal
