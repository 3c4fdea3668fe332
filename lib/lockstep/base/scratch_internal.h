#pragma once
// Memory that a thread keeps from one call to the next.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace lockstep::internal {

/// Floats at a multiple of 64 bytes. What they held is lost when there must be more of them.
class Scratch {
 public:
  float* get(std::int64_t count) {
    if (count > count_) {
      memory_.reset();
      memory_.reset(
          static_cast<float*>(::operator new(static_cast<std::size_t>(count) * sizeof(float), kAlign)));
      count_ = count;
    }
    return memory_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete(memory, kAlign); }
  };
  std::unique_ptr<float, Free> memory_;
  std::int64_t count_ = 0;
};

}  // namespace lockstep::internal
