#pragma once
// Borrowed memory with a meaning: pointer, dtype, shape, device. Contiguous and row-major. A view owns
// nothing.

#include <cstddef>

#include "lockstep/base/dtype.h"
#include "lockstep/base/shape.h"

namespace lockstep {

enum class Device : std::uint8_t { cpu = 0, cuda = 1 };

/// Read-only tensor memory. `data` may be null only when the view has no elements.
struct ConstView {
  const void* data = nullptr;
  DType dtype = DType::uint8;
  Shape shape;
  Device device = Device::cpu;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * dtype_bytes(dtype); }
};

/// Writable tensor memory.
struct View {
  void* data = nullptr;
  DType dtype = DType::uint8;
  Shape shape;
  Device device = Device::cpu;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * dtype_bytes(dtype); }
  operator ConstView() const { return {data, dtype, shape, device}; }
};

}  // namespace lockstep
