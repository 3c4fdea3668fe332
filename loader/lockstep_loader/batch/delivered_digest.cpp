#include "lockstep_loader/batch/delivered_digest.h"

namespace lockstep::loader {
namespace {

// Odd, so that multiplying by it loses nothing; one power of it a field, so that exchanging two fields shows.
constexpr std::uint64_t kFieldFactor = 0x9e3779b97f4a7c15;

}  // namespace

std::uint64_t DeliveredDigest::factor(std::size_t field) {
  std::uint64_t power = 1;
  for (std::size_t f = 0; f < field; ++f) power *= kFieldFactor;
  return power;
}

void DeliveredDigest::add_ids(std::span<const std::int64_t> ids_of_rows, std::int64_t first) {
  const auto rows = static_cast<std::int64_t>(ids_of_rows.size());
  ids.merge(fingerprint::digest_samples({ids_of_rows.data(), DType::int64, Shape{rows}}, first));
}

void DeliveredDigest::add_field(std::size_t field, const fingerprint::DigestSum& sum) {
  const std::uint64_t times = factor(field);
  bytes.merge({sum.lane0 * times, sum.lane1 * times});
}

void DeliveredDigest::add(std::span<const std::int64_t> ids_of_rows, std::span<const ConstView> fields,
                          std::int64_t first) {
  add_ids(ids_of_rows, first);
  for (std::size_t f = 0; f < fields.size(); ++f) add_field(f, fingerprint::digest_samples(fields[f], first));
}

}  // namespace lockstep::loader
