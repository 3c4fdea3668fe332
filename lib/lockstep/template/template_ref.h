#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type.

#include <cstddef>
#include <vector>

namespace lockstep {

template <class T>
T template_op_ref_row(const T* x, std::size_t features) {
  const std::size_t lanes = features <= 8192 ? 128 : 1024;
  std::vector<T> lane(lanes, T(0));
  for (std::size_t j = 0; j < features; ++j) lane[j % lanes] = lane[j % lanes] + x[j];
  for (std::size_t s = lanes / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

template <class T>
void template_op_ref(const T* x, T* y, std::size_t rows, std::size_t features) {
  for (std::size_t r = 0; r < rows; ++r) y[r] = template_op_ref_row(x + r * features, features);
}

}  // namespace lockstep
