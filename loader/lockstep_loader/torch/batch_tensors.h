#pragma once
// A batch as tensors over its own memory: nothing is copied, and the tensors keep the memory alive after the
// batch and the loader are gone. A tensor may be changed in place; the batch's other owners see that.
// Thread-safety: pure functions.

#include <cstdint>
#include <string>
#include <vector>

#include "lockstep/torch/tensor_view.h"
#include "lockstep/torch/training_recorder.h"
#include "lockstep_loader/batch/batch.h"

namespace lockstep::loader {

/// One field as a CPU tensor [rows, …record shape], contiguous and aligned to 64 bytes.
/// Throws Error(not_found) naming the fields there are.
at::Tensor to_tensor(const Batch& batch, const std::string& field);

/// All fields, in the dataset's order, ready for TrainingRecorder::record_batch.
struct TensorBatch {
  std::int64_t epoch = 0;
  std::int64_t index = 0;
  std::int64_t global_samples = 0;
  std::int64_t first_sample = 0;
  std::vector<std::int64_t> ids;
  std::vector<NamedTensor> fields;

  std::int64_t rows() const { return static_cast<std::int64_t>(ids.size()); }
  /// Throws Error(not_found) naming the fields there are.
  const at::Tensor& field(const std::string& name) const;
};

enum class HostMemory {
  pageable,  ///< the batch's own memory
  pinned,    ///< a copy in page-locked memory, from which copies to a GPU run beside the CPU
};

/// Throws Error(unsupported) for pinned memory where LibTorch sees no CUDA device.
TensorBatch to_tensors(const Batch& batch, HostMemory memory = HostMemory::pageable);

}  // namespace lockstep::loader
