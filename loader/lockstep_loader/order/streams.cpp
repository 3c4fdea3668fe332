#include "lockstep_loader/order/streams.h"

#include <string>

#include "lockstep/base/error.h"

namespace lockstep::loader {

std::uint32_t checked_epoch(std::int64_t epoch) {
  if (epoch < 0 || epoch > 0xffffffff) {
    fail(ErrorCode::invalid_argument, {"order", "epoch", "0 to 4294967295", std::to_string(epoch), {}});
  }
  return static_cast<std::uint32_t>(epoch);
}

}  // namespace lockstep::loader
