#pragma once
// Record ids in as few bytes as they need.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::loader {

/// A list of numbers in [0, bound): 4 bytes each for a bound up to 2^32, else 8.
class IdList {
 public:
  explicit IdList(std::int64_t bound) : narrow_(bound <= std::int64_t{1} << 32) {}

  void reserve(std::size_t size) { narrow_ ? narrow_ids_.reserve(size) : wide_ids_.reserve(size); }
  void push_back(std::int64_t id) {
    if (narrow_) {
      narrow_ids_.push_back(static_cast<std::uint32_t>(id));
    } else {
      wide_ids_.push_back(id);
    }
  }
  std::int64_t operator[](std::size_t i) const {
    return narrow_ ? static_cast<std::int64_t>(narrow_ids_[i]) : wide_ids_[i];
  }
  std::size_t size() const { return narrow_ ? narrow_ids_.size() : wide_ids_.size(); }

 private:
  bool narrow_;
  std::vector<std::uint32_t> narrow_ids_;
  std::vector<std::int64_t> wide_ids_;
};

}  // namespace lockstep::loader
