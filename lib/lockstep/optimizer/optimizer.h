#pragma once
// Optimizer steps, the norm of all gradients and clipping (contracts, section 9). Elementwise, so a step has
// the same bits however its parameters are grouped or shared among threads; and each expression is one that
// torch.optim's own calls make through `elementwise`. README.md holds the specification.

#include <cstdint>
#include <span>

#include "lockstep/base/view.h"
#include "lockstep/optimizer/parameters.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kOptimizerSpecVersion = 1;

/// torch.optim.SGD's hyperparameters, by torch's names.
struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;  ///< needs momentum, and no dampening
  bool maximize = false;
};

/// torch.optim.Adam's hyperparameters, by torch's names.
struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled_weight_decay = false;  ///< AdamW
  bool amsgrad = false;
  bool maximize = false;
};

// All of the below: memory lies on `device`; `stream` is the cudaStream_t to work on (null: the default
// stream), unused on the CPU. NaN and infinities in a gradient go where the expressions take them.
// Guarantees: run_to_run, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument) for a
// hyperparameter that torch refuses too or that is not finite, a negative count, a null array with count
// above 0; Error(unsupported) for Device::cuda in a build without CUDA. Nothing is written when they throw.
// On a CUDA device a call returns before the work is done; the lists themselves lie in the host's memory, and
// are read before it returns.

/// One SGD step of each parameter, in place.
void sgd(std::span<const SgdParameter> parameters, const SgdOptions& options, Device device = Device::cpu,
         void* stream = nullptr);

/// One step of Adam or AdamW of each parameter, in place. `step` counts from 1: the parameters' number of
/// steps with this one.
void adam(std::span<const AdamParameter> parameters, const AdamOptions& options, std::int64_t step,
          Device device = Device::cpu, void* stream = nullptr);

/// 1 - beta^step, the power by repeated multiplication, in double. Not rounded to float32. `beta` is in [0,
/// 1), `step` 0 or more. At most log(2^-60) / log(beta) multiplications: what follows cannot be seen
/// beside 1.
double bias_correction(double beta, std::int64_t step);

/// The Euclidean norm of all gradients as one vector, float32: squares of each in blocks of 1,024 elements by
/// lanes, block partials by lanes again until one is left; then one chain over the gradients in the order
/// given, one sqrt.
float gradient_norm(std::span<const std::span<const float>> gradients, Device device = Device::cpu,
                    void* stream = nullptr);

/// The same, to `norm`, one float on `device`. `scratch`: gradient_norm_scratch_elements(gradients) floats on
/// a CUDA device, overwritten; unused on the CPU. The form above is refused there: it would have to wait.
void gradient_norm(std::span<const std::span<const float>> gradients, float* norm, float* scratch,
                   Device device, void* stream = nullptr);

/// About a thousandth of the gradients' elements.
std::int64_t gradient_norm_scratch_elements(std::span<const std::span<const float>> gradients);

/// min(1, max_norm / (norm + 1e-6)), three float32 operations. NaN for a NaN norm, 0 for an infinite one.
/// Throws Error(invalid_argument) where max_norm is NaN or below 0.
float clip_factor(float norm, float max_norm);

/// torch.nn.utils.clip_grad_norm_: multiplies every gradient with clip_factor(gradient_norm(gradients),
/// max_norm), also where that is 1, and returns the norm from before.
float clip_gradient_norm(std::span<const std::span<float>> gradients, float max_norm,
                         Device device = Device::cpu, void* stream = nullptr);

/// The same, with the norm from before in `norm`, and scratch, as gradient_norm has them.
void clip_gradient_norm(std::span<const std::span<float>> gradients, float max_norm, float* norm,
                        float* scratch, Device device, void* stream = nullptr);

}  // namespace lockstep
