#pragma once
// For the tests of operations in the mode: one gradient, bit for bit, whatever the batch is cut into.

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep::one_gradient {

using Cuts = std::vector<std::int64_t>;  ///< samples of each micro-batch
using Loss = std::function<at::Tensor(std::int64_t first, std::int64_t samples)>;

constexpr std::int64_t kSamples = 23;
inline const std::vector<Cuts> kCuts = {{1, 22}, {11, 12}, {7, 3, 13}, Cuts(kSamples, 1)};

inline std::string digest(const at::Tensor& tensor) { return digest_of(tensor.detach().contiguous()).hex(); }

inline std::vector<std::string> take_gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<std::string> digests;
  for (at::Tensor parameter : parameters) {
    digests.push_back(parameter.grad().defined() ? digest(parameter.grad()) : "none");
    parameter.mutable_grad() = at::Tensor();
  }
  return digests;
}

inline std::vector<std::string> whole(const std::vector<at::Tensor>& parameters, const Loss& loss) {
  const InvariantMode mode;
  loss(0, kSamples).backward();
  return take_gradients(parameters);
}

inline std::vector<std::string> cut(const std::vector<at::Tensor>& parameters, const Loss& loss,
                                    const Cuts& cuts) {
  const InvariantMode mode;
  GradientAccumulator accumulator(parameters);
  accumulator.begin(kSamples);
  std::int64_t first = 0;
  for (const std::int64_t samples : cuts) {
    const auto micro_batch = accumulator.micro_batch(first, samples);
    loss(first, samples).backward();
    first += samples;
  }
  accumulator.finish();
  return take_gradients(parameters);
}

/// One gradient for every cut; and near to LibTorch's own.
inline void expect_one_gradient(const std::vector<at::Tensor>& parameters, const Loss& loss) {
  const auto expected = whole(parameters, loss);
  for (const Cuts& cuts : kCuts)
    EXPECT_EQ(cut(parameters, loss, cuts), expected) << cuts.size() << " micro-batches";
  std::vector<at::Tensor> ours, theirs;
  const auto copy_out = [&](std::vector<at::Tensor>& out) {
    for (at::Tensor parameter : parameters) {
      out.push_back(parameter.grad().clone());
      parameter.mutable_grad() = at::Tensor();
    }
  };
  {
    const InvariantMode mode;
    loss(0, kSamples).backward();
  }
  copy_out(ours);
  loss(0, kSamples).backward();
  copy_out(theirs);
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_TRUE(torch::allclose(ours[i], theirs[i], 1e-4, 1e-6)) << "parameter " << i;
}

inline at::Tensor rows(std::int64_t features, int seed) {
  torch::manual_seed(seed);
  return torch::randn({kSamples, features});
}

inline at::Tensor leaf(at::IntArrayRef shape, int seed) {
  torch::manual_seed(seed);
  return (torch::randn(shape) * 0.3).requires_grad_(true);
}

}  // namespace lockstep::one_gradient
