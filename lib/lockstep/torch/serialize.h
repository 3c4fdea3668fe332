#pragma once
// torch's own serialisation to and from byte strings, for the parts of a state::Checkpoint.

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace lockstep {

/// Bytes of parameters and buffers. Loading them gives the same bits.
std::string module_bytes(const torch::nn::Module& module);
/// Throws Error(corruption) when `bytes` are damaged, or belong to a module with other names or shapes.
void load_module(torch::nn::Module& module, const std::string& bytes);

/// Bytes of an optimizer's state and options.
std::string optimizer_bytes(const torch::optim::Optimizer& optimizer);
/// The optimizer must hold the parameters that it held when it was saved, in the same order. Throws
/// Error(corruption).
void load_optimizer(torch::optim::Optimizer& optimizer, const std::string& bytes);

std::string tensors_bytes(const std::vector<at::Tensor>& tensors);
/// Throws Error(corruption).
std::vector<at::Tensor> tensors_from_bytes(const std::string& bytes);

/// torch's CPU generator: 5,056 bytes in torch's own layout.
std::string generator_bytes();
/// Throws Error(corruption).
void load_generator(const std::string& bytes);

}  // namespace lockstep
