#include "lockstep/matmul/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/error.h"
#include "lockstep/matmul/matmul_internal.h"

namespace lockstep {
namespace {

using matmul_internal::BasicProblem;

/// One call's name, for its errors.
struct Checks {
  const char* operation;

  [[noreturn]] void refuse(const char* argument, std::string expected, std::string got) const {
    fail(ErrorCode::invalid_argument, {operation, argument, std::move(expected), std::move(got), {}});
  }

  static std::string extents(std::int64_t rows, std::int64_t cols) {
    return std::string("[")
        .append(std::to_string(rows))
        .append(", ")
        .append(std::to_string(cols))
        .append("]");
  }

  template <class M>
  void matrix(const char* name, const M& m) const {
    if (m.rows < 0 || m.cols < 0) refuse(name, "extents of 0 or more", extents(m.rows, m.cols));
    if (m.data == nullptr && m.rows > 0 && m.cols > 0)
      refuse(name, extents(m.rows, m.cols) + " elements of memory", "a null pointer");
  }

  template <class M>
  void shape(const char* name, const M& m, std::int64_t rows, std::int64_t cols, const char* why) const {
    if (m.rows != rows || m.cols != cols)
      refuse(name, "shape " + extents(rows, cols) + ", " + why, extents(m.rows, m.cols));
  }

  template <class M>
  void distinct(const char* name, const M& m) const {
    std::pair<std::int64_t, std::int64_t> inner{std::abs(m.col_stride), m.cols},
        outer{std::abs(m.row_stride), m.rows};
    if (m.rows == 0 || m.cols == 0) return;
    if (inner.second == 1 || (outer.second > 1 && outer.first < inner.first)) std::swap(inner, outer);
    const bool apart = (inner.second == 1 || inner.first > 0) &&
                       (outer.second == 1 || outer.first >= inner.first * (inner.second - 1) + 1);
    if (!apart)
      refuse(name, "strides that give every element of " + extents(m.rows, m.cols) + " memory of its own",
             "row_stride " + std::to_string(m.row_stride) + ", col_stride " + std::to_string(m.col_stride));
  }
};

template <class T>
void set_result(BasicProblem<T>& problem, const BasicMatrix<T>& result) {
  problem.rows = result.rows;
  problem.cols = result.cols;
  problem.result = result.data;
  problem.row_stride = result.row_stride;
  problem.col_stride = result.col_stride;
}

/// Where a call's memory lies, and how it is to be used there.
struct Place {
  Device device;
  void* stream = nullptr;
  void* scratch = nullptr;
};

template <class T>
void run(const char* operation, const BasicProblem<T>& problem, const Place& place) {
  internal::check_device_of<T>(operation, place.device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (place.device == Device::cuda)
      return matmul_internal::sum_cuda(problem, place.stream, static_cast<unsigned*>(place.scratch));
  }
  matmul_internal::sum_cpu(problem);
}

template <class T>
void batched(std::int64_t batch, const BasicConstMatrix<T>& a, std::int64_t a_batch_stride,
             const BasicConstMatrix<T>& b, std::int64_t b_batch_stride, const BasicMatrix<T>& c,
             std::int64_t c_batch_stride, const BasicMatmulEpilogue<T>& epilogue, const Place& place) {
  const Checks checks{"matmul"};
  if (batch < 0) checks.refuse("batch", "0 or more", std::to_string(batch));
  checks.matrix("a", a);
  checks.matrix("b", b);
  checks.matrix("c", c);
  checks.shape("b", b, a.cols, b.cols, "as many rows as a has columns");
  checks.shape("c", c, a.rows, b.cols, "the rows of a and the columns of b");
  checks.distinct("c", c);
  if (batch > 1 && c_batch_stride == 0 && c.rows * c.cols > 0)
    checks.refuse("c_batch_stride", "memory for each result of the batch", "0");
  BasicProblem<T> problem;
  problem.batch = batch;
  problem.span = {0, a.cols, true};
  problem.left = {a.data, a.row_stride, a.col_stride};
  problem.right = {b.data, b.col_stride, b.row_stride};
  problem.left_batch_stride = a_batch_stride;
  problem.right_batch_stride = b_batch_stride;
  problem.result_batch_stride = c_batch_stride;
  set_result(problem, c);
  problem.alpha = epilogue.alpha;
  problem.beta = epilogue.beta;
  problem.bias = epilogue.bias;
  run("matmul", problem, place);
}

template <class T>
void fold(const BasicConstMatrix<T>& a, const BasicConstMatrix<T>& b, const order::FoldSpan& span,
          const BasicMatrix<T>& total, T* open, const Place& place) {
  const Checks checks{"matmul_fold"};
  if (span.first_row < 0) checks.refuse("span.first_row", "0 or more", std::to_string(span.first_row));
  checks.matrix("a", a);
  checks.matrix("b", b);
  checks.matrix("total", total);
  checks.shape("a", a, span.rows, a.cols, "the rows of the span");
  checks.shape("b", b, span.rows, b.cols, "the rows of the span");
  checks.shape("total", total, a.cols, b.cols, "the columns of a and of b");
  checks.distinct("total", total);
  if (open == nullptr && order::needs_open_partial(span) && total.rows * total.cols > 0)
    checks.refuse("open",
                  "memory for the open partial, since the span begins or ends inside a chunk of 1024 rows",
                  "a null pointer");
  BasicProblem<T> problem;
  problem.span = span;
  problem.left = {a.data, a.col_stride, a.row_stride};
  problem.right = {b.data, b.col_stride, b.row_stride};
  set_result(problem, total);
  problem.accumulates = true;
  problem.open = open;
  problem.open_row_stride = total.cols;
  run("matmul_fold", problem, place);
}

}  // namespace

void matmul_batched(std::int64_t batch, const ConstMatrix& a, std::int64_t a_batch_stride,
                    const ConstMatrix& b, std::int64_t b_batch_stride, const Matrix& c,
                    std::int64_t c_batch_stride, const MatmulEpilogue& epilogue, Device device, void* stream,
                    void* scratch) {
  batched(batch, a, a_batch_stride, b, b_batch_stride, c, c_batch_stride, epilogue,
          {device, stream, scratch});
}

void matmul_batched(std::int64_t batch, const ConstMatrix64& a, std::int64_t a_batch_stride,
                    const ConstMatrix64& b, std::int64_t b_batch_stride, const Matrix64& c,
                    std::int64_t c_batch_stride, const MatmulEpilogue64& epilogue, Device device,
                    void* /*stream*/) {
  batched(batch, a, a_batch_stride, b, b_batch_stride, c, c_batch_stride, epilogue, {device});
}

void matmul(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, const MatmulEpilogue& epilogue,
            Device device, void* stream, void* scratch) {
  batched(1, a, 0, b, 0, c, 0, epilogue, {device, stream, scratch});
}

void matmul(const ConstMatrix64& a, const ConstMatrix64& b, const Matrix64& c,
            const MatmulEpilogue64& epilogue, Device device, void* /*stream*/) {
  batched(1, a, 0, b, 0, c, 0, epilogue, {device});
}

void matmul_fold(const ConstMatrix& a, const ConstMatrix& b, const order::FoldSpan& span, const Matrix& total,
                 float* open, Device device, void* stream, void* scratch) {
  fold(a, b, span, total, open, {device, stream, scratch});
}

void matmul_fold(const ConstMatrix64& a, const ConstMatrix64& b, const order::FoldSpan& span,
                 const Matrix64& total, double* open, Device device, void* /*stream*/) {
  fold(a, b, span, total, open, {device});
}

}  // namespace lockstep
