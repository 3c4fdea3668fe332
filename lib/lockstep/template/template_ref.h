#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type.

#include <cstddef>

#include "lockstep/order/lanes_ref.h"

namespace lockstep {

template <class T>
T template_op_ref_row(const T* x, std::size_t features) {
  return order::lane_chains_ref<T>(features, [&](T lane, std::size_t j) { return lane + x[j]; });
}

template <class T>
void template_op_ref(const T* x, T* y, std::size_t rows, std::size_t features) {
  for (std::size_t r = 0; r < rows; ++r) y[r] = template_op_ref_row(x + r * features, features);
}

}  // namespace lockstep
