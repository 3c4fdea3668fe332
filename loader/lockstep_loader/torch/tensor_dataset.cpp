#include "lockstep_loader/torch/tensor_dataset.h"

#include <memory>
#include <utility>

#include <torch/torch.h>

#include "lockstep/torch/tensor_view.h"
#include "lockstep_loader/dataset/in_memory.h"

namespace lockstep::loader {

DatasetPtr tensor_dataset(const std::vector<NamedTensor>& columns) {
  auto owned = std::make_shared<std::vector<at::Tensor>>();
  std::vector<NamedView> views;
  for (const NamedTensor& column : columns) {
    owned->push_back(viewable(column.tensor));
    views.push_back({column.name, view_of(owned->back())});
  }
  return std::make_shared<const InMemoryDataset>(std::move(views), std::move(owned), "tensors");
}

}  // namespace lockstep::loader
