#include "lockstep_loader/batch/buffer_pool.h"

#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace lockstep::loader {
namespace {

struct FreeAligned {
  void operator()(std::byte* memory) const {
    ::operator delete (memory, std::align_val_t{BufferPool::kAlignment});
  }
};

struct Buffer {
  std::unique_ptr<std::byte, FreeAligned> memory;
  std::size_t bytes = 0;
};

Buffer allocate(std::size_t bytes) {
  void* memory = ::operator new (bytes, std::align_val_t{BufferPool::kAlignment});
  return {std::unique_ptr<std::byte, FreeAligned>(static_cast<std::byte*>(memory)), bytes};
}

}  // namespace

struct BufferPool::Shelf {
  explicit Shelf(std::size_t kept) : capacity(kept) { unused.reserve(kept); }

  Buffer take(std::size_t bytes) {
    Buffer buffer;
    {
      const std::lock_guard lock(mutex);
      if (!unused.empty()) {
        buffer = std::move(unused.back());
        unused.pop_back();
      }
    }
    if (buffer.bytes >= bytes && buffer.memory) return buffer;
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): it loses a pointer that moved out of a vector
    return allocate(bytes);
  }

  void give_back(Buffer buffer) {
    const std::lock_guard lock(mutex);
    if (unused.size() < capacity) unused.push_back(std::move(buffer));
  }

  const std::size_t capacity;
  std::mutex mutex;
  std::vector<Buffer> unused;
};

BufferPool::BufferPool(std::size_t kept) : shelf_(std::make_shared<Shelf>(kept)) {}

std::shared_ptr<std::byte> BufferPool::take(std::size_t bytes) {
  Buffer buffer = shelf_->take(bytes);
  const std::size_t capacity = buffer.bytes;
  std::byte* const memory = buffer.memory.release();
  // The deleter shares the shelf, so the shelf outlives every buffer that is out.
  return {memory, [shelf = shelf_, capacity](std::byte* returned) {
            shelf->give_back({std::unique_ptr<std::byte, FreeAligned>(returned), capacity});
          }};
}

}  // namespace lockstep::loader
