#pragma once
// A dataset is a view with size and get; datasets compose (subset, concatenation, pairs, transform). All of
// them are immutable once built and may be used from any number of threads.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep/base/dtype.h"
#include "lockstep/base/shape.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/random/philox.h"

namespace lockstep::loader {

/// One column of a record: "image" uint8 [28, 28]; "label" uint8 [].
struct Field {
  std::string name;
  DType dtype = DType::uint8;
  Shape shape;  ///< of one record

  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * dtype_bytes(dtype); }
  bool operator==(const Field&) const = default;
};

class Dataset {
 public:
  virtual ~Dataset() = default;

  /// Number of records; may be 0.
  virtual std::int64_t size() const = 0;

  /// The columns of every record, the same for the life of the dataset.
  virtual const std::vector<Field>& fields() const = 0;

  /// Writes record `index` (0 ≤ index < size()) straight into `out`: out[f] points at fields()[f].bytes()
  /// bytes, without alignment beyond the dtype's. `key` is what randomness may depend on; only transforms
  /// look at it. Throws Error naming file, record and reason for a record that cannot be delivered (a "bad
  /// sample").
  virtual void get(std::int64_t index, const random::RecordKey& key,
                   std::span<std::byte* const> out) const = 0;

  /// A hint that get(index) comes soon: may touch memory ahead. Never throws, may do nothing.
  virtual void prefetch(std::int64_t /*index*/) const {}

  /// Where field `field` of record `index` lies in memory, byte for byte as get() would write it, or null
  /// where get() has to make it. Valid as long as the dataset lives; such a record is never a bad sample. A
  /// loader copies from there and digests on the way. Null for an index that does not exist.
  virtual const std::byte* in_memory(std::int64_t /*index*/, std::size_t /*field*/) const { return nullptr; }

  /// What this dataset is, so that a resume can refuse another one: fields, size and content (for large
  /// files: sizes, headers and a spread of blocks; the format's header says which).
  virtual fingerprint::Digest fingerprint() const = 0;

  /// One line for people and error messages: "idx data/train-images-idx3-ubyte.gz (2000 records)".
  virtual std::string describe() const = 0;
};

using DatasetPtr = std::shared_ptr<const Dataset>;

}  // namespace lockstep::loader
