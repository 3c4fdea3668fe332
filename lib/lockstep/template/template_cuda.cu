#include <algorithm>
#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/template/template_internal.h"

namespace lockstep {
namespace {

constexpr std::int64_t kMostBlocks = 1 << 20;

// Order: thread t is lane t, a chain over j = t, t + W, …; then the tree, s = W/2 … 1.
template <int W>
__global__ void __launch_bounds__(W) row_lane_sum(const float* x,         // [rows, features]
                                                  float* y,               // [rows]
                                                  std::int64_t rows,      //
                                                  std::int64_t features)  //
{
  __shared__ float lane[W];
  const int t = static_cast<int>(threadIdx.x);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    float sum = 0.0f;
    for (std::int64_t j = t; j < features; j += W) sum += x[r * features + j];
    lane[t] = sum;
    __syncthreads();
    for (int s = W / 2; s > 0; s /= 2) {
      if (t < s) lane[t] += lane[t + s];
      __syncthreads();
    }
    if (t == 0) y[r] = lane[0];
    __syncthreads();
  }
}

}  // namespace

void template_op_cuda(const float* x, float* y, std::int64_t rows, std::int64_t features, void* stream) {
  if (rows == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(rows, kMostBlocks));
  auto* const on = static_cast<cudaStream_t>(stream);
  if (order::lane_count(features) == order::kFewLanes) {
    row_lane_sum<order::kFewLanes><<<blocks, order::kFewLanes, 0, on>>>(x, y, rows, features);
  } else {
    row_lane_sum<order::kManyLanes><<<blocks, order::kManyLanes, 0, on>>>(x, y, rows, features);
  }
  check_launch("template_op: row_lane_sum");
}

}  // namespace lockstep
