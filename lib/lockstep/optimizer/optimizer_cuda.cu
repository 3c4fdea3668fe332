// A launch takes up to 64 arrays, whose list is its argument. A step's block has 4,096 elements of one array.

#include <cmath>
#include <cstdint>
#include <cuda_runtime_api.h>

#include "lockstep/base/array_batch_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/optimizer/optimizer_cuda_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep::optimizer {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 256;
constexpr unsigned kAll = 0xffffffffu;
constexpr std::int64_t kElementsABlock = 4096;

template <class Array>
using Batch = internal::ArrayBatch<Array>;

/// Calls launch(batch, blocks) for lists of arrays that together are all, in order.
template <class Array, class Launch>
void for_each_batch(const Array* arrays, std::size_t count, std::int64_t elements_a_block, Launch launch) {
  internal::for_each_batch(
      arrays, count, [=](const Array& array) { return internal::ceil_div(array.count, elements_a_block); },
      launch);
}

// ---- Elementwise

__device__ bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % sizeof(float4) == 0; }

/// Up to four consecutive elements of an array, from `at` on.
struct Four {
  float v[4] = {};

  __device__ void load(const float* from, std::int64_t at, int count, bool whole) {
    if (whole) {
      const float4 four = *reinterpret_cast<const float4*>(from + at);
      v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < count) v[i] = from[at + i];
    }
  }
  __device__ void store(float* to, std::int64_t at, int count, bool whole) const {
    if (whole) {
      *reinterpret_cast<float4*>(to + at) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < count) to[at + i] = v[i];
    }
  }
};

/// Calls work(at, count, whole) for the block's elements, up to four at a time.
template <class Work>
__device__ void for_each_four(std::int64_t block, std::int64_t count, bool vectors, Work work) {
  const std::int64_t begin = block * kElementsABlock;
#pragma unroll
  for (int turn = 0; turn < kElementsABlock / (4 * kThreads); ++turn) {
    const std::int64_t at = begin + (turn * kThreads + static_cast<int>(threadIdx.x)) * 4;
    if (at < count) work(at, count - at < 4 ? static_cast<int>(count - at) : 4, vectors && count - at >= 4);
  }
}

__global__ void __launch_bounds__(kThreads) step_sgd(const __grid_constant__ Batch<SgdParameter> batch,
                                                     const __grid_constant__ SgdFactors<float> factors) {
  const int index = batch.array_of(blockIdx.x);
  const SgdParameter& p = batch.arrays[index];
  const bool has_momentum = factors.momentum != 0.0f;
  const bool vectors = aligned(p.parameter) && aligned(p.gradient) && (!has_momentum || aligned(p.momentum));
  for_each_four(blockIdx.x - batch.first_block[index], p.count, vectors,
                [&](std::int64_t at, int count, bool whole) {
                  Four parameter, gradient, momentum;
                  parameter.load(p.parameter, at, count, whole);
                  gradient.load(p.gradient, at, count, whole);
                  if (has_momentum && !p.first) momentum.load(p.momentum, at, count, whole);
                  for (int i = 0; i < 4; ++i)
                    sgd(parameter.v[i], gradient.v[i], &momentum.v[i], p.first, factors);
                  parameter.store(p.parameter, at, count, whole);
                  if (has_momentum) momentum.store(p.momentum, at, count, whole);
                });
}

