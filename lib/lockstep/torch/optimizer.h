#pragma once
// torch.optim's SGD, Adam and AdamW, and the clipping of gradients, in lockstep's arithmetic (contracts,
// section 9; ../optimizer/README.md): the same bits on every processor, for any number of threads, and one
// pass over memory a step.
//
// Options, state, state's names, checkpoints and parameter groups are LibTorch's own, since these are its
// classes with another step(). They may replace each other in the middle of a run, and
// TrainingRecorder::record_optimizer takes them.

#include <ATen/core/Tensor.h>
#include <vector>

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

namespace lockstep {

// step() takes parameters and gradients that are float32, on the CPU or a CUDA device; a parameter without a
// gradient is left as it is, a gradient that is not contiguous is copied first. On a CUDA device a group's
// parameters that have made as many steps are one launch, and step() returns before the work is done.
// Learning rate and step number are read by the host, so a CUDA graph would repeat those it was captured
// with. Throws Error(unsupported) for another dtype, device or layout, Error(invalid_argument) for a
// parameter that is not contiguous and for options that torch refuses too. No parameter is written then.

class Sgd final : public torch::optim::SGD {
 public:
  using torch::optim::SGD::SGD;
  at::Tensor step(LossClosure closure = nullptr) override;
};

/// With weight_decay as an L2 term, as torch::optim::Adam.
class Adam final : public torch::optim::Adam {
 public:
  using torch::optim::Adam::Adam;
  at::Tensor step(LossClosure closure = nullptr) override;
};

/// With decoupled weight decay, as torch::optim::AdamW.
class AdamW final : public torch::optim::AdamW {
 public:
  using torch::optim::AdamW::AdamW;
  at::Tensor step(LossClosure closure = nullptr) override;
};

/// torch::nn::utils::clip_grad_norm_ for the 2-norm: multiplies every gradient with
/// min(1, max_norm / (norm + 1e-6)) and returns the norm from before, a float32 scalar where the gradients
/// lie, for which nobody has waited. The norm is taken over parameters in the order given, which should be
/// the order of registration; those without a gradient count nothing. Throws as step(), and
/// Error(invalid_argument) for gradients on two devices, and where max_norm is NaN or below 0.
at::Tensor clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm);

/// The same, and waits for the norm.
float clip_gradient_norm(const std::vector<at::Tensor>& parameters, double max_norm);

}  // namespace lockstep
