#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/array_internal.h"

namespace lockstep::loader {
namespace {

std::string plural(const std::string& field) { return field.ends_with('s') ? field : field + "s"; }

void check_records(const StoredArray& array, const StoredArray& first) {
  if (array.shape.rank() == 0) {
    fail(ErrorCode::invalid_argument, {array.name, "shape", "a first axis that counts records",
                                       "a scalar array", "Leave it out: name the arrays to use."});
  }
  if (array.shape[0] == first.shape[0]) return;
  fail(ErrorCode::invalid_argument,
       {array.name,
        fmt::format("{} that do not match {}: number of records", plural(array.field), plural(first.field)),
        fmt::format("{} as in {}", first.shape[0], first.name), fmt::to_string(array.shape[0]),
        "Name files of the same set."});
}

}  // namespace

ColumnSet join_arrays(const std::string& kind, std::vector<StoredArray> arrays) {
  ColumnSet set{.kind = kind, .description = kind, .rule = ContentRule::spread};
  for (const StoredArray& array : arrays) {
    check_records(array, arrays.front());
    Field field{array.field, array.dtype, array.shape.without_first()};
    const auto stride_bytes = static_cast<std::int64_t>(field.bytes());
    set.records = array.shape[0];
    set.columns.push_back({std::move(field), array.elements.data(), stride_bytes, array.swap_bytes});
    set.content.push_back(array.elements);
  }
  if (!arrays.empty()) set.description += " " + arrays.front().name;
  set.owner = std::make_shared<const std::vector<StoredArray>>(std::move(arrays));
  return set;
}

}  // namespace lockstep::loader
