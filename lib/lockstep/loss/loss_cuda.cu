#include <algorithm>
#include <cstdint>

#include "lockstep/base/element_kernels_internal.h"
#include "lockstep/loss/loss_inl.h"
#include "lockstep/loss/loss_internal.h"
#include "lockstep/order/lanes.h"

namespace lockstep::loss_internal {
namespace {

namespace formulas = math::internal::loss;
using internal::CudaArray;
using internal::CudaArrayOrNumber;
using internal::CudaNumber;
using internal::CudaRepeated;
using internal::map_elements;
using internal::OfFloats;

// ---- Elements

CudaArray array(const Operand& operand) { return {operand.elements}; }
CudaNumber number(const Operand& operand) { return {operand.all}; }
CudaArrayOrNumber either(const Operand& operand) { return {operand.elements, operand.all}; }
CudaRepeated repeated(const Operand& operand) { return {operand.elements, operand.period}; }

/// A call as its formulas name it: of[0] is the first operand.
struct Map {
  const Call& call;
  std::int64_t count;
  void* stream;

  template <class Formula, class... Source>
  void operator()(const char* kernel, Formula formula, Source... source) const {
    map_elements(kernel, call.result, count, stream, formula, source...);
  }
};

void bce_with_logits(const Map& map, const Operand* of) {
  const OfFloats<formulas::bce_with_logits<float>> formula;
  const CudaArray x = array(of[0]), target = array(of[1]);
  if (of[2].period > 0) return map("bce_with_logits", formula, x, target, repeated(of[2]), either(of[3]));
  map("bce_with_logits", formula, x, target, number(of[2]), either(of[3]));
}

void bce_with_logits_backward(const Map& map, const Operand* of) {
  const OfFloats<formulas::bce_with_logits_backward<float>> formula;
  const CudaArray x = array(of[0]), target = array(of[1]);
  const CudaArrayOrNumber weight = either(of[3]), g = either(of[4]);
  if (of[2].period > 0)
    return map("bce_with_logits_backward", formula, x, target, repeated(of[2]), weight, g);
  map("bce_with_logits_backward", formula, x, target, number(of[2]), weight, g);
}

// ---- Sums of rows, by lanes

constexpr int kWarp = 32;
constexpr int kGroup = order::kManyLanes / 4;  // threads that hold the lanes of a block, four each
constexpr int kGroups = 4;                     // of a long row, a block of it each
constexpr int kTinyRow = 8;                    // longest row that one thread sums

__device__ void add(float4& lane, const float4& term) {
  lane.x += term.x;
  lane.y += term.y;
  lane.z += term.z;
  lane.w += term.w;
}

/// Order: thread t holds the lanes 4t … 4t + 3, each a chain over j, j + lanes, … from +0.
template <bool kVectors>
__device__ float4 lane_chains(const float* x, std::int64_t n, int lanes, int t) {
  float4 lane = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (4 * t >= lanes) return lane;
  const auto four = [&](std::int64_t j) {
    return kVectors ? *reinterpret_cast<const float4*>(x + j)
                    : make_float4(x[j], x[j + 1], x[j + 2], x[j + 3]);
  };
  std::int64_t j = 4 * t;
  for (; j + 3 * lanes + 3 < n; j += 4 * lanes) {  // four loads are under way at a time
    const float4 a = four(j), b = four(j + lanes), c = four(j + 2 * lanes), d = four(j + 3 * lanes);
    add(lane, a);
    add(lane, b);
    add(lane, c);
    add(lane, d);
  }
  for (; j + 3 < n; j += lanes) add(lane, four(j));
  if (j < n) lane.x += x[j];
  if (j + 1 < n) lane.y += x[j + 1];
  if (j + 2 < n) lane.z += x[j + 2];
  return lane;
}

/// The tree over the 128 lanes of a warp, s = 64 … 1: threads 4 lanes apart pair up to s = 4, then a thread's
/// own lanes. Only the first thread's result counts. A lane that no element met is +0, which changes no sum
/// from +0.
__device__ float tree_of_warp(float4 lane) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    constexpr unsigned kAll = 0xffffffff;
    add(lane, make_float4(__shfl_down_sync(kAll, lane.x, apart), __shfl_down_sync(kAll, lane.y, apart),
                          __shfl_down_sync(kAll, lane.z, apart), __shfl_down_sync(kAll, lane.w, apart)));
  }
  return (lane.x + lane.z) + (lane.y + lane.w);
}

