#pragma once
// The extents of a contiguous, row-major tensor.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace lockstep {

/// Up to kMaxRank extents, none negative, product below 2^62. A value type without allocation.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;  ///< rank 0: a scalar
  /// Throws Error(invalid_argument) for too many, negative or overflowing extents.
  Shape(std::initializer_list<std::int64_t> extents) : Shape(extents.begin(), extents.size()) {}
  Shape(const std::int64_t* extents, std::size_t rank);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  /// Product of the extents; 1 for a scalar.
  std::int64_t elements() const;
  /// This shape with `extent` put before its first axis: a record's shape to a batch's.
  Shape prepended(std::int64_t extent) const;
  /// This shape without its first axis. Throws Error(invalid_argument) for a scalar.
  Shape without_first() const;
  /// "[64, 28, 28]", "[]" for a scalar.
  std::string text() const;
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace lockstep
