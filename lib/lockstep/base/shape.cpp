#include "lockstep/base/shape.h"

#include <algorithm>

#include "lockstep/base/error.h"

namespace lockstep {

Shape::Shape(const std::int64_t* extents, std::size_t rank) {
  if (rank > kMaxRank) {
    fail(ErrorCode::invalid_argument, {"shape", "rank", "at most 8 axes", std::to_string(rank), {}});
  }
  rank_ = static_cast<int>(rank);
  std::copy_n(extents, rank, extents_.begin());
  // Empty tensors are checked too, so that no product of the other extents can overflow later.
  std::int64_t product = 1;
  for (std::int64_t extent : *this) {
    std::int64_t next = 0;
    const bool overflow = __builtin_mul_overflow(product, std::max<std::int64_t>(extent, 1), &next);
    if (extent < 0 || overflow || next >= (std::int64_t{1} << 62)) {
      fail(ErrorCode::invalid_argument,
           {"shape", "extents", "none negative and a product below 2^62", text(), {}});
    }
    product = next;
  }
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (std::int64_t extent : *this) product *= extent;
  return product;
}

Shape Shape::prepended(std::int64_t extent) const {
  std::array<std::int64_t, kMaxRank + 1> extents{};
  extents[0] = extent;
  std::copy(begin(), end(), extents.begin() + 1);
  return Shape(extents.data(), static_cast<std::size_t>(rank_) + 1);
}

Shape Shape::without_first() const {
  if (rank_ == 0) fail(ErrorCode::invalid_argument, {"shape", "rank", "at least 1 axis", "a scalar", {}});
  return Shape(begin() + 1, static_cast<std::size_t>(rank_) - 1);
}

std::string Shape::text() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string((*this)[axis]);
  }
  return text + "]";
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

}  // namespace lockstep