/// The tree over the 1,024 lanes of a group, s = 512 … 128 between warps, then in the first one, whose first
/// thread has the result. All threads of the block call it; levels use places of `shared` [kGroup] that are
/// apart, so that one barrier each is enough, for calls one after the other too.
__device__ float tree_of_group(float4 lane, float4* shared, int t) {
  for (int half = kGroup / 2; half >= kWarp; half /= 2) {
    if (t >= half && t < 2 * half) shared[t] = lane;
    __syncthreads();
    if (t < half) add(lane, shared[t + half]);
  }
  return t < kWarp ? tree_of_warp(lane) : 0.0f;
}

/// Rows of up to kTinyRow elements, a thread each. Order: element j is lane j, and the tree.
__global__ void __launch_bounds__(internal::kElementThreads)
    tiny_rows_kernel(const float* x,         // [rows, features]
                     float* y,               // [rows]
                     std::int64_t rows,      //
                     std::int64_t features)  //
{
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * internal::kElementThreads;
  std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * internal::kElementThreads + threadIdx.x;
  for (; r < rows; r += threads) {
    float lane[kTinyRow];
#pragma unroll
    for (int j = 0; j < kTinyRow; ++j) lane[j] = j < features ? 0.0f + x[r * features + j] : 0.0f;
#pragma unroll
    for (int s = kTinyRow / 2; s > 0; s /= 2) {
#pragma unroll
      for (int i = 0; i < s; ++i) lane[i] += lane[i + s];
    }
    y[r] = lane[0];
  }
}

/// Rows of up to 8,192 elements, a warp each. Order: lane_chains over 128 lanes, and the tree.
template <bool kVectors>
__global__ void __launch_bounds__(internal::kElementThreads)
    short_rows_kernel(const float* x,         // [rows, features]
                      float* y,               // [rows]
                      std::int64_t rows,      //
                      std::int64_t features)  //
{
  constexpr int kWarps = internal::kElementThreads / kWarp;
  const int t = static_cast<int>(threadIdx.x) % kWarp;
  std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  for (; r < rows; r += static_cast<std::int64_t>(gridDim.x) * kWarps) {
    const float sum = tree_of_warp(lane_chains<kVectors>(x + r * features, features, order::kFewLanes, t));
    if (t == 0) y[r] = sum;
  }
}

/// Rows of up to 65,536 elements, a block of threads each. Order: lane_chains over 1,024 lanes, and the tree.
template <bool kVectors>
__global__ void __launch_bounds__(kGroup) middle_rows_kernel(const float* x,         // [rows, features]
                                                             float* y,               // [rows]
                                                             std::int64_t rows,      //
                                                             std::int64_t features)  //
{
  __shared__ float4 shared[kGroup];
  const int t = static_cast<int>(threadIdx.x);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float sum =
        tree_of_group(lane_chains<kVectors>(x + r * features, features, order::kManyLanes, t), shared, t);
    if (t == 0) y[r] = sum;
  }
}

