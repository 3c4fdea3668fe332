#pragma once
// Matrix products in the orders of the contracts: the dot over a row's features (section 3) and the fold over
// the rows of the global batch (section 4). C++17.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kMatmulSpecVersion = 1;

/// [rows, cols], read: element (i, j) is data[i * row_stride + j * col_stride]. Strides count
/// elements and may have any value, 0 and negative ones included. A transposed matrix is the same memory with
/// extents and strides exchanged. `data` may be null only where there are no elements.
template <class T>
struct BasicConstMatrix {
  const T* data = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t row_stride = 0, col_stride = 0;
};
using ConstMatrix = BasicConstMatrix<float>;
using ConstMatrix64 = BasicConstMatrix<double>;

/// [rows, cols], written: as above, and no two elements may share memory.
template <class T>
struct BasicMatrix {
  T* data = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t row_stride = 0, col_stride = 0;
};
using Matrix = BasicMatrix<float>;
using Matrix64 = BasicMatrix<double>;

/// What becomes of the dot `acc` before it is stored in c, one rounding a step:
///   x = acc;  x = alpha * x (skipped when alpha is 1);  x = fma(beta, c, x) (skipped when beta is 0: c is
///   not read then, and may hold anything);  x = x + bias[column] (skipped without bias)
template <class T>
struct BasicMatmulEpilogue {
  T alpha = 1, beta = 0;
  const T* bias = nullptr;  ///< [n], or null
};
using MatmulEpilogue = BasicMatmulEpilogue<float>;
using MatmulEpilogue64 = BasicMatmulEpilogue<double>;

/// c[i, j] = epilogue(a[i, 0] · b[0, j] + … + a[i, k-1] · b[k-1, j]).
///
/// a  [m, k], b  [k, n], read; c  [m, n], written, must overlap none of the others. Order: k ascending in
/// blocks of 1,024, each block a chain of fma from +0; the blocks are added in ascending order, from +0.
/// Where k is 0 the sum is +0; where m or n is 0 nothing is written. NaN and infinities as fma makes them; -0
/// and subnormals are kept, for a caller that flushes them too.
///
/// Guarantees: run_to_run, batch, threads, cpu_to_gpu. Throws Error(invalid_argument) for extents that do not
/// fit each other, a null pointer or elements of c that share memory, Error(unsupported) for a device that is
/// not there. `stream` is the cudaStream_t to work on when the memory is a CUDA device's; `scratch`, null or
/// kMatmulScratchBytes of the device's memory, lets blocks share a small result. Both are
/// unused on the CPU.
void matmul(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, const MatmulEpilogue& epilogue = {},
            Device device = Device::cpu, void* stream = nullptr, void* scratch = nullptr);

/// Of scratch for a CUDA device, on a boundary of 4 bytes. It must hold zeros before its first use, and does
/// again after each: calls that follow each other on one stream may share it, and calls on several streams
/// may not.
constexpr std::int64_t kMatmulScratchBytes = 4 * (1 + 16384);

/// The same for `batch` products: product p reads a.data + p * a_batch_stride and b.data + p * b_batch_stride
/// (0: one operand for all) and writes c.data + p * c_batch_stride. The bias is one for all. No two elements
/// of the results may share memory.
void matmul_batched(std::int64_t batch, const ConstMatrix& a, std::int64_t a_batch_stride,
                    const ConstMatrix& b, std::int64_t b_batch_stride, const Matrix& c,
                    std::int64_t c_batch_stride, const MatmulEpilogue& epilogue = {},
                    Device device = Device::cpu, void* stream = nullptr, void* scratch = nullptr);

/// Adds aᵀ · b, summed over rows, to a fold: what a weight's gradient is.
///
/// a      [rows, m], b  [rows, n], read: the span's rows of the global batch
/// span   where these rows lie in the global batch; span.rows is the number of rows of a and b
/// total  [m, n], read and written: total = total + partial for each chunk that ends in the span. It starts
///        at +0
/// open   float32 [m, n], contiguous: the chain of the chunk that the span's cuts leave open, continued and
///        left. May be null where order::needs_open_partial(span) is false, and is not touched then
///
/// Order: each chunk of 1,024 global rows is a chain of fma over its rows, ascending, from +0; chunks are
/// added in ascending order. Calls with consecutive spans give the bits of one call with all rows, wherever
/// they are cut. total and open must overlap neither each other nor a and b. Guarantees: run_to_run,
/// micro_batch, threads, cpu_to_gpu. Errors as above, and Error(invalid_argument) for a negative first row.
void matmul_fold(const ConstMatrix& a, const ConstMatrix& b, const order::FoldSpan& span, const Matrix& total,
                 float* open, Device device = Device::cpu, void* stream = nullptr, void* scratch = nullptr);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow, and on the CPU alone. Guarantees: run_to_run, batch, micro_batch,
// threads. Errors as above.

void matmul(const ConstMatrix64& a, const ConstMatrix64& b, const Matrix64& c,
            const MatmulEpilogue64& epilogue = {}, Device device = Device::cpu, void* stream = nullptr);
void matmul_batched(std::int64_t batch, const ConstMatrix64& a, std::int64_t a_batch_stride,
                    const ConstMatrix64& b, std::int64_t b_batch_stride, const Matrix64& c,
                    std::int64_t c_batch_stride, const MatmulEpilogue64& epilogue = {},
                    Device device = Device::cpu, void* stream = nullptr);
void matmul_fold(const ConstMatrix64& a, const ConstMatrix64& b, const order::FoldSpan& span,
                 const Matrix64& total, double* open, Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
