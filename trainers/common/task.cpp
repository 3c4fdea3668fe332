#include "common/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"

namespace lockstep::trainers {

const torch::Tensor& MicroBatch::field(const std::string& name) const {
  std::vector<std::string> names;
  for (const NamedTensor& candidate : fields) {
    if (candidate.name == name) return candidate.tensor;
    names.push_back(candidate.name);
  }
  fail(ErrorCode::not_found,
       {"micro-batch", "field " + name, fmt::format("one of {}", fmt::join(names, ", ")), "none",
        "Name a field of the dataset"});
}

MicroBatch whole_batch(const loader::DeviceBatch& batch) {
  return {batch.tensors.fields, 0, batch.host.rows(), batch.host.rows()};
}

torch::Tensor MicroBatch::part_of_mean(const torch::Tensor& loss) const {
  if (invariant || rows == global_rows) return loss;
  return loss * (static_cast<double>(rows) / static_cast<double>(global_rows));
}

}  // namespace lockstep::trainers
