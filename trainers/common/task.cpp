#include "common/task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"

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

double share_of_correct(const loader::DatasetPtr& dataset, const TrainingOptions& options,
                        const std::function<torch::Tensor(const MicroBatch&)>& count_correct) {
  constexpr std::int64_t kTestBatch = 500;
  const torch::NoGradGuard no_grad;
  loader::LoaderOptions chosen;
  chosen.batch_size = kTestBatch;
  chosen.workers = options.workers;
  loader::Loader batches(dataset, loader::native_sequential(dataset->size()), chosen);
  loader::DeviceBatches on_device(batches, options.device);
  torch::Tensor correct = torch::zeros({}, torch::TensorOptions(options.device).dtype(torch::kLong));
  batches.begin(0);
  while (const auto batch = on_device.next()) {
    correct += count_correct(whole_batch(*batch));
    on_device.prefetch();
  }
  return correct.item<double>() / static_cast<double>(dataset->size());
}

torch::Tensor MicroBatch::part_of_mean(const torch::Tensor& loss) const {
  if (invariant || rows == global_rows) return loss;
  return loss * (static_cast<double>(rows) / static_cast<double>(global_rows));
}

}  // namespace lockstep::trainers
