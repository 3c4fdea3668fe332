#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double.

#include <cstdint>
#include <vector>

#include "lockstep/pool/pool.h"
#include "lockstep/pool/pool_inl.h"

namespace lockstep {

template <class T>
void max_pool_ref(const T* x, T* y, std::int64_t* indices, std::int64_t planes, const PoolAxis& h,
                  const PoolAxis& w) {
  for (std::int64_t plane = 0; plane < planes; ++plane, x += h.in * w.in)
    for (std::int64_t i = 0; i < h.out(); ++i)
      for (std::int64_t j = 0; j < w.out(); ++j) {
        const auto best = pool::largest_of(x, w.in, pool::window_of(h, i), pool::window_of(w, j));
        *y++ = best.value;
        if (indices != nullptr) *indices++ = best.index;
      }
}

template <class T>
void max_pool_backward_ref(const T* dy, const std::int64_t* indices, T* dx, std::int64_t planes,
                           const PoolAxis& h, const PoolAxis& w) {
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    std::vector<pool::BlockSum<T>> sums(static_cast<std::size_t>(h.in * w.in));
    for (std::int64_t i = 0; i < h.out() * w.out(); ++i, ++dy, ++indices)
      if (*indices >= 0) sums[static_cast<std::size_t>(*indices)].add(*dy);
    for (const auto& sum : sums) *dx++ = sum.value();
  }
}

/// row(i) and col(j) are the windows of result (i, j).
template <class T, class Row, class Col>
void average_pool_ref(const T* x, T* y, std::int64_t planes, std::int64_t in_h, std::int64_t in_w,
                      std::int64_t out_h, std::int64_t out_w, Row row, Col col, std::int64_t divisor) {
  for (std::int64_t plane = 0; plane < planes; ++plane, x += in_h * in_w)
    for (std::int64_t i = 0; i < out_h; ++i)
      for (std::int64_t j = 0; j < out_w; ++j) *y++ = pool::average_of(x, in_w, row(i), col(j), divisor);
}

template <class T, class Row, class Col>
void average_pool_backward_ref(const T* dy, T* dx, std::int64_t planes, std::int64_t in_h, std::int64_t in_w,
                               std::int64_t out_h, std::int64_t out_w, Row row, Col col,
                               std::int64_t divisor) {
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    std::vector<pool::BlockSum<T>> sums(static_cast<std::size_t>(in_h * in_w));
    for (std::int64_t i = 0; i < out_h; ++i)
      for (std::int64_t j = 0; j < out_w; ++j, ++dy) {
        const pool::Window rows = row(i), cols = col(j);
        for (std::int64_t h = rows.begin; h < rows.end; ++h)
          for (std::int64_t w = cols.begin; w < cols.end; ++w)
            sums[static_cast<std::size_t>(h * in_w + w)].add(*dy / pool::divisor_of<T>(rows, cols, divisor));
      }
    for (const auto& sum : sums) *dx++ = sum.value();
  }
}

}  // namespace lockstep
