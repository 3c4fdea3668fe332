#pragma once
// Where a loader stands: what was delivered. Stored with lockstep/state; format in this room's README.

#include <cstdint>
#include <string>

#include "lockstep/fingerprint/digest.h"

namespace lockstep::loader {

struct LoaderState {
  std::uint32_t version = 1;
  std::int64_t epoch = 0;
  std::int64_t batches = 0;           ///< global batches delivered in `epoch`
  std::int64_t samples = 0;           ///< positions of `epoch` delivered, all ranks, skipped ones included
  std::int64_t samples_total = 0;     ///< over all epochs
  std::uint64_t seed = 0;
  std::int64_t batch_size = 0;
  std::uint8_t last = 0;
  std::uint8_t bad_sample = 0;
  bool persistent_workers = false;
  std::string sampler;                ///< Sampler::describe()
  std::string sampler_state;          ///< Sampler::state(): before the epoch's begin
  std::string dataset;                ///< Dataset::describe(), for messages
  fingerprint::Digest dataset_fingerprint;
  /// Running sums over delivered ids and bytes of the epoch by global position; a rank holds its own part, parts merge by
  /// addition. Checked where the same positions are delivered again.
  fingerprint::DigestSum ids_digest;
  fingerprint::DigestSum bytes_digest;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive & version & epoch & batches & samples & samples_total & seed & batch_size & last & bad_sample &
        persistent_workers & sampler & sampler_state & dataset & dataset_fingerprint & ids_digest & bytes_digest;
  }
};

/// Archive bytes of a state, and back. Throws Error(corruption) for damaged bytes, Error(unsupported) for a newer version.
std::string to_bytes(const LoaderState& state);
LoaderState loader_state_from_bytes(const std::string& bytes);

}  // namespace lockstep::loader
