#include "lockstep_loader/torch/pinned_memory.h"

#include <algorithm>

#include <torch/torch.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {

Allocate pinned_memory() {
  if (!torch::cuda::is_available())
    fail(ErrorCode::unsupported, {"loader", "pinned memory", "a CUDA device that LibTorch can use", "none",
                                  "Use pageable memory on a machine without a GPU."});
  return [](std::size_t bytes) {
    const at::Tensor memory = torch::empty({static_cast<std::int64_t>(std::max<std::size_t>(bytes, 1))},
                                           torch::TensorOptions(torch::kByte).pinned_memory(true));
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory.mutable_data_ptr()),
                                      [memory](std::byte*) {});
  };
}

}  // namespace lockstep::loader
