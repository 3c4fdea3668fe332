#pragma once
// Tensors in memory as a dataset: what TensorDataset is in Python. Thread-safety: immutable.
//
//   InMemoryDataset table({{"x", {x.data(), DType::float32, {442, 10}}}, {"y", {y.data(), DType::float32,
//   {442}}}});

#include <memory>
#include <string>
#include <vector>

#include "lockstep/base/view.h"
#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

struct NamedView {
  std::string name;
  ConstView view;  ///< [n, …record shape], in CPU memory
};

class InMemoryDataset final : public ColumnDataset {
 public:
  /// Borrows the memory of `columns`, which must stay unchanged while the dataset lives; `owner` is kept to
  /// that end. Throws Error(invalid_argument) for no columns, a scalar, memory of a device, or unequal first
  /// extents (naming both).
  explicit InMemoryDataset(const std::vector<NamedView>& columns, std::shared_ptr<const void> owner = nullptr,
                           std::string description = "in memory");

  /// Copies the memory first, so that nothing of `columns` is needed afterwards.
  static std::shared_ptr<const InMemoryDataset> copy_of(const std::vector<NamedView>& columns,
                                                        std::string description = "in memory");
};

}  // namespace lockstep::loader
