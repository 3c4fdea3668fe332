#pragma once
// What operations say about operands that do not fit. Throw Error(invalid_argument).

#include <ATen/core/Tensor.h>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"

namespace lockstep::invariant {

inline std::string shape_text(at::IntArrayRef sizes) {
  return fmt::format("shape [{}]", fmt::join(sizes, ", "));
}
inline std::string shape_text(const at::Tensor& tensor) { return shape_text(tensor.sizes()); }

/// A tensor that is given is a row of `count` elements, one `each`.
inline void require_elements(const char* operation, const char* what, const at::Tensor& tensor,
                             std::int64_t count, const char* each) {
  if (!tensor.defined() || (tensor.dim() == 1 && tensor.size(0) == count)) return;
  fail(ErrorCode::invalid_argument,
       {operation, what, fmt::format("{} elements, one {}", count, each), shape_text(tensor), {}});
}

/// Asked before the extents of a result are, which are quotients by strides.
inline void require_strides(const char* operation, at::IntArrayRef strides) {
  for (const std::int64_t stride : strides)
    if (stride < 1)
      fail(ErrorCode::invalid_argument, {operation, "stride", "1 or more", fmt::to_string(stride), {}});
}

}  // namespace lockstep::invariant
