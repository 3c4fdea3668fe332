#include "lockstep/row_sum/row_sum.h"

#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/order/column_fold_internal.h"
#include "lockstep/row_sum/row_sum_internal.h"
#include "lockstep/row_sum/row_sum_ref.h"

namespace lockstep {
namespace {

using row_sum_internal::BasicProblem;

[[noreturn]] void refuse(const char* operation, const char* argument, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument, {operation, argument, std::move(expected), std::move(got), {}});
}

void check_extents(const char* operation, std::int64_t cols, const order::FoldSpan& span) {
  const auto check_extent = [&](const char* argument, std::int64_t extent) {
    if (extent < 0) refuse(operation, argument, "0 or more", std::to_string(extent));
  };
  check_extent("cols", cols);
  check_extent("span.first_row", span.first_row);
  check_extent("span.rows", span.rows);
}

template <class T>
void check(const char* operation, const BasicProblem<T>& p) {
  const auto check_pointer = [&](const char* argument, const void* pointer, bool needed) {
    if (pointer == nullptr && p.cols > 0 && needed)
      refuse(operation, argument, "memory for " + std::to_string(p.cols) + " columns", "a null pointer");
  };
  check_extents(operation, p.cols, p.span);
  check_pointer("x", p.x, p.span.rows > 0);
  check_pointer("total", p.total, order::fold_segments(p.span) > 0);
  if (p.open == nullptr && p.cols > 0 && order::needs_open_partial(p.span))
    refuse(operation, "open",
           "memory for the open partial, since the span begins or ends inside a chunk of 1024 rows",
           "a null pointer");
  if (p.is_product) check_pointer("y", p.y, p.span.rows > 0);
}

void sum(const char* operation, const BasicProblem<float>& p, Device device, void* stream) {
  if (device == Device::cpu) return row_sum_internal::sum_cpu(p);
  const std::int64_t scratch = order::fold_scratch_partials(p.cols, p.span);
  if (p.scratch == nullptr && scratch > 0)
    refuse(operation, "scratch", "memory of " + std::to_string(scratch) + " elements on the device",
           "a null pointer");
  row_sum_internal::sum_cuda(p, stream);
}

void sum(const char* operation, const BasicProblem<double>& p, Device device, void* /*stream*/) {
  if (device == Device::cuda)
    fail(ErrorCode::unsupported,
         {operation, "device", "Device::cpu", "Device::cuda", "Pass rows in the host's memory."});
  const FloatMode mode;
  if (p.is_product)
    row_product_sum_fold_ref(p.x, p.x_row_stride, p.y, p.y_row_stride, p.cols, p.span, p.total, p.open);
  else
    row_sum_fold_ref(p.x, p.x_row_stride, p.cols, p.span, p.total, p.open);
}

template <class T>
void run(const char* operation, const BasicProblem<T>& problem, Device device, void* stream) {
  check(operation, problem);
  internal::check_any_device(operation, device);
  sum(operation, problem, device, stream);
}

}  // namespace

std::int64_t row_sum_scratch_elements(std::int64_t cols, const order::FoldSpan& span) {
  check_extents("row_sum_scratch_elements", cols, span);
  return order::fold_scratch_partials(cols, span);
}

void row_sum_fold(const float* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                  double* total, double* open, Device device, void* stream, double* scratch) {
  run<float>("row_sum_fold", {x, row_stride, nullptr, 0, false, cols, span, total, open, scratch}, device,
             stream);
}

void row_sum_fold(const double* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                  double* total, double* open, Device device, void* stream) {
  run<double>("row_sum_fold", {x, row_stride, nullptr, 0, false, cols, span, total, open}, device, stream);
}

void row_product_sum_fold(const float* x, std::int64_t x_row_stride, const float* y,
                          std::int64_t y_row_stride, std::int64_t cols, const order::FoldSpan& span,
                          double* total, double* open, Device device, void* stream, double* scratch) {
  run<float>("row_product_sum_fold",
             {x, x_row_stride, y, y_row_stride, true, cols, span, total, open, scratch}, device, stream);
}

void row_product_sum_fold(const double* x, std::int64_t x_row_stride, const double* y,
                          std::int64_t y_row_stride, std::int64_t cols, const order::FoldSpan& span,
                          double* total, double* open, Device device, void* stream) {
  run<double>("row_product_sum_fold", {x, x_row_stride, y, y_row_stride, true, cols, span, total, open},
              device, stream);
}

}  // namespace lockstep
