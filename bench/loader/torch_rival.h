#pragma once
// LibTorch's own loader, torch::data, over images and labels in memory, with Stack.

#include <cstdint>
#include <functional>
#include <span>

namespace lockstep::bench {

enum class Pixels { bytes, floats };

/// A function that runs one shuffled epoch, as a reader of its documentation would write it; empty in a build
/// without LibTorch. `images` holds count records of 28 × 28 bytes.
std::function<void()> torch_data_epoch(std::span<const std::uint8_t> images,
                                       std::span<const std::uint8_t> labels, Pixels pixels,
                                       std::int64_t batch_size, int workers);

}  // namespace lockstep::bench
