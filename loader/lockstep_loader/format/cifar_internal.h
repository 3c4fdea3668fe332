#pragma once
// CIFAR from memory, for CifarDataset and the fuzzer.

#include "lockstep_loader/dataset/column_dataset.h"
#include "lockstep_loader/format/cifar.h"
#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {

ColumnSet parse_cifar(Content raw, CifarKind kind, std::uint64_t max_inflated_bytes);

}  // namespace lockstep::loader
