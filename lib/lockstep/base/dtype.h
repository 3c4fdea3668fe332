#pragma once
// Element types. The numbers are persisted in recordings and checkpoints: never change or reuse one.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lockstep {

enum class DType : std::uint8_t {
  boolean = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  uint32 = 6,
  int32 = 7,
  uint64 = 8,
  int64 = 9,
  float16 = 10,
  bfloat16 = 11,
  float32 = 12,
  float64 = 13,
};

/// Size of one element in bytes. Throws Error(corruption) for a number that is no dtype.
std::size_t dtype_bytes(DType dtype);

/// torch's name without its prefix: "float32", "bool", "uint8". Throws Error(corruption) for a number that is
/// no dtype.
std::string_view dtype_name(DType dtype);

/// The inverse of dtype_name. Throws Error(invalid_argument) for an unknown name.
DType parse_dtype(std::string_view name);

/// True for the four floating-point types.
bool is_floating_point(DType dtype);

/// True for a number that names a dtype; for values that come from a file.
bool is_dtype(std::uint8_t number);

template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<bool>() {
  return DType::boolean;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::uint8;
}
template <>
constexpr DType dtype_of<std::int8_t>() {
  return DType::int8;
}
template <>
constexpr DType dtype_of<std::uint16_t>() {
  return DType::uint16;
}
template <>
constexpr DType dtype_of<std::int16_t>() {
  return DType::int16;
}
template <>
constexpr DType dtype_of<std::uint32_t>() {
  return DType::uint32;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::int32;
}
template <>
constexpr DType dtype_of<std::uint64_t>() {
  return DType::uint64;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::int64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::float32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::float64;
}

}  // namespace lockstep
