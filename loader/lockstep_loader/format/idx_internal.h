#pragma once
// IDX from memory, for IdxDataset and the fuzzer.

#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"
#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {

struct IdxSource {
  Content raw;  ///< plain or gzip
  std::string field;
};

ColumnSet parse_idx(std::vector<IdxSource> sources);

}  // namespace lockstep::loader
