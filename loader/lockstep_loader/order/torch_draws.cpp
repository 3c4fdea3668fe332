#include "lockstep_loader/order/torch_draws.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/weight_table.h"

namespace lockstep::loader {
namespace {

constexpr std::int64_t kWideRange = std::int64_t{1} << 28;
constexpr std::int64_t kMaxWeights = std::int64_t{1} << 24;

template <class T>
std::vector<T> identity(std::int64_t size) {
  std::vector<T> numbers(static_cast<std::size_t>(size));
  std::iota(numbers.begin(), numbers.end(), T{0});
  return numbers;
}

template <class T>
std::vector<T> small_permutation(std::int64_t size, TorchGenerator& generator) {
  std::vector<T> numbers = identity<T>(size);
  const auto count = static_cast<std::uint32_t>(size);
  for (std::uint32_t i = 0; i + 1 < count; ++i)
    std::swap(numbers[i], numbers[i + generator.random() % (count - i)]);
  return numbers;
}

template <class T>
std::vector<T> large_permutation(std::int64_t size, TorchGenerator& generator) {
  std::vector<T> numbers(static_cast<std::size_t>(size));
  for (std::uint64_t i = 0; i < numbers.size(); ++i) {
    const std::uint64_t other = generator.random64() % (i + 1);
    numbers[i] = numbers[other];
    numbers[other] = static_cast<T>(i);
  }
  return numbers;
}

double uniform(TorchGenerator& generator) {
  return static_cast<double>(generator.random64() & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
}

std::vector<std::int64_t> with_replacement(std::span<const double> weights, std::int64_t samples,
                                           TorchGenerator& generator) {
  std::vector<double> sums(weights.size());
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sums[i] = sum += weights[i];
  for (double& value : sums) value /= sum;
  sums.back() = 1;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(samples));
  for (std::int64_t& id : ids) {
    id = std::lower_bound(sums.begin(), sums.end(), uniform(generator)) - sums.begin();
  }
  return ids;
}

struct Key {
  double value;  // weight / q with q exponential: the largest is drawn first
  std::int64_t id;
};

std::vector<Key> exponential_keys(std::span<const double> weights, TorchGenerator& generator) {
  std::vector<Key> keys(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    keys[i] = {weights[i] / -std::log1p(-uniform(generator)), static_cast<std::int64_t>(i)};
  }
  return keys;
}

// Equal keys (several weights of zero that have to be taken) come as the selection algorithm leaves them.
// PyTorch's topk makes these calls, with libstdc++'s algorithms in its builds for Linux.
std::vector<std::int64_t> largest_keys(std::span<const double> weights, std::int64_t samples,
                                       TorchGenerator& generator) {
  std::vector<Key> keys = exponential_keys(weights, generator);
  const auto larger = [](const Key& a, const Key& b) { return a.value > b.value; };
  const auto end = keys.begin() + samples;
  if (samples == 1) {
    std::iter_swap(keys.begin(), std::min_element(keys.begin(), keys.end(), larger));
  } else if (samples <= static_cast<std::int64_t>(keys.size()) / 64) {
    std::partial_sort(keys.begin(), end, keys.end(), larger);
  } else {
    std::nth_element(keys.begin(), end - 1, keys.end(), larger);
    std::sort(keys.begin(), end - 1, larger);
  }
  std::vector<std::int64_t> ids;
  ids.reserve(static_cast<std::size_t>(samples));
  for (auto key = keys.begin(); key != end; ++key) ids.push_back(key->id);
  return ids;
}

}  // namespace

TorchPermutation::TorchPermutation(std::int64_t size, TorchGenerator& generator) : size_(size) {
  if (size < 0)
    fail(ErrorCode::invalid_argument, {"randperm", "size", "0 or more", std::to_string(size), {}});
  if (size < kLargePermutation) {
    narrow_ = small_permutation<std::uint32_t>(size, generator);
  } else if (size <= std::numeric_limits<std::uint32_t>::max()) {
    narrow_ = large_permutation<std::uint32_t>(size, generator);
  } else {
    wide_ = large_permutation<std::int64_t>(size, generator);
  }
}

std::uint64_t TorchPermutation::outputs(std::int64_t size) {
  const auto count = static_cast<std::uint64_t>(size);
  if (size >= kLargePermutation) return 2 * count;
  return size < 2 ? 0 : count - 1;
}

void torch_randint(std::int64_t range, std::span<std::int64_t> out, TorchGenerator& generator) {
  const auto bound = static_cast<std::uint64_t>(range);
  for (std::int64_t& value : out) {
    const std::uint64_t word = range >= kWideRange ? generator.random64() : generator.random();
    value = static_cast<std::int64_t>(word % bound);
  }
}

std::uint64_t torch_randint_outputs(std::int64_t range) { return range >= kWideRange ? 2 : 1; }

void check_multinomial(std::span<const double> weights, std::int64_t samples, bool replacement) {
  check_weights(weights);
  if (samples < 1)
    fail(ErrorCode::invalid_argument, {"multinomial", "samples", "1 or more", std::to_string(samples), {}});
  if (static_cast<std::int64_t>(weights.size()) > kMaxWeights) {
    fail(ErrorCode::invalid_argument,
         {"multinomial", "number of weights", "at most 2^24, PyTorch's own limit",
          std::to_string(weights.size()), "Use native order, which has none"});
  }
  if (!replacement && samples > static_cast<std::int64_t>(weights.size())) {
    fail(ErrorCode::invalid_argument, {"multinomial", "samples without replacement",
                                       "at most the " + std::to_string(weights.size()) + " weights",
                                       std::to_string(samples), "Draw with replacement, or fewer"});
  }
}

std::vector<std::int64_t> torch_multinomial(std::span<const double> weights, std::int64_t samples,
                                            bool replacement, TorchGenerator& generator) {
  check_multinomial(weights, samples, replacement);
  if (replacement && samples > 1) return with_replacement(weights, samples, generator);
  return largest_keys(weights, samples, generator);
}

std::uint64_t torch_multinomial_outputs(std::int64_t weights, std::int64_t samples, bool replacement) {
  return 2 * static_cast<std::uint64_t>(replacement && samples > 1 ? samples : weights);
}

}  // namespace lockstep::loader
