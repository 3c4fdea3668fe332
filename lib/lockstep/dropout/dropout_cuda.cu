#include <cstdint>

#include "lockstep/base/element_kernels_internal.h"
#include "lockstep/dropout/dropout_internal.h"
#include "lockstep/random/philox_inl.h"

namespace lockstep::dropout_draws {
namespace {

using random::PhiloxWords;

/// The elements that one counter draws for: four of a sample, or what is left of it.
struct Quad {
  std::int64_t offset;  ///< of the first, in the arrays
  int width;
  PhiloxWords words;
};

/// How a call's elements are cut into quads, which are numbered through all samples.
struct Quads {
  std::int64_t a_sample, all;
};

__device__ Quad draw(const Call& call, const Quads& quads, std::int64_t q) {
  std::int64_t sample, block;
  if ((quads.all >> 32) == 0) {  // a division of 32 bits takes a quarter of the time of one of 64
    const auto narrow = static_cast<std::uint32_t>(q), length = static_cast<std::uint32_t>(quads.a_sample);
    sample = narrow / length;
    block = narrow % length;
  } else {
    sample = q / quads.a_sample;
    block = q % quads.a_sample;
  }
  const std::int64_t left = call.elements - 4 * block;
  return {sample * call.elements + 4 * block, left < 4 ? static_cast<int>(left) : 4,
          random::philox_words(
              call.seed, {call.stream, call.step, call.first_sample + static_cast<std::uint32_t>(sample),
                          static_cast<std::uint32_t>(block)})};
}

// ---- Access to a quad: at once where every one is whole and aligned, else one element after the other

template <bool kWhole>
__device__ float4 load(const float* x, const Quad& quad) {
  x += quad.offset;
  if (kWhole) return *reinterpret_cast<const float4*>(x);
  return make_float4(x[0], quad.width > 1 ? x[1] : 0.0f, quad.width > 2 ? x[2] : 0.0f,
                     quad.width > 3 ? x[3] : 0.0f);
}

template <bool kWhole, class Four, class T>
__device__ void store(const Four& four, const Quad& quad, T* y) {
  y += quad.offset;
  if (kWhole) {
    *reinterpret_cast<Four*>(y) = four;
    return;
  }
  y[0] = four.x;
  if (quad.width > 1) y[1] = four.y;
  if (quad.width > 2) y[2] = four.z;
  if (quad.width > 3) y[3] = four.w;
}

// ---- Kernels. Order: none, elements are independent.

/// Two quads at a time, so that the loads of both are under way while their words are drawn.
template <bool kWhole>
__global__ void __launch_bounds__(internal::kElementThreads) dropout_kernel(Call call, Quads quads) {
  const auto drop = [&](const Quad& quad, const float4& x) {
    const auto kept = [&](std::uint32_t word, float value) {
      return word >= call.threshold ? value * call.scale : 0.0f;
    };
    return make_float4(kept(quad.words.w0, x.x), kept(quad.words.w1, x.y), kept(quad.words.w2, x.z),
                       kept(quad.words.w3, x.w));
  };
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * internal::kElementThreads;
  std::int64_t q = static_cast<std::int64_t>(blockIdx.x) * internal::kElementThreads + threadIdx.x;
  for (; q + threads < quads.all; q += 2 * threads) {
    const Quad a = draw(call, quads, q), b = draw(call, quads, q + threads);
    const float4 x_of_a = load<kWhole>(call.x, a), x_of_b = load<kWhole>(call.x, b);
    store<kWhole>(drop(a, x_of_a), a, call.y);
    store<kWhole>(drop(b, x_of_b), b, call.y);
  }
  if (q >= quads.all) return;
  const Quad last = draw(call, quads, q);
  store<kWhole>(drop(last, load<kWhole>(call.x, last)), last, call.y);
}

template <bool kWhole>
__global__ void __launch_bounds__(internal::kElementThreads) mask_kernel(Call call, Quads quads) {
  const auto keeps = [&](std::uint32_t word) {
    return static_cast<unsigned char>(word >= call.threshold ? 1 : 0);
  };
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * internal::kElementThreads;
  std::int64_t q = static_cast<std::int64_t>(blockIdx.x) * internal::kElementThreads + threadIdx.x;
  for (; q < quads.all; q += threads) {
    const Quad quad = draw(call, quads, q);
    store<kWhole>(
        make_uchar4(keeps(quad.words.w0), keeps(quad.words.w1), keeps(quad.words.w2), keeps(quad.words.w3)),
        quad, call.keeps);
  }
}

bool on(std::size_t bytes, const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory) % bytes == 0;
}

}  // namespace

void run_cuda(const Call& call, void* stream) {
  if (call.samples == 0 || call.elements == 0) return;
  const std::int64_t a_sample = (call.elements + 3) / 4;
  const Quads quads{a_sample, call.samples * a_sample};
  const bool whole = call.elements % 4 == 0 && on(sizeof(float4), call.x) && on(sizeof(float4), call.y) &&
                     on(sizeof(uchar4), call.keeps);
  const auto kernel = call.keeps != nullptr ? whole ? mask_kernel<true> : mask_kernel<false>
                      : whole ? dropout_kernel<true>
                                            : dropout_kernel<false>;
  kernel<<<internal::element_blocks(quads.all), internal::kElementThreads, 0,
           static_cast<cudaStream_t>(stream)>>>(call, quads);
  check_launch("dropout");
}

}  // namespace lockstep::dropout_draws
