#include "lockstep_loader/batch/delivered_digest.h"

namespace lockstep::loader {
namespace {

// Odd, so that multiplying by it loses nothing; one power of it a field, so that exchanging two fields shows.
constexpr std::uint64_t kFieldFactor = 0x9e3779b97f4a7c15;

}  // namespace

void DeliveredDigest::add(std::span<const std::int64_t> ids_of_rows, std::span<const ConstView> fields,
                          std::int64_t first) {
  const auto rows = static_cast<std::int64_t>(ids_of_rows.size());
  ids.merge(fingerprint::digest_samples({ids_of_rows.data(), DType::int64, Shape{rows}}, first));
  std::uint64_t factor = 1;
  for (const ConstView& field : fields) {
    const fingerprint::DigestSum sum = fingerprint::digest_samples(field, first);
    bytes.merge({sum.lane0 * factor, sum.lane1 * factor});
    factor *= kFieldFactor;
  }
}

}  // namespace lockstep::loader
