#pragma once
// For the programs of this folder: errors against float64, ours beside LibTorch's.

#include <ATen/ATen.h>
#include <cstdio>
#include <string>

namespace lockstep::bench {

/// The relative error of `got` in the L2 norm.
inline double relative_error(const at::Tensor& got, const at::Tensor& exact) {
  const at::Tensor wide = exact.to(at::kDouble);
  return (at::linalg_vector_norm(got.to(at::kDouble) - wide) / at::linalg_vector_norm(wide)).item<double>();
}

inline void print_errors(const std::string& name, const at::Tensor& ours, const at::Tensor& theirs,
                         const at::Tensor& exact) {
  const double own = relative_error(ours, exact), rival = relative_error(theirs, exact);
  std::printf("%-44s error ours %.2e  LibTorch %.2e\n", name.c_str(), own, rival);
  std::fflush(stdout);
}

}  // namespace lockstep::bench
