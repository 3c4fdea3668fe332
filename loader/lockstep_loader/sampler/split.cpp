#include "lockstep_loader/sampler/split.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/index_cipher.h"
#include "lockstep_loader/order/torch_draws.h"
#include "lockstep_loader/sampler/checks_internal.h"

namespace lockstep::loader {
namespace {

constexpr double kFractionTolerance = 1e-9;

[[noreturn]] void bad_length(std::size_t part, const char* expected, double got) {
  fail(ErrorCode::invalid_argument,
       {"random_split", "length of part " + std::to_string(part), expected, fmt::format("{}", got),
        "Pass sizes that sum to the records, or fractions"});
}

bool are_fractions(double sum) { return sum <= 1 && 1 - sum <= kFractionTolerance; }

std::vector<std::int64_t> sizes_of_fractions(std::int64_t records, std::span<const double> fractions) {
  std::vector<std::int64_t> sizes;
  std::int64_t rest = records;
  for (std::size_t i = 0; i < fractions.size(); ++i) {
    if (!(fractions[i] >= 0 && fractions[i] <= 1)) bad_length(i, "a fraction from 0 to 1", fractions[i]);
    sizes.push_back(static_cast<std::int64_t>(std::floor(static_cast<double>(records) * fractions[i])));
    rest -= sizes.back();
  }
  for (std::int64_t i = 0; i < rest; ++i) ++sizes[static_cast<std::size_t>(i) % sizes.size()];
  return sizes;
}

/// Lengths that look like fractions, but whose sum PyTorch does not take for 1.
void check_fraction_sum(std::span<const double> lengths, double sum) {
  const bool whole =
      std::all_of(lengths.begin(), lengths.end(), [](double length) { return std::floor(length) == length; });
  if (whole || std::abs(sum - 1) > 0.5) return;
  fail(ErrorCode::invalid_argument,
       {"random_split", "sum of the fractions", "within 1e-9 of 1 and not above it", fmt::format("{}", sum),
        "PyTorch adds them from left to right and refuses a sum above 1, even by a rounding: change one of "
        "them"});
}

std::vector<std::int64_t> checked_sizes(std::int64_t records, std::span<const double> lengths) {
  std::vector<std::int64_t> sizes;
  std::int64_t left = records;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (!(lengths[i] >= 0) || std::floor(lengths[i]) != lengths[i])
      bad_length(i, "a whole number, 0 or more", lengths[i]);
    if (lengths[i] > static_cast<double>(left)) {
      bad_length(i, fmt::format("at most the {} records that are left", left).c_str(), lengths[i]);
    }
    sizes.push_back(static_cast<std::int64_t>(lengths[i]));
    left -= sizes.back();
  }
  if (left == 0) return sizes;
  fail(ErrorCode::invalid_argument,
       {"random_split", "sum of the lengths",
        fmt::format("the {} records, or fractions with the sum 1", records), std::to_string(records - left),
        "PyTorch takes lengths as fractions only when their sum is not above 1"});
}

template <class Deal>
std::vector<std::vector<std::int64_t>> parts_of(std::span<const std::int64_t> sizes, const Deal& deal) {
  std::vector<std::vector<std::int64_t>> parts;
  std::int64_t first = 0;
  for (const std::int64_t size : sizes) {
    deal(first, parts.emplace_back(static_cast<std::size_t>(size)));
    first += size;
  }
  return parts;
}

}  // namespace

std::vector<std::int64_t> split_sizes(std::int64_t records, std::span<const double> lengths) {
  check_count("records", records);
  double sum = 0;
  for (const double length : lengths) sum += length;
  if (are_fractions(sum)) return sizes_of_fractions(records, lengths);
  check_fraction_sum(lengths, sum);
  return checked_sizes(records, lengths);
}

std::vector<std::vector<std::int64_t>> torch_random_split(std::int64_t records,
                                                          std::span<const double> lengths,
                                                          TorchGenerator& generator) {
  const std::vector<std::int64_t> sizes = split_sizes(records, lengths);
  const TorchPermutation permutation(records, generator);
  return parts_of(sizes, [&](std::int64_t first, std::vector<std::int64_t>& ids) {
    for (std::int64_t& id : ids) id = permutation[first++];
  });
}

std::vector<std::vector<std::int64_t>> native_random_split(std::int64_t records,
                                                           std::span<const double> lengths,
                                                           std::uint64_t seed) {
  const IndexCipher cipher(records, seed, 0, 0, kSplitStream);
  return parts_of(split_sizes(records, lengths),
                  [&](std::int64_t first, std::vector<std::int64_t>& ids) { cipher.ids(first, ids); });
}

}  // namespace lockstep::loader
