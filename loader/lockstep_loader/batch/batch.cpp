#include "lockstep_loader/batch/batch.h"

#include <algorithm>

#include <fmt/format.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {

const ConstView& Batch::field(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    fail(ErrorCode::not_found, {"batch", "field", fmt::format("one of {}", fmt::join(names, ", ")), name,
                                "Ask for a field that the dataset has."});
  }
  return fields[static_cast<std::size_t>(found - names.begin())];
}

}  // namespace lockstep::loader
