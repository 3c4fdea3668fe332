#pragma once
// Sum, mean, std, min, max of a tensor in fp64 and in one fixed order, so that neither threads nor the cut of
// the global batch change a bit.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/fingerprint/moments.h"

namespace lockstep::fingerprint {

/// Statistics over all elements that are neither NaN nor Inf; those are counted. Undefined values (mean, min,
/// max of nothing; std of fewer than two) are NaN.
struct Statistics {
  std::int64_t count = 0;  ///< all elements, NaN and Inf included
  std::int64_t nan_count = 0;
  std::int64_t inf_count = 0;
  double sum = 0;
  double mean = 0;
  double std = 0;  ///< n - 1 in the denominator, as torch.std
  double min = 0;
  double max = 0;
  double norm = 0;  ///< square root of the sum of squares

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& count& nan_count& inf_count& sum& mean& std& min& max& norm;
  }
};

/// Accumulates samples in ascending global order. The unit is the sample: each is reduced by itself (lanes of
/// the contracts' section 5, in fp64), then samples are folded one by one. So any cut at sample boundaries
/// gives the same bits.
class StatisticsAccumulator {
 public:
  /// `samples` is [n, …]. Throws Error(unsupported) for a view that is not on the CPU.
  void add(const ConstView& samples);
  Statistics finish() const;
  const Moments& moments() const { return moments_; }

 private:
  Moments moments_;
};

/// The statistics of what the sums were taken of.
Statistics finish(const Moments& moments);

/// Of a whole tensor; a scalar counts as one sample of one element.
Statistics statistics(const ConstView& tensor);

}  // namespace lockstep::fingerprint
