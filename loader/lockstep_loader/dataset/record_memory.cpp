#include "lockstep_loader/dataset/record_memory.h"

#include <sys/mman.h>

namespace lockstep::loader {
namespace {

std::uint16_t swapped(std::uint16_t value) { return __builtin_bswap16(value); }
std::uint32_t swapped(std::uint32_t value) { return __builtin_bswap32(value); }
std::uint64_t swapped(std::uint64_t value) { return __builtin_bswap64(value); }

template <typename Word>
void swap_words(std::byte* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, data + at, sizeof(Word));
    word = swapped(word);
    std::memcpy(data + at, &word, sizeof(Word));
  }
}

}  // namespace

void prefer_large_pages(void* data, std::size_t bytes) {
  constexpr std::uintptr_t kLargePage = std::uintptr_t{2} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  const std::uintptr_t end = (begin + bytes) / kLargePage * kLargePage;
  // Where the kernel has no large pages it says so, which changes nothing here.
  if (first < end)
    (void)::madvise(static_cast<std::byte*>(data) + (first - begin), end - first, MADV_HUGEPAGE);
}

void swap_elements(std::byte* data, std::size_t bytes, std::size_t element_bytes) {
  if (element_bytes == 2) swap_words<std::uint16_t>(data, bytes);
  if (element_bytes == 4) swap_words<std::uint32_t>(data, bytes);
  if (element_bytes == 8) swap_words<std::uint64_t>(data, bytes);
}

}  // namespace lockstep::loader
