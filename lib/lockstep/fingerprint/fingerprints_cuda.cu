// Digests: sums of integers modulo 2^64, so in any order, here by atomic adds. Statistics: a team of threads
// reduces each sample by lanes (contracts, section 5, in fp64), the lanes dealt out like cards; then one
// block a tensor folds its samples in ascending order.

#include <cmath>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <type_traits>

#include "lockstep/base/array_batch_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/fingerprint/fingerprints_cuda_internal.h"
#include "lockstep/order/lanes_cuda_internal.h"

namespace lockstep::fingerprint::internal {
namespace {

using Batch = lockstep::internal::ArrayBatch<DeviceTensor>;
using lockstep::internal::ceil_div;
using order::BlockTeam;
using order::WarpTeam;

constexpr int kWarp = 32;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kAll = 0xffffffffu;
using Warp = WarpTeam<kWarp>;
static_assert(Warp::kSlices == kWarps);

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Smaller {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
struct Greater {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};

__device__ void add_atomically(std::uint64_t* to, std::uint64_t value) {
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  if (value != 0) atomicAdd(reinterpret_cast<unsigned long long*>(to), value);
}

/// Adds what all threads of a warp hold.
__device__ void add_of_warp(std::uint64_t* to, Lanes own) {
  __shared__ Warp::Memory<std::uint64_t> memory;
  const Warp warp(memory);
  own.lane0 = warp.tree(own.lane0, Add());
  own.lane1 = warp.tree(own.lane1, Add());
  if (warp.rank() != 0) return;
  add_atomically(to, own.lane0);
  add_atomically(to + 1, own.lane1);
}

// ---- Words

/// Four words of a digest's block and their keys.
struct Quad {
  std::uint32_t word[4];
};
struct QuadKeys {
  __device__ explicit QuadKeys(std::uint64_t j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) key[0][i] = word_key(0, j + i), key[1][i] = word_key(1, j + i);
  }
  std::uint32_t key[2][4];
};

/// A run of samples as words: each sample's bytes, padded with zeros to whole words.
class Words {
 public:
  __device__ Words(const std::uint8_t* data, std::int64_t samples, std::int64_t bytes)
      : data_(data), bytes_(bytes), words_((bytes + 3) / 4), count_(samples * words_) {}

  __device__ std::int64_t count() const { return count_; }
  /// Whether quads at multiples of four words may be read at once.
  __device__ bool vectors() const {
    return bytes_ % 4 == 0 && reinterpret_cast<std::uintptr_t>(data_) % sizeof(uint4) == 0;
  }
  /// The words k … k + 3, zeros where there are none.
  template <bool kVectors>
  __device__ Quad quad(std::int64_t k) const {
    if (kVectors && k >= 0 && k + 4 <= count_) {
      const uint4 four = *reinterpret_cast<const uint4*>(data_ + 4 * k);
      return {{four.x, four.y, four.z, four.w}};
    }
    return {{word(k), word(k + 1), word(k + 2), word(k + 3)}};
  }

 private:
  __device__ std::uint32_t word(std::int64_t k) const {
    if (k < 0 || k >= count_) return 0;
    std::int64_t at = 4 * k, held = 4;
    if (bytes_ % 4 != 0) {
      const std::int64_t in_sample = 4 * (k % words_);
      at = k / words_ * bytes_ + in_sample;
      held = bytes_ - in_sample;
    }
    const std::uint8_t* const from = data_ + at;
    if (held >= 4 && reinterpret_cast<std::uintptr_t>(from) % 4 == 0)
      return *reinterpret_cast<const std::uint32_t*>(from);
    std::uint32_t word = 0;
    for (int i = 0; i < 4 && i < held; ++i) word |= std::uint32_t{from[i]} << 8 * i;
    return word;
  }

