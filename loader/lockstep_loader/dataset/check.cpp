#include "lockstep_loader/dataset/check.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {

std::size_t field_position(const Dataset& dataset, const std::string& name) {
  const std::vector<Field>& fields = dataset.fields();
  const auto found = std::ranges::find(fields, name, &Field::name);
  if (found != fields.end()) return static_cast<std::size_t>(found - fields.begin());
  std::vector<std::string> names;
  names.reserve(fields.size());
  for (const Field& field : fields) names.push_back(field.name);
  fail(ErrorCode::not_found,
       {dataset.describe(), "field", fmt::format("one of {}", fmt::join(names, ", ")), name, {}});
}

void check_fields(const std::string& where, const std::vector<Field>& fields) {
  if (fields.empty()) fail(ErrorCode::invalid_argument, {where, "fields", "at least one", "none", {}});
  for (std::size_t at = 0; at < fields.size(); ++at) {
    const std::string& name = fields[at].name;
    const auto rest = fields.begin() + static_cast<std::ptrdiff_t>(at) + 1;
    if (name.empty() || std::find_if(rest, fields.end(), [&](const Field& other) {
                          return other.name == name;
                        }) != fields.end()) {
      fail(ErrorCode::invalid_argument,
           {where, "field names", "each given once and not empty", fmt::format("'{}'", name), {}});
    }
  }
}

void check_dataset(const std::string& where, const DatasetPtr& dataset) {
  if (!dataset) fail(ErrorCode::invalid_argument, {where, "dataset", "a dataset", "a null pointer", {}});
}

void fail_record(const std::string& where, std::int64_t index, std::int64_t size) {
  fail(ErrorCode::invalid_argument, {where,
                                     "record",
                                     size > 0 ? fmt::format("0 to {}", size - 1) : "nothing, for it is empty",
                                     fmt::to_string(index),
                                     {}});
}

}  // namespace lockstep::loader
