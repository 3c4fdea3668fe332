#include <algorithm>
#include <cmath>

#include "lockstep/cross_entropy/cross_entropy_inl.h"
#include "lockstep/cross_entropy/cross_entropy_internal.h"
#include "lockstep/order/lanes_cuda_internal.h"
#include "lockstep/softmax/softmax_inl.h"

namespace lockstep::cross_entropy_internal {
namespace {

/// A row's target. The host has not read it, so it may be neither a class nor ignored: then the row is NaN.
struct Target {
  std::int64_t index;
  bool counts, is_class;

  __device__ Target(const ClassTargets& of, std::int64_t row)
      : index(of.targets[row]),
        counts(index != of.ignore_index),
        is_class(counts && index >= 0 && index < of.classes) {}
};

__device__ float weight_of(const ClassTargets& of, std::int64_t j) {
  return of.weight == nullptr ? 1.0f : of.weight[j];
}

/// `sum` is the lane sum of weight * log-probability, where there is label smoothing.
__device__ float row_loss(const ClassTargets& of, const Target& target, float log_probability, float sum) {
  if (!target.counts) return 0.0f;
  if (!target.is_class) return math::internal::quiet_nan<float>();
  const float plain = class_loss(weight_of(of, target.index), log_probability);
  if (of.label_smoothing == 0) return plain;
  return smoothed_loss(shares_of(of.label_smoothing, of.classes), plain, sum);
}

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }  // a NaN is passed over
};

// Order: as softmax's; then the sum by lanes of weight * log-probability, where there is label smoothing.
template <class Form, bool fused>
__global__ void __launch_bounds__(Form::kBlockThreads) loss_rows(ClassTargets of,  // [rows] of classes
                                                                 Forward to,       // [rows, classes], [rows]
                                                                 order::Slices rows)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const auto scores =
        order::elements_of<Form>(team, of.classes, [=](std::int64_t j) { return to.scores[row(j)]; });
    order::prefetch_next<Form>(team, row, rows, to.scores);
    float m = -HUGE_VALF, logarithm = 0;
    if constexpr (fused) {
      scores.for_each([&](std::int64_t, float score) { m = fmaxf(score, m); });
      m = team.tree(m, Larger());
      const auto add = [=](float lane, std::int64_t, float score) {
        return lane + softmax_internal::exponential_term(score, m);
      };
      logarithm = math::log(scores.reduce(0.0f, add, order::AddLanes()));
    }
    const auto log_probability = [=](float score) {
      return fused ? softmax_internal::log_probability(score, m, logarithm) : score;
    };
    float sum = 0;
    if (of.label_smoothing != 0) {
      const auto add = [=](float lane, std::int64_t j, float score) {
        const float y = log_probability(score);
        return of.weight == nullptr ? lane + y : std::fma(of.weight[j], y, lane);
      };
      sum = scores.reduce(0.0f, add, order::AddLanes());
    }
    if (!row.counts || team.rank() != 0) return;
    if constexpr (fused) {
      to.row_max[row.index] = m;
      to.row_log_sum[row.index] = logarithm;
    }
    const Target target(of, row.index);
    const float at_target = target.is_class ? log_probability(to.scores[row(target.index)]) : 0.0f;
    to.loss[row.index] = row_loss(of, target, at_target, sum);
  });
}

/// Calls visit(row) for the rows of a thread.
template <class Visit>
__device__ void for_each_row(std::int64_t rows, Visit visit) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t r = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; r < rows; r += step) visit(r);
}

// Each row alone.
__global__ void plain_nll_rows(ClassTargets of, Forward to) {
  for_each_row(of.rows, [&](std::int64_t r) {
    const Target target(of, r);
    to.loss[r] =
        row_loss(of, target, target.is_class ? to.scores[r * of.classes + target.index] : 0.0f, 0.0f);
  });
}

// Each row alone.
__global__ void target_weight_rows(ClassTargets of, float* weights) {
  for_each_row(of.rows, [&](std::int64_t r) {
    const Target target(of, r);
    weights[r] = !target.counts    ? 0.0f
                 : target.is_class ? weight_of(of, target.index)
                                   : math::internal::quiet_nan<float>();
  });
}

/// A row's gradient with respect to its log-probabilities.
class LogProbabilityGradient {
 public:
  __device__ LogProbabilityGradient(const ClassTargets& of, const Target& target, float row_gradient)
      : weight_(of.weight), target_(target.index), row_gradient_(row_gradient) {
    if (!target.counts) {
      target_ = -1;
    } else if (!target.is_class) {
      target_ = -1;
      rest_ = Rest::nan;
    } else {
      const bool smoothed = of.label_smoothing != 0;
      const Shares shares = smoothed ? shares_of(of.label_smoothing, of.classes) : Shares();
      const float weight = weight_of(of, target_);
      at_target_ = class_gradient(smoothed ? share_of_target(shares, weight) : weight, row_gradient);
      every_ = shares.every;
      rest_ = smoothed ? Rest::shared : Rest::zero;
    }
  }