  const std::uint8_t* data_;
  std::int64_t bytes_, words_, count_;
};

template <Canon canon>
__device__ void canonicalise(Quad& quad) {
  if constexpr (canon == Canon::float64) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const std::uint64_t bits = canonical_double(quad.word[i] | std::uint64_t{quad.word[i + 1]} << 32);
      quad.word[i] = static_cast<std::uint32_t>(bits);
      quad.word[i + 1] = static_cast<std::uint32_t>(bits >> 32);
    }
  } else {
    for (std::uint32_t& word : quad.word) word = canonical<canon>(word);
  }
}

__device__ std::uint64_t product(const Quad& quad, const std::uint32_t (&key)[4]) {
  std::uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) sum += std::uint64_t{quad.word[i]} * key[i];
  return sum;
}

/// Calls call(canon) with the constant that `canon` is.
template <class Call>
__device__ void with_canon(Canon canon, Call call) {
  switch (canon) {
    case Canon::none:
      return call(std::integral_constant<Canon, Canon::none>());
    case Canon::float16:
      return call(std::integral_constant<Canon, Canon::float16>());
    case Canon::bfloat16:
      return call(std::integral_constant<Canon, Canon::bfloat16>());
    case Canon::float32:
      return call(std::integral_constant<Canon, Canon::float32>());
    case Canon::float64:
      return call(std::integral_constant<Canon, Canon::float64>());
  }
}

// ---- The ordered digest

constexpr int kBlocksAChunk = 16;  // of the digest's blocks, for one thread block
constexpr int kQuadsAtOnce = 4;    // that a thread asks for
static_assert(4 * kThreads == kBlockWords, "a thread meets the same keys in every block");

std::int64_t digest_chunks(const DeviceTensor& tensor) {
  if (tensor.samples * tensor.elements == 0) return 0;
  const auto words = static_cast<std::uint64_t>(tensor.samples * tensor.words());
  const std::uint64_t first = tensor.first_word / kBlockWords;
  const std::uint64_t last = (tensor.first_word + words - 1) / kBlockWords;
  return ceil_div(static_cast<std::int64_t>(last - first + 1), kBlocksAChunk);
}

