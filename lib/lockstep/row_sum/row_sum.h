#pragma once
// Sums over the rows of the global batch, a column each, in the fold order (contracts, section 4): the
// gradients of biases and of broadcast parameters, losses, sums over the samples. C++17.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kRowSumSpecVersion = 2;

/// The float64 elements of scratch that the folds below need on a CUDA device: at most 2 MiB of them,
/// whatever the extents; 0 where the rows lie in one chunk. Throws Error(invalid_argument) for a negative
/// extent or first row.
std::int64_t row_sum_scratch_elements(std::int64_t cols, const order::FoldSpan& span);

/// Adds x[0, j] + … + x[rows-1, j] to the fold of each column j.
///
/// x           float32 or float64 [span.rows, cols], read: element (r, j) is x[r * row_stride + j]; the
///             stride may have any value, 0 and negative ones included
/// span        where these rows lie in the global batch
/// total       float64 [cols], read and written: total = total + partial for each chunk that ends in the
///             span. It starts at +0; rounded once to x's type, after the last span, it is the sum
/// open        float64 [cols]: the chain of the chunk that the span's cuts leave open, continued and left.
///             May be null where order::needs_open_partial(span) is false, and is not touched then
/// device      where all memory lies; rows of float64 on the CPU alone
/// stream      the cudaStream_t to work on when the memory is a CUDA device's (null: the default stream),
///             unused on the CPU. The call returns before the work is done
/// scratch     float64 [row_sum_scratch_elements(cols, span)] on a CUDA device, overwritten; unused on the
///             CPU. The next call on the same stream may have the same
///
/// Order: each chunk of 1,024 global rows is a chain of float64 adds over its rows, ascending, from +0;
/// chunks are added in ascending order. Calls with consecutive spans give the bits of one call with all rows,
/// wherever they are cut. A last span without rows closes the chunk that is open; any other span without rows
/// changes nothing. NaN and infinities as IEEE adds make them; subnormals are kept, for a caller that flushes
/// them too. x, total, open and scratch must not overlap each other.
///
/// Guarantees: run_to_run, micro_batch, threads, cpu_to_gpu (NaN payloads excepted). Throws
/// Error(invalid_argument) for a negative extent or first row, or a null pointer where there are elements;
/// Error(unsupported) for Device::cuda in a build without CUDA, and with rows of float64.
void row_sum_fold(const float* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                  double* total, double* open, Device device = Device::cpu, void* stream = nullptr,
                  double* scratch = nullptr);
void row_sum_fold(const double* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                  double* total, double* open, Device device = Device::cpu, void* stream = nullptr);

/// The same for x[r, j] · y[r, j]: each row is one float64 fma(x, y, chain), whose product is exact where x
/// and y are float32.
void row_product_sum_fold(const float* x, std::int64_t x_row_stride, const float* y,
                          std::int64_t y_row_stride, std::int64_t cols, const order::FoldSpan& span,
                          double* total, double* open, Device device = Device::cpu, void* stream = nullptr,
                          double* scratch = nullptr);
void row_product_sum_fold(const double* x, std::int64_t x_row_stride, const double* y,
                          std::int64_t y_row_stride, std::int64_t cols, const order::FoldSpan& span,
                          double* total, double* open, Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
