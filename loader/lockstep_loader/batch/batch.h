#pragma once
// A batch: fields of consecutive positions of the global batch, collated into one contiguous buffer a field.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/base/view.h"

namespace lockstep::loader {

/// What to do with a batch that the epoch's end leaves short.
enum class LastBatch : std::uint8_t { keep = 0, drop = 1, wrap = 2 };

/// What to do with a record that cannot be delivered. Whatever is chosen, what a batch holds stays a function
/// of its position: `skip` makes the batch shorter and moves nothing up; `substitute` takes the next good
/// record by record id.
enum class BadSample : std::uint8_t { fail = 0, skip = 1, substitute = 2 };

struct BadSampleEvent {
  std::int64_t position = 0;      ///< in the epoch's order
  std::int64_t record = 0;        ///< the record that failed
  std::int64_t replacement = -1;  ///< the record delivered instead, or -1 when skipped
  std::string reason;
};

/// A delivered batch. Owns its memory through `storage`; copying a Batch shares it. Tensors made from it keep
/// it alive.
struct Batch {
  std::int64_t epoch = 0;
  std::int64_t index = 0;           ///< in the epoch
  std::int64_t global_samples = 0;  ///< samples of the global batch, all ranks, before skips
  std::int64_t first_sample = 0;    ///< this rank's first sample within the global batch
  std::vector<std::int64_t> ids;    ///< record ids, one a row, in order
  std::vector<std::string> names;   ///< field names
  std::vector<ConstView> fields;    ///< [rows, …record shape], contiguous, 64-byte aligned
  std::vector<BadSampleEvent> bad;  ///< in position order; usually empty
  std::shared_ptr<std::byte> storage;

  std::int64_t rows() const { return static_cast<std::int64_t>(ids.size()); }
  /// Throws Error(not_found) naming the fields there are.
  const ConstView& field(const std::string& name) const;
};

}  // namespace lockstep::loader
