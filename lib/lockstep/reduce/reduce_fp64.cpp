// The double forms of the reductions: the reference, one element of the result after the other.

#include "lockstep/base/float_mode.h"
#include "lockstep/reduce/reduce_internal.h"
#include "lockstep/reduce/reduce_ref.h"

namespace lockstep::reduce {
namespace {

/// Calls use(i, place) for each element i of the result; place(j) is where element j of its axis lies.
template <class Use>
void for_each_result(const ReduceShape& shape, Use use) {
  const FloatMode mode;
  for (std::int64_t i = 0; i < shape.outer * shape.inner; ++i)
    use(i,
        [&](std::int64_t j) { return (i / shape.inner * shape.axis + j) * shape.inner + i % shape.inner; });
}

/// The elements of an axis.
template <class Place>
auto elements(const double* x, Place place) {
  return [x, place](std::int64_t j) { return x[place(j)]; };
}

}  // namespace

void sum_cpu(const double* x, double* y, const ReduceShape& shape) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    y[i] = reduce_sum_ref<double>(shape.axis, elements(x, place));
  });
}

void mean_cpu(const double* x, double* y, const ReduceShape& shape) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    y[i] = reduce_mean_ref<double>(shape.axis, elements(x, place));
  });
}

void variance_cpu(const double* x, double* y, double* mean, const ReduceShape& shape, double divisor) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    const double middle = reduce_mean_ref<double>(shape.axis, elements(x, place));
    y[i] = reduce_squares_ref(shape.axis, elements(x, place), middle) / divisor;
    if (mean != nullptr) mean[i] = middle;
  });
}

void select_cpu(const double* x, double* y, std::int64_t* index, const ReduceShape& shape, bool smallest) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    const std::int64_t best = reduce_select_ref(shape.axis, elements(x, place), smallest);
    if (y != nullptr) y[i] = x[place(best)];
    if (index != nullptr) index[i] = best;
  });
}

void sum_backward_cpu(const double* dy, double* dx, const ReduceShape& shape, double divisor) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    for (std::int64_t j = 0; j < shape.axis; ++j) dx[place(j)] = dy[i] / divisor;
  });
}

void variance_backward_cpu(const double* dy, const double* x, const double* mean, double* dx,
                           const ReduceShape& shape, double factor) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    for (std::int64_t j = 0; j < shape.axis; ++j) dx[place(j)] = (x[place(j)] - mean[i]) * (dy[i] * factor);
  });
}

void select_backward_cpu(const double* dy, const std::int64_t* index, double* dx, const ReduceShape& shape) {
  for_each_result(shape, [&](std::int64_t i, auto place) {
    for (std::int64_t j = 0; j < shape.axis; ++j) dx[place(j)] = j == index[i] ? dy[i] : 0.0;
  });
}

}  // namespace lockstep::reduce