/// A thread's sums over its words of a chunk, whose first word has the place k in the tensor.
template <Canon canon, bool kVectors>
__device__ Lanes digest_chunk(const Words& words, std::int64_t k, const QuadKeys& keys,
                              const std::uint64_t (&block_keys)[2][kBlocksAChunk]) {
  Lanes sum;
  for (int first = 0; first < kBlocksAChunk; first += kQuadsAtOnce) {
    Quad quads[kQuadsAtOnce];
#pragma unroll
    for (int i = 0; i < kQuadsAtOnce; ++i)
      quads[i] = words.quad<kVectors>(k + (first + i) * static_cast<std::int64_t>(kBlockWords));
#pragma unroll
    for (int i = 0; i < kQuadsAtOnce; ++i) {
      canonicalise<canon>(quads[i]);
      sum.lane0 += block_keys[0][first + i] * product(quads[i], keys.key[0]);
      sum.lane1 += block_keys[1][first + i] * product(quads[i], keys.key[1]);
    }
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads) digest_ordered(const __grid_constant__ Batch batch) {
  __shared__ std::uint64_t block_keys[2][kBlocksAChunk];
  const int index = batch.array_of(blockIdx.x);
  const DeviceTensor& tensor = batch.arrays[index];
  const int t = static_cast<int>(threadIdx.x);
  const std::uint64_t first_block =
      tensor.first_word / kBlockWords +
      static_cast<std::uint64_t>(blockIdx.x - batch.first_block[index]) * kBlocksAChunk;
  if (t < 2 * kBlocksAChunk)
    block_keys[t / kBlocksAChunk][t % kBlocksAChunk] =
        block_key(t / kBlocksAChunk, first_block + t % kBlocksAChunk);
  const QuadKeys keys(4 * t);
  __syncthreads();
  const Words words(tensor.data, tensor.samples, tensor.bytes);
  const std::int64_t k = static_cast<std::int64_t>(first_block * kBlockWords - tensor.first_word) + 4 * t;
  Lanes sum;
  with_canon(tensor.canon, [&](auto canon) {
    if (words.vectors() && tensor.first_word % 4 == 0)
      sum = digest_chunk<decltype(canon)::value, true>(words, k, keys, block_keys);
    else
      sum = digest_chunk<decltype(canon)::value, false>(words, k, keys, block_keys);
  });
  add_of_warp(tensor.digest, sum);
}

// ---- The unordered digest

constexpr std::int64_t kFewWords = 4, kWarpWords = 2048;  // samples of so many are a thread's, a warp's
constexpr std::int64_t kSamplesABlock = 1024;

/// The sum of one sample as if it were sample 0, by a team; the whole team gets it.
template <Canon canon, class Team>
__device__ Lanes digest_alone(const Team& team, const Words& words) {
  Lanes sum;
  for (std::int64_t k = 4 * team.rank(); k < words.count(); k += 4 * Team::kThreads) {
    Quad quad = words.quad<false>(k);
    canonicalise<canon>(quad);
    const QuadKeys keys(k % kBlockWords);
    sum.lane0 += block_key(0, k / kBlockWords) * product(quad, keys.key[0]);
    sum.lane1 += block_key(1, k / kBlockWords) * product(quad, keys.key[1]);
  }
  return {team.tree(sum.lane0, Add()), team.tree(sum.lane1, Add())};
}

template <class Team>
__device__ Lanes unordered_sum(const DeviceTensor& tensor, std::int64_t first) {
  __shared__ typename Team::template Memory<std::uint64_t> memory;
  const Team team(memory);
  const std::int64_t end = min(first + kSamplesABlock, tensor.samples);
  Lanes total;
  for (std::int64_t base = first; base < end; base += Team::kSlices) {
    const std::int64_t s = base + team.place();
    const bool counts = s < end;  // a team without a sample goes along with none
    const Words words(tensor.data + s * tensor.bytes, counts ? 1 : 0, tensor.bytes);
    Lanes own;
    with_canon(tensor.canon, [&](auto canon) { own = digest_alone<decltype(canon)::value>(team, words); });
    if (!counts || team.rank() != 0) continue;
    own = finalise(own, kSampleSeed);
    total.lane0 += own.lane0, total.lane1 += own.lane1;
  }
  return total;
}

__global__ void __launch_bounds__(kThreads) digest_unordered(const __grid_constant__ Batch batch) {
  const int index = batch.array_of(blockIdx.x);
  const DeviceTensor& tensor = batch.arrays[index];
  const std::int64_t first = std::int64_t{blockIdx.x - batch.first_block[index]} * kSamplesABlock;
  Lanes total;
  if (tensor.words() <= kFewWords)
    total = unordered_sum<WarpTeam<1>>(tensor, first);
  else if (tensor.words() <= kWarpWords)
    total = unordered_sum<Warp>(tensor, first);
  else
    total = unordered_sum<BlockTeam<kThreads>>(tensor, first);
  add_of_warp(tensor.unordered, total);
}

// ---- Elements as doubles: exact for all types but 64-bit integers, which are rounded once

template <class T>
struct Number {
  using Element = T;
  __device__ static double widen(T x) { return static_cast<double>(x); }
};
struct Boolean {
  using Element = std::uint8_t;
  __device__ static double widen(std::uint8_t x) { return x != 0 ? 1.0 : 0.0; }
};
struct Float16 {
  using Element = std::uint16_t;
  __device__ static double widen(std::uint16_t x) { return widen_float16(x); }
};
struct Bfloat16 {
  using Element = std::uint16_t;
  __device__ static double widen(std::uint16_t x) { return widen_bfloat16(x); }
};

/// Calls call(type) with one of the above.
template <class Call>
__device__ void with_type(DType dtype, Call call) {
  switch (dtype) {
    case DType::boolean:
      return call(Boolean());
    case DType::uint8:
      return call(Number<std::uint8_t>());
    case DType::int8:
      return call(Number<std::int8_t>());
    case DType::uint16:
      return call(Number<std::uint16_t>());
    case DType::int16:
      return call(Number<std::int16_t>());
    case DType::uint32:
      return call(Number<std::uint32_t>());
    case DType::int32:
      return call(Number<std::int32_t>());
    case DType::uint64:
      return call(Number<std::uint64_t>());
    case DType::int64:
      return call(Number<std::int64_t>());
    case DType::float16:
      return call(Float16());
    case DType::bfloat16:
      return call(Bfloat16());
    case DType::float32:
      return call(Number<float>());
    case DType::float64:
      return call(Number<double>());
  }
}

// Not inlined: it is a switch.
__device__ __noinline__ double element(const DeviceTensor& tensor, std::int64_t i) {
  double value = 0;
  with_type(tensor.dtype, [&](auto type) {
    using Type = decltype(type);
    value = Type::widen(reinterpret_cast<const typename Type::Element*>(tensor.data)[i]);
  });
  return value;
}

/// Elements of types that are seldom met in numbers: one code for all of them.
struct AnyType {
  using Element = double;
  const DeviceTensor& tensor;
  std::int64_t first;
  __device__ double operator()(std::int64_t j) const { return element(tensor, first + j); }
  __device__ static double widen(double x) { return x; }
};
template <class Type>
struct OneType {
  using Element = typename Type::Element;
  const Element* first;
  __device__ Element operator()(std::int64_t j) const { return first[j]; }
  __device__ static double widen(Element x) { return Type::widen(x); }
};

template <class Type>
__device__ OneType<Type> sample_of(const DeviceTensor& tensor, std::int64_t first) {
  return {reinterpret_cast<const typename Type::Element*>(tensor.data) + first};
}

// ---- A sample's statistics

/// The lanes of a sample in a team's threads: thread t of T has the lanes t, t + T, …
template <class Team, int kLanes, class Elements>
class SampleReducer {
 public:
  __device__ SampleReducer(const Team& team, std::int64_t n, const Elements& elements)
      : team_(team), n_(n), elements_(elements) {}

  /// The whole team gets it.
  __device__ SampleMoments reduce() const {
    double sum[kLanes] = {}, squares[kLanes] = {}, min = HUGE_VAL, max = -HUGE_VAL;
    std::int64_t finite = 0, nans = 0, first_zero = kNoZero;
    for_each([&](int lane, std::int64_t j, double x) {
      const bool counts = std::isfinite(x);
      finite += counts ? 1 : 0;
      nans += std::isnan(x) ? 1 : 0;
      const double own = counts ? x : 0.0;  // which leaves a sum that started at +0 as it is
      sum[lane] = sum[lane] + own;
      squares[lane] = squares[lane] + own * own;
      if (counts && x < min) min = x;
      if (counts && x > max) max = x;
      if (x == 0 && first_zero == kNoZero) first_zero = 2 * j + (std::signbit(x) ? 1 : 0);
    });
    SampleMoments result{};
    result.finite = team_.tree(finite, Add());
    result.nans = team_.tree(nans, Add());
    if (result.finite == 0) return result;
    result.sum = total(sum);
    result.squares = total(squares);
    result.mean = result.sum / static_cast<double>(result.finite);
    result.m2 = deviations(result.mean);
    // Of equal values the first stands; only the sign of a zero can show which.
    const double zero = team_.tree(first_zero, Smaller()) % 2 == 0 ? 0.0 : -0.0;
    result.min = team_.tree(min, Smaller());
    result.max = team_.tree(max, Greater());
    if (result.min == 0) result.min = zero;
    if (result.max == 0) result.max = zero;
    return result;
  }

 private:
  static constexpr std::int64_t kNoZero = INT64_MAX;
  static constexpr int kAtOnce = 8;  // elements that a thread asks for
  static_assert(kAtOnce % kLanes == 0);

  /// visit(lane, j, x), ascending.
  template <class Visit>
  __device__ void for_each(Visit visit) const {
    for (std::int64_t base = team_.rank(); base < n_; base += kAtOnce * Team::kThreads) {
      typename Elements::Element x[kAtOnce];
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        if (base + k * Team::kThreads < n_) x[k] = elements_(base + k * Team::kThreads);
      }
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const std::int64_t j = base + k * Team::kThreads;
        if (j < n_) visit(k % kLanes, j, Elements::widen(x[k]));
      }
    }
  }

  __device__ double deviations(double mean) const {
    double squares[kLanes] = {};
    for_each([&](int lane, std::int64_t, double x) {
      const double deviation = std::isfinite(x) ? x - mean : 0.0;
      squares[lane] = squares[lane] + deviation * deviation;
    });
    return total(squares);
  }

  __device__ double total(double (&lane)[kLanes]) const {
#pragma unroll
    for (int s = kLanes / 2; s > 0; s /= 2) {
#pragma unroll
      for (int i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
    }
    return team_.tree(lane[0], Add());
  }

  Team team_;
  std::int64_t n_;
  Elements elements_;
};

