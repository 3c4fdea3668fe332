#pragma once
// Where a loader stands: what was delivered. Stored with lockstep/state; format in this room's README.

#include <cstdint>
#include <span>
#include <string>

#include "lockstep/fingerprint/digest.h"

namespace lockstep::loader {

struct LoaderState {
  std::uint32_t version = 1;
  std::int64_t epoch = 0;
  std::int64_t batches = 0;        ///< global batches of `epoch` done with: the next one has this index
  std::int64_t samples = 0;        ///< positions of `epoch` delivered, all ranks, skipped ones included
  std::int64_t samples_total = 0;  ///< over all epochs
  std::uint64_t seed = 0;
  std::int64_t batch_size = 0;
  std::uint8_t last = 0;
  std::uint8_t bad_sample = 0;
  bool persistent_workers = false;
  std::string sampler;        ///< Sampler::describe()
  std::string sampler_state;  ///< Sampler::state(): before the epoch's begin
  std::string dataset;        ///< Dataset::describe(), for messages
  fingerprint::Digest dataset_fingerprint;
  /// Running sums over what was delivered of batches [digest_first_batch, batches), by position in the epoch,
  /// as `rank` of `world_size` saw it. Parts merge by addition: merge_ranks().
  std::int32_t rank = 0;
  std::int32_t world_size = 1;
  std::int64_t digest_first_batch = 0;
  fingerprint::DigestSum ids_digest;
  fingerprint::DigestSum bytes_digest;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& version& epoch& batches& samples& samples_total& seed& batch_size& last& bad_sample&
        persistent_workers& sampler& sampler_state& dataset& dataset_fingerprint& rank& world_size&
            digest_first_batch& ids_digest& bytes_digest;
  }
};

/// Archive bytes of a state, and back. Throws Error(corruption) for damaged bytes, Error(unsupported) for a
/// newer version.
std::string to_bytes(const LoaderState& state);
LoaderState loader_state_from_bytes(const std::string& bytes);

/// Throws Error(invalid_argument) when a loader that stands at `now` may not go on from `saved`: names
/// everything that decides the stream and differs (dataset, sampler, seed, batch size, last-batch and
/// bad-sample policy, and in torch order persistent workers), with the old and the new value and the next
/// step.
void check_resume(const LoaderState& saved, const LoaderState& now);

/// The states of all ranks of one run, taken after the same batch, as one state with the digests of the
/// whole: rank 0 of
/// 1. Throws Error(invalid_argument) for a missing rank or states that do not belong together.
LoaderState merge_ranks(std::span<const LoaderState> ranks);

}  // namespace lockstep::loader
