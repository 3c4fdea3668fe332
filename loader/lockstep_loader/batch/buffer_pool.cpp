#include "lockstep_loader/batch/buffer_pool.h"

#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace lockstep::loader {
namespace {

std::shared_ptr<std::byte> allocate_on_heap(std::size_t bytes) {
  constexpr std::align_val_t kAlign{BufferPool::kAlignment};
  return {static_cast<std::byte*>(::operator new(bytes, kAlign)),
          [](std::byte* memory) { ::operator delete (memory, std::align_val_t{BufferPool::kAlignment}); }};
}

struct Buffer {
  std::shared_ptr<std::byte> memory;
  std::size_t bytes = 0;
};

}  // namespace

struct BufferPool::Shelf {
  Shelf(std::size_t kept, Allocate allocate_) : capacity(kept), allocate(std::move(allocate_)) {
    unused.reserve(kept);
  }

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
    return {allocate(bytes), bytes};
  }

  void give_back(Buffer buffer) {
    const std::lock_guard lock(mutex);
    if (unused.size() < capacity) unused.push_back(std::move(buffer));
  }

  const std::size_t capacity;
  const Allocate allocate;
  std::mutex mutex;
  std::vector<Buffer> unused;
};

BufferPool::BufferPool(std::size_t kept, Allocate allocate)
    : shelf_(std::make_shared<Shelf>(kept, allocate ? std::move(allocate) : allocate_on_heap)) {}

std::shared_ptr<std::byte> BufferPool::take(std::size_t bytes) {
  Buffer buffer = shelf_->take(bytes);
  std::byte* const memory = buffer.memory.get();
  // The deleter shares the shelf, so the shelf outlives every buffer that is out.
  return {memory, [shelf = shelf_, buffer = std::move(buffer)](std::byte*) mutable {
            shelf->give_back(std::move(buffer));
          }};
}

}  // namespace lockstep::loader