/// Of the samples that a block's teams have, one each.
template <class Team>
__device__ void reduce_samples(const Batch& batch) {
  __shared__ typename Team::template Memory<double> memory;  // of other types of its size as well
  constexpr int kLanes = (Team::kThreads == kWarp ? order::kFewLanes : order::kManyLanes) / Team::kThreads;
  const Team team(memory);
  const int index = batch.array_of(blockIdx.x);
  const DeviceTensor& tensor = batch.arrays[index];
  const std::int64_t s = std::int64_t{blockIdx.x - batch.first_block[index]} * Team::kSlices + team.place();
  if (s >= tensor.samples) return;  // a whole team, and of a block with one team none
  const auto reduce = [&](const auto& elements) {
    using Elements = std::decay_t<decltype(elements)>;
    const SampleMoments result =
        SampleReducer<Team, kLanes, Elements>(team, tensor.elements, elements).reduce();
    if (team.rank() == 0) tensor.of_samples[s] = result;
  };
  const std::int64_t first = s * tensor.elements;
  switch (tensor.dtype) {
    case DType::float32:
      return reduce(sample_of<Number<float>>(tensor, first));
    case DType::float16:
      return reduce(sample_of<Float16>(tensor, first));
    case DType::bfloat16:
      return reduce(sample_of<Bfloat16>(tensor, first));
    default:
      return reduce(AnyType{tensor, first});
  }
}

