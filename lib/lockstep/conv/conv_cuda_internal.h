#pragma once
// What the CUDA forms of the dots and of the folds share.

#include <cstdint>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/copy_async_internal.h"
#include "lockstep/base/host_device.h"
#include "lockstep/conv/conv.h"

namespace lockstep::conv_internal {

/// The tiled kernels count inside a sample's group in 32 bits.
constexpr bool is_narrow(const ConvGeometry& g) {
  constexpr std::int64_t kMost = std::int64_t{1} << 29;  // no sum of two of them leaves 32 bits
  // What a tap reads lies so far from the image's corner at most, inside of the image or not.
  const std::int64_t h = g.in_h + 2 * g.pad_h + g.kernel_h * g.dilation_h + g.stride_h;
  const std::int64_t w = g.in_w + 2 * g.pad_w + g.kernel_w * g.dilation_w + g.stride_w;
  const std::int64_t channels = g.in_channels / g.groups, filters = g.out_channels / g.groups;
  return h <= kMost && w <= kMost && h * w <= kMost && channels * g.in_h * g.in_w <= kMost &&
         filters * g.out_pixels() <= kMost && filters * g.taps() <= kMost;
}

/// Where a tap, a pixel or both do not exist: outside of any image that the tiled kernels take.
constexpr int kNowhere = -(1 << 29);

constexpr int kLanes = 32;

using internal::ceil_div;

/// n / divisor, in 32 bits where that is enough: a division of 64 takes four times as long.
__device__ inline std::int64_t quotient(std::int64_t n, std::int64_t divisor) {
  if (((n | divisor) >> 32) == 0) return static_cast<std::uint32_t>(n) / static_cast<std::uint32_t>(divisor);
  return n / divisor;
}

/// Starts the copy of a float to shared memory, or of a zero where there is none: `from` is not read then.
__device__ inline void copy_or_zero(float* to, const float* from, bool exists) {
  internal::copy_async<1>(to, from, exists ? 1 : 0);
}

/// The same pointer, from then on in registers: left to itself the compiler works it out again at each use.
__device__ inline const float* kept(const float* pointer) {
  asm("" : "+l"(pointer));
  return pointer;
}

/// Reads from shared memory, on a boundary of four floats or of two.
template <int count>
__device__ inline void read_shared(const float* from, float (&to)[count]) {
  if constexpr (count % 4 == 0) {
#pragma unroll
    for (int i = 0; i < count; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < count; i += 2) {
      const float2 two = *reinterpret_cast<const float2*>(from + i);
      to[i] = two.x, to[i + 1] = two.y;
    }
  }
}

__device__ inline bool is_inside(int at, int extent) {
  return static_cast<unsigned>(at) < static_cast<unsigned>(extent);
}

/// Digits of a number that grows in equal steps, without a division each: `low` counts to low_count, then
/// `middle` takes one, and `high` as it counts to middle_count. A step is given in the same digits.
struct Digits {
  int high = 0, middle = 0, low = 0;

  static __device__ Digits of(int number, int middle_count, int low_count) {
    const int rest = number % (middle_count * low_count);
    return {number / (middle_count * low_count), rest / low_count, rest % low_count};
  }
  __device__ void advance(const Digits& step, int middle_count, int low_count) {
    low += step.low;
    if (low >= low_count) low -= low_count, ++middle;
    middle += step.middle;
    if (middle >= middle_count) middle -= middle_count, ++high;
    high += step.high;
  }
};

}  // namespace lockstep::conv_internal
