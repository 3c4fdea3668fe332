#pragma once
// The state of LibTorch's default CPU generator, inside and outside the mode.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <mutex>

#include "lockstep/torch/dispatch_internal.h"

namespace lockstep::invariant {

inline at::Tensor generator_state() {
  const InsideKernel inside;
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

inline void set_generator_state(const at::Tensor& state) {
  const InsideKernel inside;
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_state(state);
}

}  // namespace lockstep::invariant
