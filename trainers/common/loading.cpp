#include "common/loading.h"

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/torch_order.h"
#include "lockstep_loader/torch/pinned_memory.h"

namespace lockstep::trainers {
namespace {

loader::SamplerPtr make_sampler(const loader::DatasetPtr& dataset, const TrainingOptions& options) {
  if (options.order == OrderKind::native)
    return loader::native_random({dataset->size(), options.seed, /*replacement=*/false, /*samples=*/{}});
  // DataLoader(shuffle=True, generator=g): loader and sampler draw from one generator.
  const auto generator = std::make_shared<loader::TorchGenerator>(options.seed);
  return loader::torch_random({dataset->size(), /*replacement=*/false, /*samples=*/{}},
                              {generator, generator, /*global=*/nullptr});
}

/// Endless batches: one epoch after the other.
class Stream {
 public:
  explicit Stream(loader::Loader loader) : loader_(std::move(loader)) { loader_.begin(epoch_); }

  loader::Batch next() {
    for (;;) {
      if (std::optional<loader::Batch> batch = loader_.next()) return std::move(*batch);
      loader_.begin(++epoch_);
    }
  }

 private:
  loader::Loader loader_;
  std::int64_t epoch_ = 0;
};

std::optional<std::string> difference(const loader::Batch& a, const loader::Batch& b) {
  const std::string where = fmt::format("epoch {}, batch {}", a.epoch, a.index);
  if (a.epoch != b.epoch || a.index != b.index)
    return fmt::format("{} against epoch {}, batch {}", where, b.epoch, b.index);
  if (a.ids != b.ids) return where + ": other sample ids";
  for (std::size_t field = 0; field < a.fields.size(); ++field)
    if (fingerprint::digest(a.fields[field]) != fingerprint::digest(b.fields[field]))
      return where + ": other bytes in field " + a.names[field];
  return std::nullopt;
}

}  // namespace

loader::Loader open_loader(const loader::DatasetPtr& dataset, const TrainingOptions& options, int workers) {
  loader::LoaderOptions chosen;
  chosen.batch_size = options.batch_size;
  chosen.last = options.last;
  chosen.bad_sample = options.bad_sample;
  chosen.workers = workers;
  chosen.prefetch_factor = options.prefetch_factor;
  chosen.seed = options.seed;
  if (options.device.is_cuda()) chosen.allocate = loader::pinned_memory();
  return {dataset, make_sampler(dataset, options), chosen};
}

std::optional<std::string> verify_batches(const loader::DatasetPtr& dataset, const TrainingOptions& options) {
  const int other_workers = options.workers == 0 ? 2 : options.workers + 1;
  loader::Loader first = open_loader(dataset, options, options.workers);
  if (first.batches_per_epoch() == 0)
    fail(ErrorCode::invalid_argument, {"--verify-batches", "batches in an epoch", "at least one", "none",
                                       "Pass a smaller --batch-size, or --last-batch keep"});
  Stream a(std::move(first));
  Stream b(open_loader(dataset, options, other_workers));
  for (std::int64_t count = 0; count < options.verify_batches; ++count)
    if (const auto found = difference(a.next(), b.next())) return found;
  return std::nullopt;
}

std::string last_batch_name(loader::LastBatch last) {
  constexpr const char* kNames[] = {"keep", "drop", "wrap"};
  return kNames[static_cast<int>(last)];
}

std::string bad_sample_name(loader::BadSample policy) {
  constexpr const char* kNames[] = {"fail", "skip", "substitute"};
  return kNames[static_cast<int>(policy)];
}

}  // namespace lockstep::trainers