__global__ void __launch_bounds__(kThreads) reduce_short_samples(const __grid_constant__ Batch batch) {
  reduce_samples<Warp>(batch);
}

constexpr int kLongThreads = order::kManyLanes;
__global__ void __launch_bounds__(kLongThreads) reduce_long_samples(const __grid_constant__ Batch batch) {
  reduce_samples<BlockTeam<kLongThreads>>(batch);
}

// ---- The fold over samples

template <class T>
__device__ T sum_up_to(T value) {  // of the warp's threads before this one and itself
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T before = __shfl_up_sync(kAll, value, distance);
    if (static_cast<int>(threadIdx.x) % kWarp >= distance) value += before;
  }
  return value;
}

/// One term after the other, which are read ahead.
__device__ double chain(const double* terms, int count, double sum) {
#pragma unroll 8
  for (int i = 0; i < count; ++i) sum = sum + terms[i];
  return sum;
}

/// A value and the sample that it stands in.
struct Extreme {
  double value;
  std::int64_t sample;
};

/// Takes the samples of one tensor by tiles: what can be known of each without those before it is computed by
/// a thread each, the four chains by one thread each, side by side. Order: ascending samples, from +0.
class Fold {
 public:
  static constexpr int kTile = kThreads;

  struct Memory {
    // Of the tile's samples that have finite elements, without gaps.
    double mean[kTile], share[kTile], weight[kTile], distance[kTile], m2[kTile], sum[kTile], squares[kTile];
    double terms[2][kTile];  // of m2, for this tile and the one before
    std::int64_t finite_of_warp[kWarps];
    int samples_of_warp[kWarps];
    Extreme min[kTile], max[kTile];
    std::int64_t nans[kTile];
    double totals[4];  // of the chains
  };

