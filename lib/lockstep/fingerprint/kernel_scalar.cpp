#include <algorithm>
#include <cmath>
#include <cstring>

#include "lockstep/fingerprint/digest_keys_internal.h"
#include "lockstep/fingerprint/kernel_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep::fingerprint::internal {
namespace {

std::uint32_t load(const std::uint8_t* source, std::size_t word) {
  std::uint32_t value = 0;
  std::memcpy(&value, source + 4 * word, 4);
  return value;
}

template <Canon canon>
void accumulate(const std::uint8_t* source, std::size_t words, std::size_t j, BlockSum& sum) {
  for (std::size_t k = 0; k < words; ++k) {
    const std::uint64_t word = canonical<canon>(load(source, k));
    sum.lane[0][0] += word * kWordKeys[0][j + k];
    sum.lane[1][0] += word * kWordKeys[1][j + k];
  }
}

template <>
void accumulate<Canon::float64>(const std::uint8_t* source, std::size_t words, std::size_t j, BlockSum& sum) {
  for (std::size_t k = 0; k + 1 < words; k += 2) {
    const std::uint64_t bits = canonical_double(load(source, k) | std::uint64_t{load(source, k + 1)} << 32);
    for (std::size_t lane = 0; lane < 2; ++lane) {
      sum.lane[lane][0] +=
          (bits & 0xffffffff) * kWordKeys[lane][j + k] + (bits >> 32) * kWordKeys[lane][j + k + 1];
    }
  }
}

template <class T>
double number_at(const void* x, std::size_t i) {
  T value;
  std::memcpy(&value, static_cast<const std::uint8_t*>(x) + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

void digest_scalar(const std::uint8_t* source, std::size_t words, std::size_t j, Canon canon, BlockSum& sum) {
  switch (canon) {
    case Canon::none:
      return accumulate<Canon::none>(source, words, j, sum);
    case Canon::float16:
      return accumulate<Canon::float16>(source, words, j, sum);
    case Canon::bfloat16:
      return accumulate<Canon::bfloat16>(source, words, j, sum);
    case Canon::float32:
      return accumulate<Canon::float32>(source, words, j, sum);
    case Canon::float64:
      return accumulate<Canon::float64>(source, words, j, sum);
  }
}

void digest_two_scalar(const std::uint8_t* source, Canon canon, BlockSum* sums) {
  digest_scalar(source, kBlockWords, 0, canon, sums[0]);
  digest_scalar(source + 4 * kBlockWords, kBlockWords, 0, canon, sums[1]);
}

void copy_scalar(const std::uint8_t* source, std::uint8_t* target, const std::uint8_t*, std::size_t words,
                 std::size_t j, BlockSum& sum) {
  if (words > 0) std::memcpy(target, source, 4 * words);
  digest_scalar(source, words, j, Canon::none, sum);
}

template <class T>
void moments_scalar(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double* sum,
                    double* squares, Tally& tally) {
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t i = 0; i < lanes; ++i) {
      const double value = number_at<T>(x, block * stride + i);
      if (!std::isfinite(value)) {
        tally.nans += std::isnan(value) ? 1 : 0;
        continue;
      }
      ++tally.finite;
      sum[i] += value;
      squares[i] += value * value;
      tally.min = std::min(tally.min, value);
      tally.max = std::max(tally.max, value);
    }
  }
}
template void moments_scalar<float>(const void*, std::size_t, std::size_t, std::size_t, double*, double*,
                                    Tally&);
template void moments_scalar<double>(const void*, std::size_t, std::size_t, std::size_t, double*, double*,
                                     Tally&);

template <class T>
void deviations_scalar(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double mean,
                       bool, double* squares) {
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t i = 0; i < lanes; ++i) {
      const double value = number_at<T>(x, block * stride + i);
      const double deviation = value - mean;
      if (std::isfinite(value)) squares[i] += deviation * deviation;
    }
  }
}
template void deviations_scalar<float>(const void*, std::size_t, std::size_t, std::size_t, double, bool,
                                       double*);
template void deviations_scalar<double>(const void*, std::size_t, std::size_t, std::size_t, double, bool,
                                        double*);

double total_scalar(double* lane, int lanes, int filled) {
  order::lane_tree(lane, lanes, filled, [](double a, double b) { return a + b; });
  return lane[0];
}

}  // namespace lockstep::fingerprint::internal
