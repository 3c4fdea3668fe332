#pragma once
// Moving one record: what every dataset whose records lie in memory needs. Thread-safety: pure functions.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lockstep::loader {

/// Asks the CPU for the first cache lines of a record that will be copied soon. Its own prefetcher follows
/// from there; asking for all lines of a long record only fills its queue (measured in bench/loader).
inline void prefetch_lines(const void* data, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kMost = 8 * kLine;
  const auto* const first = static_cast<const std::byte*>(data);
  const std::size_t end = std::min(bytes, kMost), offset = reinterpret_cast<std::uintptr_t>(data) % kLine;
  if (end > 0) __builtin_prefetch(first, 0, 3);
  for (std::size_t line = kLine - offset; line < end; line += kLine) __builtin_prefetch(first + line, 0, 3);
}

/// memcpy, without the call for the sizes of scalars: a label is copied as often as its image.
inline void copy_record(std::byte* out, const std::byte* in, std::size_t bytes) {
  switch (bytes) {
    case 1:
      *out = *in;
      return;
    case 2:
      std::memcpy(out, in, 2);
      return;
    case 4:
      std::memcpy(out, in, 4);
      return;
    case 8:
      std::memcpy(out, in, 8);
      return;
    default:
      std::memcpy(out, in, bytes);
  }
}

/// Tells the system that memory which was not touched yet is going to be read in random order, so that it may
/// use large pages: a shuffled read of small records otherwise waits for the page tables. Only a hint;
/// nothing for small memory.
void prefer_large_pages(void* data, std::size_t bytes);

/// Reverses the bytes of each element in place. `element_bytes` is 1, 2, 4 or 8; `bytes` a multiple of it.
void swap_elements(std::byte* data, std::size_t bytes, std::size_t element_bytes);

}  // namespace lockstep::loader
