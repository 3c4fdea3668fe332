#pragma once
// The negative log-likelihood of a target class a row, from log-probabilities or straight from logits,
// forward and backward. C++17. README.md holds the order of operations. The loss of a global batch is the
// fold of its rows' losses: row_sum_fold in lockstep/row_sum/row_sum.h.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kCrossEntropySpecVersion = 2;

/// What decides the loss of rows, beside their scores. A target is a class 0 … classes - 1, or ignore_index:
/// then the row's loss and gradient are +0.
template <class T>
struct BasicClassTargets {
  const std::int64_t* targets = nullptr;  ///< int64 [rows]
  std::int64_t rows = 0, classes = 0;
  const T* weight = nullptr;  ///< [classes]; null: 1 for every class
  std::int64_t ignore_index = -100;
  T label_smoothing = 0;  ///< 0 … 1: the part of a row's loss that is spread over all classes
};
using ClassTargets = BasicClassTargets<float>;
using ClassTargets64 = BasicClassTargets<double>;

/// The gradient with respect to each row's loss: [rows], or one number for all rows.
template <class T>
struct BasicRowGradients {
  const T* rows = nullptr;
  T all = 1;  ///< where rows is null
};
using RowGradients = BasicRowGradients<float>;
using RowGradients64 = BasicRowGradients<double>;

// Scores and their gradients are float32 [rows, classes], contiguous; everything of one call lies on one
// device. A gradient may be written over the logits of the same call; nothing else may overlap a result.
// Losses are those of the sum over rows: a mean is a gradient of loss_scale(count) for every row, and a loss
// of total / count.
//
// Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument)
// for a negative extent, a target that is neither a class nor ignored, label smoothing outside 0 … 1, or a
// null pointer where there are elements; Error(unsupported) for Device::cuda where this build or this machine
// has no CUDA.
//
// On a CUDA device a call returns before the work is done, on the cudaStream_t `stream` (null: the default
// stream), and the host does not read the targets: one that is neither a class nor ignored makes its row's
// loss, gradient and weight NaN.

/// loss[r] of each row, float32 [rows], from log-probabilities.
void nll(const float* log_probabilities, const ClassTargets& targets, float* loss,
         Device device = Device::cpu, void* stream = nullptr);

/// The gradient with respect to the log-probabilities.
void nll_backward(const ClassTargets& targets, const RowGradients& gradients,
                  float* log_probabilities_gradient, Device device = Device::cpu, void* stream = nullptr);

/// loss[r] of each row from logits, with the bits of log_softmax and nll. What cross_entropy_backward needs
/// is left in row_max and row_log_sum, float32 [rows] each: log-probability j of row r is (x[r, j] -
/// row_max[r]) - row_log_sum[r].
void cross_entropy(const float* logits, const ClassTargets& targets, float* loss, float* row_max,
                   float* row_log_sum, Device device = Device::cpu, void* stream = nullptr);

/// The gradient with respect to the logits, with the bits of nll_backward and log_softmax_backward.
void cross_entropy_backward(const float* logits, const ClassTargets& targets, const float* row_max,
                            const float* row_log_sum, const RowGradients& gradients, float* logits_gradient,
                            Device device = Device::cpu, void* stream = nullptr);

/// The rows that count: those whose target is not ignored. Checks every target. The targets lie on the CPU.
std::int64_t counted_targets(const ClassTargets& targets);

/// weights[r]: weight[targets[r]], 1 without weights, +0 for an ignored row. Their fold is what a weighted
/// mean divides by.
void target_weights(const ClassTargets& targets, float* weights, Device device = Device::cpu,
                    void* stream = nullptr);

/// 1 / count, rounded once: the gradient of each row's loss in a mean over the global batch (contracts,
/// section 4). Throws Error(invalid_argument) where count is not above 0.
float loss_scale(std::int64_t count);

// All but loss_scale in float64 too, in the same order: all float memory and numbers are double. For tests
// such as torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, micro_batch, threads; not
// the same bits on every system, since the elementary functions are libm's. Errors as above; Device::cuda is
// unsupported.

void nll(const double* log_probabilities, const ClassTargets64& targets, double* loss,
         Device device = Device::cpu, void* stream = nullptr);
void nll_backward(const ClassTargets64& targets, const RowGradients64& gradients,
                  double* log_probabilities_gradient, Device device = Device::cpu, void* stream = nullptr);
void cross_entropy(const double* logits, const ClassTargets64& targets, double* loss, double* row_max,
                   double* row_log_sum, Device device = Device::cpu, void* stream = nullptr);
void cross_entropy_backward(const double* logits, const ClassTargets64& targets, const double* row_max,
                            const double* row_log_sum, const RowGradients64& gradients,
                            double* logits_gradient, Device device = Device::cpu, void* stream = nullptr);
std::int64_t counted_targets(const ClassTargets64& targets);
void target_weights(const ClassTargets64& targets, double* weights, Device device = Device::cpu,
                    void* stream = nullptr);

}  // namespace lockstep
