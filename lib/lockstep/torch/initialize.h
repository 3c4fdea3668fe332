#pragma once
// Initial parameters from lockstep's own random numbers and arithmetic (contracts, section 8): the same on
// every processor, whatever was drawn before, and whatever other parameters a model has.

#include <ATen/core/Tensor.h>
#include <cstdint>

namespace torch::nn {
class Module;
}

namespace lockstep {

/// Grows with every change of bits.
constexpr int kInitializeSpecVersion = 1;

/// What an element's draw depends on, beside its index.
struct InitialDraw {
  std::uint64_t seed = 0;  ///< the run's
  std::int64_t site = 0;   ///< number of the parameter in the module tree, 0 … 2^31 - 1
};

// Both of the below fill a contiguous float32 tensor of at most 2^34 elements in place, on the CPU or a CUDA
// device, for which the CPU makes the elements. Element e takes word e mod 4 of philox(key = seed, counter =
// (2^31 + site, 0, 0, e / 4)); the highest bit keeps these draws apart from dropout's. They bump the tensor's
// version and leave its history alone, so that a parameter needs no torch::NoGradGuard. The order of
// operations stands in the room's README. Guarantees: run_to_run, threads. Throw Error(invalid_argument) for
// another tensor, a site out of range, or bounds that are not finite numbers in order.

/// fma(high - low, u, low) with u = floor(word / 2^8) · 2^-24, and high - low rounded to float32.
void fill_uniform(const at::Tensor& tensor, double low, double high, const InitialDraw& draw);

/// fma(deviation, n, mean), where n is standard normal by the method of Box and Muller (1958): two words give
/// two elements. |n| is at most 5.77, what 24 bits of a word can say.
void fill_normal(const at::Tensor& tensor, double mean, double deviation, const InitialDraw& draw);

/// Draws every parameter of `module` anew, with the distributions that torch::nn's own constructors use:
///
///   Linear, Conv1d, Conv2d, Conv3d   weight and bias uniform in ±1 / sqrt(elements of the weight per output)
///   Embedding                        standard normal, its padding row 0
///   LayerNorm, GroupNorm             weight 1, bias 0
///
/// A parameter's site is its place in module.parameters(). Throws Error(unsupported) for a parameter of
/// another kind of module, naming it: fill it yourself.
void initialize_parameters(torch::nn::Module& module, std::uint64_t seed);

}  // namespace lockstep