  __device__ Fold(const DeviceTensor& tensor, Memory& memory)
      : tensor_(tensor), memory_(memory), samples_(tensor.elements == 0 ? 0 : tensor.samples) {}

  __device__ void run() {
    int parity = 0, terms = 0;
    for (std::int64_t first = 0; first < samples_; first += kTile, parity ^= 1) {
      const int samples = take(first + t_);
      __syncthreads();
      if (t_ == kMeanThread) chain_means(samples);
      if (t_ == kSumThread) total_ = chain(memory_.sum, samples, total_);
      if (t_ == kSquareThread) total_ = chain(memory_.squares, samples, total_);
      if (t_ == kM2Thread) total_ = chain(memory_.terms[parity ^ 1], terms, total_);
      __syncthreads();
      if (t_ < samples)
        memory_.terms[parity][t_] = m2_term(memory_.m2[t_], memory_.distance[t_], memory_.weight[t_]);
      terms = samples;
      __syncthreads();
    }
    if (t_ == kM2Thread) total_ = chain(memory_.terms[parity ^ 1], terms, total_);
    finish();
  }

 private:
  // In four warps, so that none waits for another.
  static constexpr int kMeanThread = 0, kSumThread = kWarp, kSquareThread = 2 * kWarp, kM2Thread = 3 * kWarp;

  __device__ SampleMoments sample(std::int64_t s) const {
    if (s >= samples_) return {};
    return tensor_.elements == 1 ? moments_of_one(element(tensor_, s)) : tensor_.of_samples[s];
  }

  /// Prepares the thread's sample; returns how many of the tile's have finite elements.
  __device__ int take(std::int64_t s) {
    const SampleMoments own = sample(s);
    const int counts = own.finite > 0 ? 1 : 0, warp = t_ / kWarp;
    std::int64_t finite = sum_up_to(own.finite);
    int place = sum_up_to(counts);
    if (t_ % kWarp == kWarp - 1) memory_.finite_of_warp[warp] = finite, memory_.samples_of_warp[warp] = place;
    __syncthreads();
    std::int64_t all_finite = 0;
    int samples = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) finite += memory_.finite_of_warp[w], place += memory_.samples_of_warp[w];
      all_finite += memory_.finite_of_warp[w], samples += memory_.samples_of_warp[w];
    }
    nans_ += own.nans;
    if (counts != 0) put(own, place - 1, finite_ + finite, s);
    finite_ += all_finite;
    return samples;
  }

  /// `with_it`: finite elements up to this sample's last.
  __device__ void put(const SampleMoments& own, int place, std::int64_t with_it, std::int64_t s) {
    const double share = share_of(own.finite, with_it);
    memory_.mean[place] = own.mean;
    memory_.share[place] = share;
    memory_.weight[place] = weight_of(with_it - own.finite, share);
    memory_.m2[place] = own.m2;
    memory_.sum[place] = own.sum;
    memory_.squares[place] = own.squares;
    if (own.min < min_.value) min_ = {own.min, s};
    if (own.max > max_.value) max_ = {own.max, s};
  }

  __device__ void chain_means(int samples) {
    constexpr int kAtOnce = 8;  // read together, so that the chain does not wait for memory
    for (int base = 0; base < samples; base += kAtOnce) {
      double mean[kAtOnce], share[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) mean[i] = memory_.mean[base + i], share[i] = memory_.share[base + i];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (base + i >= samples) break;
        const double distance = mean[i] - total_;
        memory_.distance[base + i] = distance;
        total_ = mean_with(total_, distance, share[i]);
      }
    }
  }

  __device__ void finish() {
    memory_.min[t_] = min_, memory_.max[t_] = max_, memory_.nans[t_] = nans_;
    if (t_ % kWarp == 0 && t_ / kWarp < 4) memory_.totals[t_ / kWarp] = total_;
    __syncthreads();
    if (t_ != 0) return;
    for (int i = 1; i < kThreads; ++i) {
      const Extreme min = memory_.min[i], max = memory_.max[i];
      if (min.value < min_.value || (min.value == min_.value && min.sample < min_.sample)) min_ = min;
      if (max.value > max_.value || (max.value == max_.value && max.sample < max_.sample)) max_ = max;
      nans_ += memory_.nans[i];
    }
    Moments& result = *tensor_.moments;
    result.count = tensor_.samples * tensor_.elements;
    result.nans = nans_;
    result.finite = finite_;
    result.mean = memory_.totals[kMeanThread / kWarp];
    result.sum = memory_.totals[kSumThread / kWarp];
    result.squares = memory_.totals[kSquareThread / kWarp];
    result.m2 = memory_.totals[kM2Thread / kWarp];
    result.min = min_.value;
    result.max = max_.value;
  }

  const DeviceTensor& tensor_;
  Memory& memory_;
  const std::int64_t samples_;  // those without elements do not count
  const int t_ = static_cast<int>(threadIdx.x);
  double total_ = 0;         // of the threads that have a chain
  std::int64_t finite_ = 0;  // before this tile
  std::int64_t nans_ = 0;    // of this thread's samples, as the extremes
  Extreme min_{HUGE_VAL, INT64_MAX}, max_{-HUGE_VAL, INT64_MAX};
};

