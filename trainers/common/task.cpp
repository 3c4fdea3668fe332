#include "common/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep::trainers {

std::vector<NamedTensor> tensors_of(const loader::Batch& batch) {
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < batch.fields.size(); ++i) {
    const ConstView& view = batch.fields[i];
    const at::IntArrayRef sizes(view.shape.begin(), view.shape.end());
    tensors.push_back({batch.names[i], torch::from_blob(const_cast<void*>(view.data), sizes,
                                                        [storage = batch.storage](void*) {},
                                                        to_scalar_type(view.dtype))});
  }
  return tensors;
}

const torch::Tensor& MicroBatch::field(const std::string& name) const {
  std::vector<std::string> names;
  for (const NamedTensor& candidate : fields) {
    if (candidate.name == name) return candidate.tensor;
    names.push_back(candidate.name);
  }
  fail(ErrorCode::not_found, {"micro-batch", "field " + name, fmt::format("one of {}", fmt::join(names, ", ")), "none",
                              "Name a field of the dataset"});
}

}  // namespace lockstep::trainers
