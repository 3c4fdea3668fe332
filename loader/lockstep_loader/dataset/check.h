#pragma once
// Checks that every dataset makes, for those who write one of their own, too.

#include <cstdint>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// Position of the field called `name`. Throws Error(not_found) naming the fields there are.
std::size_t field_position(const Dataset& dataset, const std::string& name);

/// Throws Error(invalid_argument) when a name is empty or comes twice, or when there is no field.
void check_fields(const std::string& where, const std::vector<Field>& fields);

/// Throws Error(invalid_argument) for a null dataset.
void check_dataset(const std::string& where, const DatasetPtr& dataset);

/// Throws Error(invalid_argument): the record does not exist.
[[noreturn]] void fail_record(const std::string& where, std::int64_t index, std::int64_t size);

/// Throws Error(invalid_argument) unless 0 ≤ index < size.
inline void check_record(const char* where, std::int64_t index, std::int64_t size) {
  if (static_cast<std::uint64_t>(index) >= static_cast<std::uint64_t>(size)) fail_record(where, index, size);
}

}  // namespace lockstep::loader
