#pragma once
// Elements of two tensors of one dtype, compared by bits or within a tolerance.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lockstep/base/dtype.h"
#include "lockstep/fingerprint/statistics.h"

namespace lockstep::record {

struct Tolerance {
  double rtol = 0, atol = 0;
  bool exact() const { return rtol == 0 && atol == 0; }
};

/// One element, zero-extended; any NaN as its dtype's canonical one.
std::uint64_t element_bits(std::string_view bytes, DType dtype, std::int64_t element);

/// The value of a floating-point element; every float16, bfloat16 and float32 is a double.
double float_value(std::uint64_t bits, DType dtype);

/// Shortest decimal that reads back to the same bits; "nan", "inf".
std::string value_text(std::uint64_t bits, DType dtype);

/// "0x3f800000", as wide as the dtype.
std::string bits_text(std::uint64_t bits, DType dtype);

/// Steps on the dtype's own number line; the difference of integers; nothing when a NaN is among the two.
std::optional<std::uint64_t> distance(std::uint64_t a, std::uint64_t b, DType dtype);

/// Whether two elements agree. Tolerances are for floating-point dtypes; the others are exact.
bool agree(std::uint64_t a, std::uint64_t b, DType dtype, const Tolerance& tolerance);

struct ValueComparison {
  std::int64_t elements = 0, different = 0;
  std::int64_t first = -1;                        ///< flat index of the first that disagrees
  std::uint64_t first_a = 0, first_b = 0;         ///< its bits
  std::optional<std::uint64_t> largest_distance;  ///< over the elements that disagree
};

/// Throws nothing: bytes beyond the shorter of the two are not looked at (the caller has compared the
/// shapes).
ValueComparison compare_values(std::string_view a, std::string_view b, DType dtype,
                               const Tolerance& tolerance);

/// True when no two tensors with these statistics can agree element by element within the tolerance. False
/// decides nothing: statistics are the same for any permutation, so they never prove that tensors agree.
bool statistics_exclude(const fingerprint::Statistics& a, const fingerprint::Statistics& b,
                        const Tolerance& tolerance);

}  // namespace lockstep::record
