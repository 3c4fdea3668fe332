#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type.

#include <cmath>
#include <cstddef>
#include <vector>

#include "lockstep/optimizer/optimizer_inl.h"

namespace lockstep {

template <class T>
void sgd_ref(T* parameter, const T* gradient, T* momentum, std::size_t count, bool first,
             const optimizer::SgdFactors<T>& factors) {
  for (std::size_t i = 0; i < count; ++i)
    optimizer::sgd(parameter[i], gradient[i], momentum == nullptr ? nullptr : momentum + i, first, factors);
}

template <class T>
void adam_ref(T* parameter, const T* gradient, T* mean, T* square, T* largest, std::size_t count,
              const optimizer::AdamFactors<T>& factors) {
  for (std::size_t i = 0; i < count; ++i)
    optimizer::adam(parameter[i], gradient[i], mean[i], square[i], largest == nullptr ? nullptr : largest + i,
                    factors);
}

/// The lane sum of at most 1,024 terms, all 128 lanes written out.
template <class T>
T block_sum_ref(const T* x, std::size_t count, bool squared) {
  std::vector<T> lane(128, T(0));
  for (std::size_t j = 0; j < count; ++j)
    lane[j % 128] = squared ? std::fma(x[j], x[j], lane[j % 128]) : lane[j % 128] + x[j];
  for (std::size_t s = 64; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

/// The sum of one gradient's squares.
template <class T>
T square_sum_ref(const std::vector<T>& gradient) {
  std::vector<T> terms = gradient;
  for (bool squared = true; squared || terms.size() > 1; squared = false) {
    std::vector<T> partials;
    for (std::size_t begin = 0; begin < terms.size(); begin += 1024)
      partials.push_back(
          block_sum_ref(terms.data() + begin, std::min<std::size_t>(1024, terms.size() - begin), squared));
    terms = partials;
  }
  return terms.empty() ? T(0) : terms[0];
}

template <class T>
T gradient_norm_ref(const std::vector<std::vector<T>>& gradients) {
  T total = 0;
  for (const std::vector<T>& gradient : gradients) total = total + square_sum_ref(gradient);
  return std::sqrt(total);
}

}  // namespace lockstep
