#pragma once
// Tensors as a dataset: what TensorDataset is in Python.

#include <vector>

#include "lockstep/torch/training_recorder.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// One field a tensor: [n, …record shape], all of the same n. Borrows the memory of contiguous CPU tensors
/// and keeps them alive; others are copied once, to contiguous memory on the CPU. The content must not change
/// while the dataset lives. Throws Error(invalid_argument) for no tensors, a scalar, or unequal first
/// extents, Error(unsupported) for sparse or complex tensors.
DatasetPtr tensor_dataset(const std::vector<NamedTensor>& columns);

}  // namespace lockstep::loader