__global__ void __launch_bounds__(kThreads) fold_samples(const __grid_constant__ Batch batch) {
  __shared__ Fold::Memory memory;
  Fold(batch.arrays[batch.array_of(blockIdx.x)], memory).run();
}

// ---- Launching

/// Starts a kernel for those tensors that have blocks in it.
template <class BlocksOf>
void launch(const char* name, void (*kernel)(Batch), int threads, const DeviceTensor* tensors,
            std::size_t count, BlocksOf blocks_of, cudaStream_t stream) {
  lockstep::internal::for_each_batch(tensors, count, blocks_of, [&](const Batch& batch, unsigned blocks) {
    if (blocks == 0) return;
    kernel<<<blocks, static_cast<unsigned>(threads), 0, stream>>>(batch);
    check_launch(name);
  });
}

}  // namespace

void fingerprints_cuda(const DeviceTensor* tensors, std::size_t count, void* results,
                       std::size_t result_bytes, void* stream) {
  auto* const on = static_cast<cudaStream_t>(stream);
  const auto start = [&](const char* name, void (*kernel)(Batch), int threads, auto blocks_of) {
    launch(name, kernel, threads, tensors, count, blocks_of, on);
  };
  check_cuda(cudaMemsetAsync(results, 0, result_bytes, on), "fingerprints: results");
  start("fingerprints: digest_ordered", digest_ordered, kThreads, digest_chunks);
  start("fingerprints: digest_unordered", digest_unordered, kThreads, [](const DeviceTensor& tensor) {
    return tensor.unordered == nullptr ? 0 : ceil_div(tensor.samples, kSamplesABlock);
  });
  const auto is_reduced = [](const DeviceTensor& tensor) {
    return tensor.moments != nullptr && tensor.elements > 1;
  };
  start("fingerprints: reduce_short_samples", reduce_short_samples, kThreads,
        [=](const DeviceTensor& tensor) {
          const bool is_short = is_reduced(tensor) && tensor.elements <= order::kShortRow;
          return is_short ? ceil_div(tensor.samples, Warp::kSlices) : 0;
        });
  start("fingerprints: reduce_long_samples", reduce_long_samples, kLongThreads,
        [=](const DeviceTensor& tensor) {
          return is_reduced(tensor) && tensor.elements > order::kShortRow ? tensor.samples : 0;
        });
  start("fingerprints: fold_samples", fold_samples, kThreads,
        [](const DeviceTensor& tensor) { return tensor.moments == nullptr ? 0 : 1; });
}

}  // namespace lockstep::fingerprint::internal
