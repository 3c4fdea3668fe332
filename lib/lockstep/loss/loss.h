#pragma once
// Losses of single elements, forward and backward, and the sum of a row's. C++17. README.md holds the
// formulas. The loss of a global batch is the fold of its rows' losses: row_sum_fold in
// lockstep/row_sum/row_sum.h.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kLossSpecVersion = 2;

/// [rows, features]; or one number for all elements.
template <class T>
struct BasicLossGradient {
  const T* elements = nullptr;
  T all = 1;  ///< where elements is null
};
using LossGradient = BasicLossGradient<float>;
using LossGradient64 = BasicLossGradient<double>;

/// Weights of binary cross-entropy; null stands for 1.
template <class T>
struct BasicBinaryWeights {
  const T* elements = nullptr;  ///< [rows, features]: of each element's loss
  const T* positive = nullptr;  ///< [features]: of the positive class
};
using BinaryWeights = BasicBinaryWeights<float>;
using BinaryWeights64 = BasicBinaryWeights<double>;

/// Rows of `features` elements, contiguous.
struct LossExtents {
  std::int64_t rows = 0, features = 1;
};

// All arrays are float32 [rows, features] in `device`'s memory, unless said otherwise. A result may be any
// operand of its own shape, but must not overlap one otherwise. `stream` is the cudaStream_t to work on when
// the memory is a CUDA device's, unused on the CPU; a call returns before a CUDA device's work is done. NaN
// gives NaN; subnormals are kept, for a caller that flushes them too.
//
// Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument)
// for a negative extent, or a null pointer where there are elements; Error(unsupported) for Device::cuda in a
// build without CUDA, or without a device.

/// (x - target)^2.
void mse(const float* x, const float* target, float* loss, const LossExtents& extents,
         Device device = Device::cpu, void* stream = nullptr);
/// The gradient with respect to x; that with respect to target is its negative. So for l1.
void mse_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                  const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);

/// |x - target|.
void l1(const float* x, const float* target, float* loss, const LossExtents& extents,
        Device device = Device::cpu, void* stream = nullptr);
void l1_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                 const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);

/// Binary cross-entropy of sigmoid(x), from the logit x.
void bce_with_logits(const float* x, const float* target, const BinaryWeights& weights, float* loss,
                     const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);
void bce_with_logits_backward(const float* x, const float* target, const BinaryWeights& weights,
                              const LossGradient& gradient, float* dx, const LossExtents& extents,
                              Device device = Device::cpu, void* stream = nullptr);

/// max(0, margin - target (first - second)), with targets of 1 and -1.
void margin_ranking(const float* first, const float* second, const float* target, float margin, float* loss,
                    const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);
/// The gradient with respect to first; that with respect to second is its negative.
void margin_ranking_backward(const float* first, const float* second, const float* target, float margin,
                             const LossGradient& gradient, float* dfirst, const LossExtents& extents,
                             Device device = Device::cpu, void* stream = nullptr);

/// rows_loss[r], float32 [rows]: the lane sum of loss[r, 0 … features - 1] (contracts, section 5).
void row_losses(const float* loss, float* rows_loss, const LossExtents& extents, Device device = Device::cpu,
                void* stream = nullptr);

// The same in float64, by the same formulas: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads; not the same bits on
// every system, since the elementary functions are libm's. Errors as above, and Error(unsupported) for
// Device::cuda.

void mse(const double* x, const double* target, double* loss, const LossExtents& extents,
         Device device = Device::cpu, void* stream = nullptr);
void mse_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                  const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);
void l1(const double* x, const double* target, double* loss, const LossExtents& extents,
        Device device = Device::cpu, void* stream = nullptr);
void l1_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                 const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);
void bce_with_logits(const double* x, const double* target, const BinaryWeights64& weights, double* loss,
                     const LossExtents& extents, Device device = Device::cpu, void* stream = nullptr);
void bce_with_logits_backward(const double* x, const double* target, const BinaryWeights64& weights,
                              const LossGradient64& gradient, double* dx, const LossExtents& extents,
                              Device device = Device::cpu, void* stream = nullptr);
void margin_ranking(const double* first, const double* second, const double* target, double margin,
                    double* loss, const LossExtents& extents, Device device = Device::cpu,
                    void* stream = nullptr);
void margin_ranking_backward(const double* first, const double* second, const double* target, double margin,
                             const LossGradient64& gradient, double* dfirst, const LossExtents& extents,
                             Device device = Device::cpu, void* stream = nullptr);
void row_losses(const double* loss, double* rows_loss, const LossExtents& extents,
                Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
