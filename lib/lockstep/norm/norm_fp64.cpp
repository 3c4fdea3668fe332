// The double forms of the norms: the reference, one row after the other. All are a GroupNorm here: LayerNorm
// and RMSNorm have one group, and one pixel.

#include "lockstep/base/float_mode.h"
#include "lockstep/norm/norm_internal.h"
#include "lockstep/norm/norm_ref.h"

namespace lockstep::norm {
namespace {

/// The parameters of a row's elements: `parameters` from the row's first channel on, or `unset`.
auto of_elements(const double* parameters, std::int64_t first, std::int64_t pixels, double unset) {
  return [=](std::int64_t j) { return parameters == nullptr ? unset : parameters[first + j / pixels]; };
}

void forward(const GroupNorm64& c, bool is_centered) {
  const FloatMode mode;
  const std::int64_t wide = c.channels / c.groups, n = wide * c.pixels;
  for (std::int64_t row = 0; row < c.samples * c.groups; ++row) {
    const std::int64_t first = row % c.groups * wide;
    double mean = 0, rstd = 0;
    norm_row_ref(c.x + row * n, of_elements(c.gamma, first, c.pixels, 1.0),
                 of_elements(c.beta, first, c.pixels, 0.0), c.y + row * n, mean, rstd, n, c.eps, is_centered);
    if (c.mean != nullptr) c.mean[row] = mean;
    if (c.rstd != nullptr) c.rstd[row] = rstd;
  }
}

double* at(double* open, std::int64_t channel) { return open == nullptr ? nullptr : open + channel; }

void backward(const GroupNormBackward64& c, bool is_centered) {
  const FloatMode mode;
  const std::int64_t wide = c.channels / c.groups, n = wide * c.pixels;
  for (std::int64_t channel = 0; channel < c.channels; ++channel) {
    const auto place = [&](std::int64_t row) {
      return (row / c.pixels * c.channels + channel) * c.pixels + row % c.pixels;
    };
    const auto dy = [&](std::int64_t row) { return c.dy[place(row)]; };
    const auto normalized = [&](std::int64_t row) {
      const std::int64_t statistic = row / c.pixels * c.groups + channel / wide;
      const double x = c.x[place(row)], rstd = c.rstd[statistic];
      return is_centered ? centered(x, c.mean[statistic], rstd) : uncentered(x, rstd);
    };
    if (c.dgamma.total != nullptr)
      norm_gamma_fold_ref(c.span, dy, normalized, c.dgamma.total[channel], at(c.dgamma.open, channel));
    if (c.dbeta.total != nullptr)
      norm_beta_fold_ref(c.span, dy, c.dbeta.total[channel], at(c.dbeta.open, channel));
  }
  if (c.dx == nullptr) return;
  for (std::int64_t row = 0; row < c.samples * c.groups; ++row)  // last: dx may lie where dy did
    norm_row_backward_ref(c.dy + row * n, c.x + row * n, is_centered ? c.mean[row] : 0.0, c.rstd[row],
                          of_elements(c.gamma, row % c.groups * wide, c.pixels, 1.0), c.dx + row * n, n,
                          is_centered);
}

}  // namespace

void rows_cpu(const Rows64& c, std::int64_t rows) {
  forward({c.x, c.gamma, c.beta, c.y, c.mean, c.rstd, rows, c.features, 1, 1, c.eps}, c.is_centered);
}

void rows_backward_cpu(const RowsBackward64& c, const NormFold64& dgamma, const NormFold64& dbeta,
                       const order::FoldSpan& span) {
  backward({c.dy, c.x, c.mean, c.rstd, c.gamma, c.dx, dgamma, dbeta, span, span.rows, c.features, 1, 1},
           c.is_centered);
}

void group_norm_cpu(const GroupNorm64& c) { forward(c, true); }
void group_norm_backward_cpu(const GroupNormBackward64& c) { backward(c, true); }

}  // namespace lockstep::norm