template <bool kAmsgrad>
__global__ void __launch_bounds__(kThreads) step_adam(const __grid_constant__ Batch<AdamParameter> batch,
                                                      const __grid_constant__ AdamFactors<float> factors) {
  const int index = batch.array_of(blockIdx.x);
  const AdamParameter& p = batch.arrays[index];
  const bool vectors = aligned(p.parameter) && aligned(p.gradient) && aligned(p.mean) && aligned(p.square) &&
                       (!kAmsgrad || aligned(p.largest_square));
  for_each_four(blockIdx.x - batch.first_block[index], p.count, vectors,
                [&](std::int64_t at, int count, bool whole) {
                  Four parameter, gradient, mean, square, largest;
                  parameter.load(p.parameter, at, count, whole);
                  gradient.load(p.gradient, at, count, whole);
                  mean.load(p.mean, at, count, whole);
                  square.load(p.square, at, count, whole);
                  if (kAmsgrad) largest.load(p.largest_square, at, count, whole);
                  for (int i = 0; i < 4; ++i)
                    adam(parameter.v[i], gradient.v[i], mean.v[i], square.v[i],
                         kAmsgrad ? &largest.v[i] : nullptr, factors);
                  parameter.store(p.parameter, at, count, whole);
                  mean.store(p.mean, at, count, whole);
                  square.store(p.square, at, count, whole);
                  if (kAmsgrad) largest.store(p.largest_square, at, count, whole);
                });
}

__global__ void __launch_bounds__(kThreads)
    scale(const __grid_constant__ Batch<GradientArray> batch, const float* norm, float max_norm) {
  const int index = batch.array_of(blockIdx.x);
  const GradientArray& g = batch.arrays[index];
  const float factor = clip_factor(*norm, max_norm);
  for_each_four(blockIdx.x - batch.first_block[index], g.count, aligned(g.data),
                [&](std::int64_t at, int count, bool whole) {
                  Four x;
                  x.load(g.data, at, count, whole);
                  for (float& v : x.v) v = v * factor;
                  x.store(g.data, at, count, whole);
                });
}

// ---- The norm

/// A warp's sum of one block of at most 1,024 terms, in every lane's order of 128 lanes: this lane holds
/// lanes 4t … 4t + 3. Order: lane j mod 128, ascending in j, from +0; then the tree, s = 64 … 1. The result
/// is lane 0's.
template <bool kSquared>
__device__ float block_sum(const float* x, std::int64_t count) {
  static_assert(order::kFewLanes == 4 * kWarp);
  const int t = static_cast<int>(threadIdx.x) % kWarp;
  const bool vectors = aligned(x);
  Four terms[kNormBlock / order::kFewLanes], lane;
#pragma unroll
  for (int turn = 0; turn < kNormBlock / order::kFewLanes; ++turn) {
    const std::int64_t at = turn * order::kFewLanes + 4 * t, rest = count - at;
    if (rest > 0) terms[turn].load(x, at, rest < 4 ? static_cast<int>(rest) : 4, vectors && rest >= 4);
  }
#pragma unroll
  for (int turn = 0; turn < kNormBlock / order::kFewLanes;
       ++turn)  // +0 behind the end leaves a lane as it is
    for (int i = 0; i < 4; ++i) {
      const float term = terms[turn].v[i];
      lane.v[i] = kSquared ? std::fma(term, term, lane.v[i]) : lane.v[i] + term;
    }
  for (int s = kWarp / 2; s > 0; s /= 2)  // 4 s lanes on
    for (float& v : lane.v) v = v + __shfl_down_sync(kAll, v, s);
  return (lane.v[0] + lane.v[2]) + (lane.v[1] + lane.v[3]);
}

constexpr int kWarpsABlock = kThreads / kWarp;

/// A warp for each block of 1,024 elements.
__global__ void __launch_bounds__(kThreads) sum_squares(const __grid_constant__ Batch<GradientArray> batch) {
  const int index = batch.array_of(blockIdx.x);
  const GradientArray& g = batch.arrays[index];
  const std::int64_t block =
      std::int64_t{blockIdx.x - batch.first_block[index]} * kWarpsABlock + threadIdx.x / kWarp;
  const std::int64_t begin = block * kNormBlock;
  if (begin >= g.count) return;
  const float sum = block_sum<true>(g.data + begin, min(kNormBlock, g.count - begin));
  if (threadIdx.x % kWarp == 0) g.partials[block] = sum;
}

constexpr int kReduceThreads = 1024;

