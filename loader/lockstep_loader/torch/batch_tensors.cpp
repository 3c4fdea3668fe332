#include "lockstep_loader/torch/batch_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/torch.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

at::Tensor tensor_over(const ConstView& view, const std::shared_ptr<std::byte>& storage) {
  const at::IntArrayRef sizes(view.shape.begin(), view.shape.end());
  return torch::from_blob(
      const_cast<void*>(view.data), sizes, [storage](void*) {}, to_scalar_type(view.dtype));
}

void check_pinned(HostMemory memory) {
  if (memory == HostMemory::pageable || torch::cuda::is_available()) return;
  fail(ErrorCode::unsupported, {"to_tensors", "pinned memory", "a CUDA device that LibTorch can use", "none",
                                "Ask for HostMemory::pageable on a machine without a GPU."});
}

}  // namespace

at::Tensor to_tensor(const Batch& batch, const std::string& field) {
  return tensor_over(batch.field(field), batch.storage);
}

const at::Tensor& TensorBatch::field(const std::string& name) const {
  std::vector<std::string> names;
  for (const NamedTensor& candidate : fields) {
    if (candidate.name == name) return candidate.tensor;
    names.push_back(candidate.name);
  }
  fail(ErrorCode::not_found, {"tensor batch", "field", fmt::format("one of {}", fmt::join(names, ", ")), name,
                              "Ask for a field that the dataset has."});
}

TensorBatch to_tensors(const Batch& batch, HostMemory memory) {
  check_pinned(memory);
  TensorBatch tensors{batch.epoch, batch.index, batch.global_samples, batch.first_sample, batch.ids, {}};
  for (std::size_t f = 0; f < batch.fields.size(); ++f) {
    at::Tensor tensor = tensor_over(batch.fields[f], batch.storage);
    tensors.fields.push_back({batch.names[f], memory == HostMemory::pinned ? tensor.pin_memory() : tensor});
  }
  return tensors;
}

}  // namespace lockstep::loader
