#pragma once
// Memory of one get(): records that a view needs and does not deliver. On the stack when they are small.

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace lockstep::loader {

/// Hands out 64-byte aligned pieces of one allocation. Never shared: an object of the calling function.
class Scratch {
 public:
  /// `bytes`: the sum of padded(…) over all pieces.
  explicit Scratch(std::size_t bytes) : heap_(bytes > kInline ? new (kAlign) std::byte[bytes] : nullptr) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  static constexpr std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

  std::byte* take(std::size_t bytes) {
    std::byte* piece = (heap_ ? heap_.get() : inline_.data()) + used_;
    used_ += padded(bytes);
    return piece;
  }

 private:
  static constexpr std::size_t kInline = 4096;
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete[](memory, kAlign); }
  };

  alignas(64) std::array<std::byte, kInline> inline_;
  std::unique_ptr<std::byte[], Free> heap_;
  std::size_t used_ = 0;
};

/// The `out` of an inner get().
class RecordPointers {
 public:
  explicit RecordPointers(std::size_t count) : heap_(count > inline_.size() ? count : 0), count_(count) {}
  RecordPointers(const RecordPointers&) = delete;
  RecordPointers& operator=(const RecordPointers&) = delete;

  std::span<std::byte*> span() { return {heap_.empty() ? inline_.data() : heap_.data(), count_}; }

 private:
  std::array<std::byte*, 16> inline_{};
  std::vector<std::byte*> heap_;
  std::size_t count_;
};

}  // namespace lockstep::loader
