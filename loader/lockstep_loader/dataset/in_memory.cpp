#include "lockstep_loader/dataset/in_memory.h"

#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/record_memory.h"

namespace lockstep::loader {
namespace {

void check_view(const NamedView& column, const NamedView& first, const std::string& where) {
  const ConstView& view = column.view;
  const std::string what = fmt::format("column '{}'", column.name);
  if (view.device != Device::cpu) {
    fail(ErrorCode::invalid_argument,
         {where, what, "CPU memory", "memory of a device", "Copy it to the host first."});
  }
  if (view.shape.rank() == 0) {
    fail(ErrorCode::invalid_argument, {where, what, "a first axis that counts records", "a scalar", {}});
  }
  if (view.data == nullptr && view.bytes() > 0) {
    fail(ErrorCode::invalid_argument, {where, what, "memory", "a null pointer", {}});
  }
  if (view.shape[0] != first.view.shape[0]) {
    fail(ErrorCode::invalid_argument,
         {where,
          what,
          fmt::format("{} records as in column '{}'", first.view.shape[0], first.name),
          fmt::to_string(view.shape[0]),
          {}});
  }
}

ColumnSet column_set(const std::vector<NamedView>& columns, std::shared_ptr<const void> owner,
                     std::string description) {
  ColumnSet set{.kind = "in memory", .description = std::move(description), .owner = std::move(owner)};
  for (const NamedView& column : columns) {
    check_view(column, columns.front(), set.description);
    const auto* data = static_cast<const std::byte*>(column.view.data);
    Field field{column.name, column.view.dtype, column.view.shape.without_first()};
    const auto stride_bytes = static_cast<std::int64_t>(field.bytes());
    set.records = column.view.shape[0];
    set.content.emplace_back(data, column.view.bytes());
    set.columns.push_back({std::move(field), data, stride_bytes});
  }
  return set;
}

}  // namespace

InMemoryDataset::InMemoryDataset(const std::vector<NamedView>& columns, std::shared_ptr<const void> owner,
                                 std::string description)
    : ColumnDataset(column_set(columns, std::move(owner), std::move(description))) {}

std::shared_ptr<const InMemoryDataset> InMemoryDataset::copy_of(const std::vector<NamedView>& columns,
                                                                std::string description) {
  auto memory = std::make_shared<std::vector<std::unique_ptr<std::byte[]>>>();
  std::vector<NamedView> copies = columns;
  for (NamedView& column : copies) {
    if (column.view.device != Device::cpu || column.view.data == nullptr) continue;
    std::byte* const copy = memory->emplace_back(new std::byte[column.view.bytes()]).get();
    prefer_large_pages(copy, column.view.bytes());
    std::memcpy(copy, column.view.data, column.view.bytes());
    column.view.data = copy;
  }
  return std::make_shared<const InMemoryDataset>(std::move(copies), std::move(memory),
                                                 std::move(description));
}

}  // namespace lockstep::loader