/// Longer rows, a block of threads each, in blocks of 65,536 elements that its groups take by turns. Order:
/// each block's lane_chains and tree; the sum of block b joins lane b mod W of the row, ascending in b; then
/// their tree.
template <bool kVectors>
__global__ void __launch_bounds__(kGroups* kGroup) long_rows_kernel(const float* x,     // [rows, features]
                                                                    float* y,           // [rows]
                                                                    std::int64_t rows,  //
                                                                    std::int64_t features)  //
{
  __shared__ float4 shared[kGroups][kGroup];
  __shared__ float4 lanes_of_row[kGroup];
  const int group = static_cast<int>(threadIdx.x) / kGroup, t = static_cast<int>(threadIdx.x) % kGroup;
  const std::int64_t blocks = order::lane_blocks(features);
  const int lanes = order::lane_count(blocks);
  auto* const lane_of_row = reinterpret_cast<float*>(lanes_of_row);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float* const row = x + r * features;
    lane_of_row[threadIdx.x] = 0.0f;  // the barriers of the first tree lie before the first sum
    for (std::int64_t first = 0; first < blocks; first += kGroups) {
      const std::int64_t begin = min((first + group) * order::kElementsPerBlock, features);
      const std::int64_t n = min(features - begin, order::kElementsPerBlock);
      const float sum =
          tree_of_group(lane_chains<kVectors>(row + begin, n, order::lane_count(n), t), shared[group], t);
      // W is a multiple of kGroups, so a lane meets the sums of one group alone, whose first thread adds
      // them.
      if (t == 0 && n > 0) lane_of_row[(first + group) % lanes] += sum;
    }
    __syncthreads();
    const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float sum = tree_of_group(group == 0 ? lanes_of_row[t] : none, shared[group], t);
    if (threadIdx.x == 0) y[r] = sum;
  }
}

}  // namespace

void run_cuda(const Call& call, std::int64_t count, void* stream) {
  const Map map{call, count, stream};
  const Operand* const of = call.operands;
  switch (call.formula) {
    case Formula::mse:
      return map("mse", OfFloats<formulas::mse<float>>(), array(of[0]), array(of[1]));
    case Formula::mse_backward:
      return map("mse_backward", OfFloats<formulas::mse_backward<float>>(), array(of[0]), array(of[1]),
                 either(of[2]));
    case Formula::l1:
      return map("l1", OfFloats<formulas::l1<float>>(), array(of[0]), array(of[1]));
    case Formula::l1_backward:
      return map("l1_backward", OfFloats<formulas::l1_backward<float>>(), array(of[0]), array(of[1]),
                 either(of[2]));
    case Formula::bce_with_logits:
      return bce_with_logits(map, of);
    case Formula::bce_with_logits_backward:
      return bce_with_logits_backward(map, of);
    case Formula::margin_ranking:
      return map("margin_ranking", OfFloats<formulas::margin_ranking<float>>(), array(of[0]), array(of[1]),
                 array(of[2]), number(of[3]));
    case Formula::margin_ranking_backward:
      return map("margin_ranking_backward", OfFloats<formulas::margin_ranking_backward<float>>(),
                 array(of[0]), array(of[1]), array(of[2]), number(of[3]), either(of[4]));
  }
}

void row_losses_cuda(const float* loss, float* rows_loss, const LossExtents& extents, void* stream) {
  const std::int64_t rows = extents.rows, features = extents.features;
  if (rows == 0) return;
  const bool vectors = features % 4 == 0 && reinterpret_cast<std::uintptr_t>(loss) % sizeof(float4) == 0;
  const auto launch = [&](auto kernel, std::int64_t rows_a_block, int threads) {
    const std::int64_t blocks = (rows + rows_a_block - 1) / rows_a_block;
    kernel<<<static_cast<unsigned>(std::min(blocks, internal::kMostElementBlocks)), threads, 0,
             static_cast<cudaStream_t>(stream)>>>(loss, rows_loss, rows, features);
    check_launch("row_losses");
  };
  constexpr int kThreads = internal::kElementThreads;
  if (features <= kTinyRow) return launch(tiny_rows_kernel, kThreads, kThreads);
  if (features <= order::kShortRow)
    return launch(vectors ? short_rows_kernel<true> : short_rows_kernel<false>, kThreads / kWarp, kThreads);
  if (features <= order::kElementsPerBlock)
    return launch(vectors ? middle_rows_kernel<true> : middle_rows_kernel<false>, 1, kGroup);
  launch(vectors ? long_rows_kernel<true> : long_rows_kernel<false>, 1, kGroups * kGroup);
}

}  // namespace lockstep::loss_internal
