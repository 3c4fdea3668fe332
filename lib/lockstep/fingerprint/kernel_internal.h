#pragma once
// The inner loops of digests and statistics, one form for each instruction set, all with the same bits, and
// the choice among them.

#include <cstddef>
#include <cstdint>

#include "lockstep/base/dtype.h"
#include "lockstep/fingerprint/digest_inl.h"

namespace lockstep::fingerprint::internal {

Canon canon_of(DType dtype);

/// The open sums of one block of 1,024 words, a lane of the digest in each row. How they are spread over the
/// columns is each form's own affair; only a row's total means something.
struct alignas(64) BlockSum {
  static constexpr std::size_t kColumns = 8;
  std::uint64_t lane[2][kColumns] = {};

  std::uint64_t total(std::size_t row) const {
    std::uint64_t sum = 0;
    for (const std::uint64_t column : lane[row]) sum += column;
    return sum;
  }
};

/// Adds word(k) · T_L[j + k], k = 0 … words - 1, to lane L. `source` holds 4 · words bytes, j + words <=
/// 1024; with Canon::float64 j and words are even.
using DigestForm = void (*)(const std::uint8_t* source, std::size_t words, std::size_t j, Canon canon,
                            BlockSum& sum);
/// The same for two whole blocks at once: 8,192 bytes, and a sum for each half.
using DigestTwoForm = void (*)(const std::uint8_t* source, Canon canon, BlockSum* sums);
/// As DigestForm, for raw words, which are copied to `target` too. `ahead` is memory of the same size that
/// will be read soon, or any address: it is only prefetched.
using CopyForm = void (*)(const std::uint8_t* source, std::uint8_t* target, const std::uint8_t* ahead,
                          std::size_t words, std::size_t j, BlockSum& sum);

void digest_scalar(const std::uint8_t* source, std::size_t words, std::size_t j, Canon canon, BlockSum& sum);
void digest_two_scalar(const std::uint8_t* source, Canon canon, BlockSum* sums);
void copy_scalar(const std::uint8_t* source, std::uint8_t* target, const std::uint8_t* ahead,
                 std::size_t words, std::size_t j, BlockSum& sum);

/// What is kept of a sample's elements beside its sums.
struct Tally {
  double min, max;  ///< of the finite elements; which of two equal zeros is left open
  std::int64_t finite = 0, nans = 0;
};
/// sum[i] += x[j] and squares[i] += x[j]^2 in fp64, one rounding each, for i < lanes, j = i + block · stride,
/// block = 0 … blocks - 1 (one at least), where x[j] is finite (contracts, section 5). `x` holds fp32 or fp64
/// numbers, by the form, and need not be aligned.
using MomentsForm = void (*)(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes,
                             double* sum, double* squares, Tally& tally);
/// squares[i] += (x[j] - mean)^2 for the same j. `all_finite`: every x[j] is.
using DeviationsForm = void (*)(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes,
                                double mean, bool all_finite, double* squares);
/// The tree over lanes (order/lanes.h) with an add, which they are lost for.
using TotalForm = double (*)(double* lane, int lanes, int filled);

template <class T>
void moments_scalar(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double* sum,
                    double* squares, Tally& tally);
template <class T>
void deviations_scalar(const void* x, std::size_t blocks, std::size_t stride, std::size_t lanes, double mean,
                       bool all_finite, double* squares);
double total_scalar(double* lane, int lanes, int filled);

struct Kernel {
  const char* name = "SCALAR";
  DigestForm digest = digest_scalar;
  DigestTwoForm digest_two = digest_two_scalar;
  CopyForm copy = copy_scalar;
  MomentsForm float_moments = moments_scalar<float>, double_moments = moments_scalar<double>;
  DeviationsForm float_deviations = deviations_scalar<float>, double_deviations = deviations_scalar<double>;
  TotalForm total = total_scalar;
};

/// The forms of one of Highway's targets, which must be compiled in and offered by the machine.
Kernel kernel_of_target(std::int64_t target);
/// Targets that are compiled in.
std::int64_t compiled_targets();

/// The forms of this name. Throws Error(invalid_argument) for a name that this machine or build lacks.
Kernel kernel_named(const char* name);
/// All names that work here, best first, "SCALAR" last; the array ends with a null pointer.
const char* const* kernel_names();
/// LOCKSTEP_ISA's choice, or else the best. Fixed at the first call.
const Kernel& kernel();
/// Makes kernel() give this one: for tests, which run every form in one process.
void force_kernel(const Kernel& forced);

}  // namespace lockstep::fingerprint::internal
