#include "loader/torch_rival.h"

namespace lockstep::bench {

std::function<void()> torch_data_epoch(std::span<const std::uint8_t>, std::span<const std::uint8_t>, Pixels,
                                       std::int64_t, int) {
  return {};
}

}  // namespace lockstep::bench
