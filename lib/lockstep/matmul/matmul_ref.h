#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lockstep/order/fold.h"

namespace lockstep {

/// Element (i, j) is data[i * row_stride + j * col_stride].
template <class T>
struct RefMatrix {
  T* data = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t row_stride = 0, col_stride = 0;

  T& at(std::int64_t i, std::int64_t j) const { return data[i * row_stride + j * col_stride]; }
};

/// Blocks of 1,024, each a chain; blocks added in ascending order.
template <class T>
T matmul_ref_dot(const RefMatrix<const T>& a, const RefMatrix<const T>& b, std::int64_t i, std::int64_t j) {
  T sum = T(0);
  for (std::int64_t block = 0; block < a.cols; block += 1024) {
    T chain = T(0);
    for (std::int64_t k = block; k < std::min(block + 1024, a.cols); ++k)
      chain = std::fma(a.at(i, k), b.at(k, j), chain);
    sum = sum + chain;
  }
  return sum;
}

template <class T>
void matmul_ref(const RefMatrix<const T>& a, const RefMatrix<const T>& b, const RefMatrix<T>& c,
                T alpha = T(1), T beta = T(0), const T* bias = nullptr) {
  for (std::int64_t i = 0; i < c.rows; ++i) {
    for (std::int64_t j = 0; j < c.cols; ++j) {
      T x = matmul_ref_dot(a, b, i, j);
      if (alpha != T(1)) x = alpha * x;
      if (beta != T(0)) x = std::fma(beta, c.at(i, j), x);
      if (bias != nullptr) x = x + bias[j];
      c.at(i, j) = x;
    }
  }
}

/// `open` is [m, n], contiguous; it may be null where order::needs_open_partial(span) is false.
template <class T>
void matmul_fold_ref(const RefMatrix<const T>& a, const RefMatrix<const T>& b, const order::FoldSpan& span,
                     const RefMatrix<T>& total, T* open) {
  for (std::int64_t i = 0; i < total.rows; ++i) {
    for (std::int64_t j = 0; j < total.cols; ++j) {
      T* const here = open == nullptr ? nullptr : open + i * total.cols + j;
      order::fold_rows(span, total.at(i, j), here, [&](T partial, std::int64_t row) {
        return std::fma(a.at(row, i), b.at(row, j), partial);
      });
    }
  }
}

}  // namespace lockstep