  __device__ float at_target() const { return at_target_; }

  __device__ float operator()(std::int64_t j) const {
    if (j == target_) return at_target_;
    if (rest_ == Rest::zero) return 0.0f;
    if (rest_ == Rest::nan) return math::internal::quiet_nan<float>();
    return class_gradient(weight_ == nullptr ? every_ : every_ * weight_[j], row_gradient_);
  }

 private:
  enum class Rest { zero, shared, nan };

  const float* weight_;
  std::int64_t target_;
  float row_gradient_, at_target_ = 0, every_ = 0;
  Rest rest_ = Rest::zero;
};

// Order: the sum by lanes of dy, ascending, where there is label smoothing (without it one dy alone is not
// zero); each element alone.
template <class Form, bool fused>
__global__ void __launch_bounds__(Form::kBlockThreads)
    gradient_rows(ClassTargets of,     // [rows] of classes
                  Backward from,       // [rows, classes], [rows]
                  order::Slices rows)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const float row_gradient =
        from.gradients.rows == nullptr ? from.gradients.all : from.gradients.rows[row.index];
    const LogProbabilityGradient dy(of, Target(of, row.index), row_gradient);
    const auto logits = order::elements_of<Form>(
        team, of.classes, [=](std::int64_t j) { return fused ? from.logits[row(j)] : 0.0f; });
    if constexpr (fused) {
      const float m = from.row_max[row.index], logarithm = from.row_log_sum[row.index];
      float sum = 0.0f + dy.at_target();
      if (of.label_smoothing != 0) {
        const auto add = [=](float lane, std::int64_t j, float) { return lane + dy(j); };
        sum = logits.reduce(0.0f, add, order::AddLanes());
      }
      if (!row.counts) return;
      logits.for_each([&](std::int64_t j, float x) {
        const float y = softmax_internal::log_probability(x, m, logarithm);
        from.result[row(j)] = softmax_internal::log_softmax_gradient(dy(j), y, sum);
      });
    } else if (row.counts) {
      logits.for_each([&](std::int64_t j, float) { from.result[row(j)] = dy(j); });
    }
  });
}

constexpr int kRowThreads = 256;

unsigned row_blocks(std::int64_t rows) {
  constexpr std::int64_t kMostBlocks = 1 << 20;
  return static_cast<unsigned>(std::min((rows + kRowThreads - 1) / kRowThreads, kMostBlocks));
}

template <bool fused>
void forward_rows(const ClassTargets& of, const Forward& to, void* stream) {
  const order::Slices rows{of.rows, of.classes, 1};
  order::with_row_form<float>(of.classes, [&](auto form) {
    order::launch_slices(form, "cross_entropy: loss_rows", loss_rows<decltype(form), fused>, rows, stream, of,
                         to, rows);
  });
}

template <bool fused>
void backward_rows(const ClassTargets& of, const Backward& from, void* stream) {
  const order::Slices rows{of.rows, of.classes, 1};
  order::with_row_form(of.classes, [&](auto form) {
    order::launch_slices(form, "cross_entropy: gradient_rows", gradient_rows<decltype(form), fused>, rows,
                         stream, of, from, rows);
  });
}

}  // namespace

void forward_cuda(const ClassTargets& targets, const Forward& forward, void* stream) {
  if (targets.rows == 0) return;
  if (forward.row_max != nullptr) return forward_rows<true>(targets, forward, stream);
  if (targets.label_smoothing != 0) return forward_rows<false>(targets, forward, stream);
  plain_nll_rows<<<row_blocks(targets.rows), kRowThreads, 0, static_cast<cudaStream_t>(stream)>>>(targets,
                                                                                                  forward);
  check_launch("nll: plain_nll_rows");
}

void backward_cuda(const ClassTargets& targets, const Backward& backward, void* stream) {
  if (targets.rows == 0) return;
  (backward.logits != nullptr ? backward_rows<true> : backward_rows<false>)(targets, backward, stream);
}

void target_weights_cuda(const ClassTargets& targets, float* weights, void* stream) {
  if (targets.rows == 0) return;
  target_weight_rows<<<row_blocks(targets.rows), kRowThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      targets, weights);
  check_launch("target_weights: target_weight_rows");
}

}  // namespace lockstep::cross_entropy_internal
