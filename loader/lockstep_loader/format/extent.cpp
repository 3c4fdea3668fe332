#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/extent_internal.h"

namespace lockstep::loader {

Shape file_shape(const std::string& file, std::span<const std::int64_t> extents, DType dtype) {
  auto product = static_cast<std::int64_t>(dtype_bytes(dtype));
  bool good = extents.size() <= static_cast<std::size_t>(Shape::kMaxRank);
  for (std::int64_t extent : extents) {
    good = good && extent >= 0 &&
           !__builtin_mul_overflow(product, std::max<std::int64_t>(extent, 1), &product) &&
           product < (std::int64_t{1} << 61);
  }
  if (!good) {
    fail(ErrorCode::corruption,
         {file, "extents in the header", "at most 8, none negative, below 2^61 bytes in all",
          fmt::format("[{}]", fmt::join(extents, ", ")), "The header is damaged; get the file again."});
  }
  return Shape(extents.data(), extents.size());
}

}  // namespace lockstep::loader
