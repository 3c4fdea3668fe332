#pragma once
// The loader of a trainer, from its options; and the check that two loaders deliver the same.

#include <cstdint>
#include <optional>
#include <string>

#include "common/options.h"
#include "lockstep_loader/prefetch/loader.h"

namespace lockstep::trainers {

/// A loader over all records in the chosen order, with `workers` threads (the other options as they are).
loader::Loader open_loader(const loader::DatasetPtr& dataset, const TrainingOptions& options, int workers);

/// Reads `options.verify_batches` batches with two fresh loaders of different numbers of workers, over as
/// many epochs as that takes. Returns the first difference in words, or nothing when ids and bytes of all
/// fields are equal.
std::optional<std::string> verify_batches(const loader::DatasetPtr& dataset, const TrainingOptions& options);

/// "keep", "drop", "wrap"; "fail", "skip", "substitute".
std::string last_batch_name(loader::LastBatch last);
std::string bad_sample_name(loader::BadSample policy);

}  // namespace lockstep::trainers
