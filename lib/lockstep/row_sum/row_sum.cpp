#include "lockstep/row_sum/row_sum.h"

#include <string>
#include <utility>

#include "lockstep/base/error.h"
#include "lockstep/row_sum/row_sum_internal.h"

namespace lockstep {
namespace {

using row_sum_internal::Problem;

[[noreturn]] void refuse(const char* operation, const char* argument, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument, {operation, argument, std::move(expected), std::move(got), {}});
}

void check_pointer(const char* operation, const char* argument, const void* pointer, const Problem& problem,
                   bool needed) {
  if (pointer == nullptr && problem.cols > 0 && needed)
    refuse(operation, argument, "memory for " + std::to_string(problem.cols) + " columns", "a null pointer");
}

void check(const char* operation, const Problem& p) {
  const auto check_extent = [&](const char* argument, std::int64_t extent) {
    if (extent < 0) refuse(operation, argument, "0 or more", std::to_string(extent));
  };
  check_extent("cols", p.cols);
  check_extent("span.first_row", p.span.first_row);
  check_extent("span.rows", p.span.rows);
  check_pointer(operation, "x", p.x, p, p.span.rows > 0);
  check_pointer(operation, "total", p.total, p, order::fold_segments(p.span) > 0);
  if (p.open == nullptr && p.cols > 0 && order::needs_open_partial(p.span))
    refuse(operation, "open",
           "memory for the open partial, since the span begins or ends inside a chunk of 1024 rows",
           "a null pointer");
}

void run(const char* operation, const Problem& problem, Device device) {
  switch (device) {
    case Device::cpu:
      return row_sum_internal::sum_cpu(problem);
    case Device::cuda:
      fail(ErrorCode::unsupported,
           {operation, "device", "Device::cpu", "Device::cuda", "Pass rows in the host's memory."});
  }
  refuse(operation, "device", "Device::cpu", "another number");
}

}  // namespace

void row_sum_fold(const float* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                  float* total, float* open, Device device, void* /*stream*/) {
  const Problem problem{x, row_stride, nullptr, 0, cols, span, total, open};
  check("row_sum_fold", problem);
  run("row_sum_fold", problem, device);
}

void row_product_sum_fold(const float* x, std::int64_t x_row_stride, const float* y,
                          std::int64_t y_row_stride, std::int64_t cols, const order::FoldSpan& span,
                          float* total, float* open, Device device, void* /*stream*/) {
  const Problem problem{x, x_row_stride, y, y_row_stride, cols, span, total, open};
  check("row_product_sum_fold", problem);
  check_pointer("row_product_sum_fold", "y", y, problem, span.rows > 0);
  run("row_product_sum_fold", problem, device);
}

}  // namespace lockstep
