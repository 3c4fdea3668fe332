#pragma once
// Elementwise operations that are more than one IEEE operation, so that a vector loop and its tail in another
// library may round them differently (contracts, section 11). Here each has one expression, with every fused
// multiply-add written out, for every element. README.md holds the specification.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kElementwiseSpecVersion = 1;

/// What a call reads: memory with one element for each of the result's, or one number for all of
/// them.
template <class T>
class BasicOperand {
 public:
  BasicOperand(const T* values) : values_(values), is_array_(true) {}
  BasicOperand(T value) : value_(value) {}

  bool is_array() const { return is_array_; }
  const T* values() const { return values_; }  ///< of an array
  T value() const { return value_; }           ///< of a number

 private:
  const T* values_ = nullptr;
  T value_ = 0;
  bool is_array_ = false;
};
using Operand = BasicOperand<float>;
using Operand64 = BasicOperand<double>;

// Every function writes `count` contiguous float32 elements at `out`, in `device`'s memory. An array operand
// lies there too; it may be `out` itself (the operation in place), but must not overlap it otherwise.
// `stream` is the cudaStream_t to work on (null: the default stream), unused on the CPU; a call returns
// before a CUDA device's work is done. Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads
// excepted). NaN, infinities, zeros and subnormals as the IEEE operations of the expression make them. Throws
// Error(invalid_argument) for a negative count or a null array with count above 0, Error(unsupported) for
// Device::cuda in a build without CUDA, or without a device.

/// out = fma(alpha, other, x): x + alpha · other with one rounding. Subtraction is a negative alpha.
void add_scaled(float* out, Operand x, Operand other, float alpha, std::int64_t count,
                Device device = Device::cpu, void* stream = nullptr);

/// out = fma(value · a, b, x): x + value · a · b.
void addcmul(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count,
             Device device = Device::cpu, void* stream = nullptr);

/// out = fma(value, a / b, x): x + value · (a / b).
void addcdiv(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count,
             Device device = Device::cpu, void* stream = nullptr);

/// out = fma(weight, end - start, start) where |weight| < 1/2, else fma(weight - 1, end - start, end): exact
/// at weight 0 and 1.
void lerp(float* out, Operand start, Operand end, Operand weight, std::int64_t count,
          Device device = Device::cpu, void* stream = nullptr);

// The same in float64, by the same expressions: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads. Errors as
// above, and Error(unsupported) for Device::cuda.

void add_scaled(double* out, Operand64 x, Operand64 other, double alpha, std::int64_t count,
                Device device = Device::cpu, void* stream = nullptr);
void addcmul(double* out, Operand64 x, Operand64 a, Operand64 b, double value, std::int64_t count,
             Device device = Device::cpu, void* stream = nullptr);
void addcdiv(double* out, Operand64 x, Operand64 a, Operand64 b, double value, std::int64_t count,
             Device device = Device::cpu, void* stream = nullptr);
void lerp(double* out, Operand64 start, Operand64 end, Operand64 weight, std::int64_t count,
          Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