/// An array's partials, a warp for each block of 1,024, again and again until one is left. One block an
/// array.
__global__ void __launch_bounds__(kReduceThreads)
    reduce_partials(const __grid_constant__ Batch<GradientArray> batch) {
  constexpr int kWarps = kReduceThreads / kWarp;
  const GradientArray& g = batch.arrays[blockIdx.x];
  std::int64_t count = norm_blocks(g.count);
  while (count > 1) {
    const std::int64_t blocks = norm_blocks(count);
    for (std::int64_t base = 0; base < blocks;
         base += kWarps) {  // what is written was read in this turn, or before
      const std::int64_t block = base + threadIdx.x / kWarp, begin = block * kNormBlock;
      const float sum =
          block < blocks ? block_sum<false>(g.partials + begin, min(kNormBlock, count - begin)) : 0.0f;
      __syncthreads();
      if (block < blocks && threadIdx.x % kWarp == 0) g.partials[block] = sum;
    }
    __syncthreads();
    count = blocks;
  }
  if (threadIdx.x == 0) *g.sum = count == 0 ? 0.0f : g.partials[0];
}

/// Order: one chain over the gradients from +0, one sqrt. One warp.
__global__ void __launch_bounds__(kWarp) finish_norm(const float* sums, std::int64_t count, float* norm) {
  const int lane = static_cast<int>(threadIdx.x);
  float total = 0.0f;
  for (std::int64_t base = 0; base < count; base += kWarp) {
    const float own = base + lane < count ? sums[base + lane] : 0.0f;
    for (int i = 0; i < kWarp && base + i < count; ++i) total = total + __shfl_sync(kAll, own, i);
  }
  if (lane == 0) *norm = std::sqrt(total);
}

}  // namespace

void sgd_cuda(const SgdParameter* parameters, std::size_t count, const SgdFactors<float>& factors,
              void* stream) {
  for_each_batch(parameters, count, kElementsABlock, [&](const Batch<SgdParameter>& batch, unsigned blocks) {
    if (blocks == 0) return;
    step_sgd<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(batch, factors);
    check_launch("sgd: step_sgd");
  });
}

void adam_cuda(const AdamParameter* parameters, std::size_t count, const AdamFactors<float>& factors,
               bool amsgrad, void* stream) {
  auto* const on = static_cast<cudaStream_t>(stream);
  for_each_batch(parameters, count, kElementsABlock, [&](const Batch<AdamParameter>& batch, unsigned blocks) {
    if (blocks == 0) return;
    if (amsgrad)
      step_adam<true><<<blocks, kThreads, 0, on>>>(batch, factors);
    else
      step_adam<false><<<blocks, kThreads, 0, on>>>(batch, factors);
    check_launch("adam: step_adam");
  });
}

void gradient_norm_cuda(const GradientArray* gradients, std::size_t count, const float* sums, float* norm,
                        void* stream) {
  auto* const on = static_cast<cudaStream_t>(stream);
  for_each_batch(gradients, count, kWarpsABlock * kNormBlock,
                 [&](const Batch<GradientArray>& batch, unsigned blocks) {
                   if (blocks > 0) {
                     sum_squares<<<blocks, kThreads, 0, on>>>(batch);
                     check_launch("gradient_norm: sum_squares");
                   }
                   reduce_partials<<<static_cast<unsigned>(batch.count), kReduceThreads, 0, on>>>(batch);
                   check_launch("gradient_norm: reduce_partials");
                 });
  finish_norm<<<1, kWarp, 0, on>>>(sums, static_cast<std::int64_t>(count), norm);
  check_launch("gradient_norm: finish_norm");
}

void clip_cuda(const GradientArray* gradients, std::size_t count, const float* norm, float max_norm,
               void* stream) {
  for_each_batch(gradients, count, kElementsABlock, [&](const Batch<GradientArray>& batch, unsigned blocks) {
    if (blocks == 0) return;
    scale<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(batch, norm, max_norm);
    check_launch("clip_gradient_norm: scale");
  });
}

}  // namespace lockstep::optimizer
