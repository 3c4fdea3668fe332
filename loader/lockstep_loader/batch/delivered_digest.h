#pragma once
// What was delivered, as two open sums by global position: of the record ids and of the bytes. Sums of parts
// add up to the sum of the whole, whatever the parts were cut by: batches, ranks, a resume. Formula in
// README.md.

#include <cstdint>
#include <span>

#include "lockstep/base/view.h"
#include "lockstep/fingerprint/digest.h"

namespace lockstep::loader {

struct DeliveredDigest {
  fingerprint::DigestSum ids;    ///< each id as an int64 sample at its position
  fingerprint::DigestSum bytes;  ///< each field's samples at their positions, times the field's factor

  void merge(const DeliveredDigest& other) { ids.merge(other.ids), bytes.merge(other.bytes); }
  bool operator==(const DeliveredDigest&) const = default;

  /// What field `field`'s sum is multiplied by.
  static std::uint64_t factor(std::size_t field);

  /// Adds consecutive ids, the first of them at position `first` of the epoch.
  void add_ids(std::span<const std::int64_t> ids_of_rows, std::int64_t first);
  /// Adds the open sum of samples of a field.
  void add_field(std::size_t field, const fingerprint::DigestSum& sum);
  /// Adds consecutive samples, the first of them at position `first` of the epoch. fields[f] is [ids.size(),
  /// …].
  void add(std::span<const std::int64_t> ids_of_rows, std::span<const ConstView> fields, std::int64_t first);
};

}  // namespace lockstep::loader
