#pragma once
// .npz from memory, for NpzDataset and the fuzzer.

#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"
#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {

ColumnSet parse_npz(const Content& archive, const std::vector<std::string>& arrays);

}  // namespace lockstep::loader
