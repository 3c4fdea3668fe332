#pragma once
// Buffers that are used again. A batch's memory goes back to the pool when its last owner lets go, in any
// thread, and also after the pool's own end: what a batch holds on to is never freed under it. Thread-safety:
// every function may be called from any thread.

#include <cstddef>
#include <functional>
#include <memory>

namespace lockstep::loader {

/// New memory of at least `bytes` bytes, aligned to BufferPool::kAlignment; freed by its last owner. Throws
/// where there is none.
using Allocate = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;

class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  /// Keeps at most `kept` unused buffers; more that come back are freed.
  /// `allocate` makes them, from any thread; by default the heap.
  explicit BufferPool(std::size_t kept, Allocate allocate = {});

  /// At least `bytes` bytes (never null, also for 0), aligned to kAlignment, content undefined.
  /// Buffers of one size are expected: one that is too small for a request is freed and replaced.
  std::shared_ptr<std::byte> take(std::size_t bytes);

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace lockstep::loader
