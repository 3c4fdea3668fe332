#pragma once
// For .cu files of any room: kernels that compute each element of a result from the elements in the same
// place of its operands. Elements are independent, so neither the grid nor the vectors show in the bits.

#include <algorithm>
#include <cstdint>

#include "lockstep/base/cuda_check_internal.h"

namespace lockstep::internal {

constexpr int kElementThreads = 256;
/// Eight blocks fill a multiprocessor; so many for each of the 132 of an H200 that the last round of blocks,
/// which may leave some idle, is one of at least eight.
constexpr std::int64_t kMostElementBlocks = 132 * 64;

// ---- What an operand may be. Each gives element i, and the four from i on where the result's are on 16
// bytes.

/// [count]. An array may be the result.
struct CudaArray {
  const float* elements;

  /// Null: the operand asks nothing of the result's alignment.
  const float* aligned() const { return elements; }
  __device__ float at(std::int64_t i) const { return elements[i]; }
  __device__ float4 four_at(std::int64_t i) const { return *reinterpret_cast<const float4*>(elements + i); }
};

/// One number for all elements.
struct CudaNumber {
  float all;

  const float* aligned() const { return nullptr; }
  __device__ float at(std::int64_t) const { return all; }
  __device__ float4 four_at(std::int64_t) const { return make_float4(all, all, all, all); }
};

/// Either of the two, known at run time: an array where `elements` is not null.
struct CudaArrayOrNumber {
  const float* elements;
  float all;

  const float* aligned() const { return elements; }
  __device__ float at(std::int64_t i) const { return elements == nullptr ? all : elements[i]; }
  __device__ float4 four_at(std::int64_t i) const {
    float4 four = make_float4(all, all, all, all);
    if (elements != nullptr) four = *reinterpret_cast<const float4*>(elements + i);
    return four;
  }
};

/// [period], again and again.
struct CudaRepeated {
  const float* elements;
  std::int64_t period;

  const float* aligned() const { return nullptr; }
  __device__ float at(std::int64_t i) const { return elements[place(i)]; }
  __device__ float4 four_at(std::int64_t i) const {
    const std::int64_t x = place(i), y = after(x), z = after(y), w = after(z);
    return make_float4(elements[x], elements[y], elements[z], elements[w]);
  }

 private:
  /// A division of 32 bits takes a quarter of the time of one of 64.
  __device__ std::int64_t place(std::int64_t i) const {
    if (((i | period) >> 32) == 0) return static_cast<std::uint32_t>(i) % static_cast<std::uint32_t>(period);
    return i % period;
  }
  __device__ std::int64_t after(std::int64_t j) const { return j + 1 == period ? 0 : j + 1; }
};

// ---- The kernel

/// Elements in three parts: `head` of them up to the first on 16 bytes, `vectors` of four, and what is left.
struct ElementParts {
  std::int64_t head, vectors, count;
};

/// Order: none, elements are independent. Thread t takes the vectors t, t + threads, …, two at a time, so
/// that the loads of both are under way before the first is needed.
template <class Formula, class... Operand>
__global__ void __launch_bounds__(kElementThreads)
    map_elements_kernel(float* result, ElementParts parts, Formula formula, Operand... operand) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kElementThreads;
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kElementThreads + threadIdx.x;
  const auto four = [&](std::int64_t v) {
    const auto apply = [&](auto... of) {
      return make_float4(formula(of.x...), formula(of.y...), formula(of.z...), formula(of.w...));
    };
    return apply(operand.four_at(parts.head + 4 * v)...);
  };
  auto* const vector = reinterpret_cast<float4*>(result + parts.head);
  std::int64_t v = t;
  for (; v + threads < parts.vectors; v += 2 * threads) {
    const float4 a = four(v), b = four(v + threads);
    vector[v] = a;
    vector[v + threads] = b;
  }
  if (v < parts.vectors) vector[v] = four(v);
  for (std::int64_t i = t; i < parts.head; i += threads) result[i] = formula(operand.at(i)...);
  for (std::int64_t i = parts.head + 4 * parts.vectors + t; i < parts.count; i += threads)
    result[i] = formula(operand.at(i)...);
}

// ---- The launch

/// No vectors where result and operands do not reach 16 bytes at the same element.
template <class... Operand>
ElementParts element_parts(const float* result, std::int64_t count, const Operand&... operand) {
  const auto past = [](const float* of) { return reinterpret_cast<std::uintptr_t>(of) % sizeof(float4); };
  const auto fits = [&](const float* of) { return of == nullptr || past(of) == past(result); };
  if (!(fits(operand.aligned()) && ...)) return {0, 0, count};
  const auto to_next =
      static_cast<std::int64_t>((sizeof(float4) - past(result)) % sizeof(float4) / sizeof(float));
  const std::int64_t head = std::min(count, to_next);
  return {head, (count - head) / 4, count};
}

/// Blocks for so many pieces of work, of which a thread takes two at a time.
inline unsigned element_blocks(std::int64_t pieces) {
  const std::int64_t a_block = 2 * kElementThreads;
  return static_cast<unsigned>(
      std::clamp<std::int64_t>((pieces + a_block - 1) / a_block, 1, kMostElementBlocks));
}

/// result[i] = formula(operand[i]…) for i = 0 … count - 1, on `stream`. The result may be an array operand,
/// but must not overlap one otherwise.
template <class Formula, class... Operand>
void map_elements(const char* kernel, float* result, std::int64_t count, void* stream, Formula formula,
                  Operand... operand) {
  if (count == 0) return;
  const ElementParts parts = element_parts(result, count, operand...);
  const unsigned blocks = element_blocks(parts.vectors > 0 ? parts.vectors : count);
  map_elements_kernel<<<blocks, kElementThreads, 0, static_cast<cudaStream_t>(stream)>>>(result, parts,
                                                                                         formula, operand...);
  check_launch(kernel);
}

/// A formula of as many floats as it has parameters, as map_elements takes it.
template <auto formula>
struct OfFloats {
  template <class... Float>
  __device__ float operator()(Float... of) const {
    return formula(of...);
  }
};

}  // namespace lockstep::internal
