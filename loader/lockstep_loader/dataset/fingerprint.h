#pragma once
// How a dataset says what it is: a short description (kind, fields, counts, digests of its parts) that is
// digested itself. For own datasets too: put in everything that decides what get() delivers, and nothing else
// (no path, no time).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/fingerprint/digest.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// Collects the parts; equal parts in equal order give equal digests on every machine. A value type.
class FingerprintBuilder {
 public:
  /// `kind` tells sorts of datasets apart: "subset", "csv".
  explicit FingerprintBuilder(std::string_view kind) { add(kind); }

  FingerprintBuilder& add(std::int64_t value);
  FingerprintBuilder& add(std::string_view text);
  FingerprintBuilder& add(const fingerprint::Digest& digest);
  FingerprintBuilder& add(const std::vector<Field>& fields);
  FingerprintBuilder& add(std::span<const std::int64_t> values);
  fingerprint::Digest finish() const;

 private:
  std::string bytes_;
};

/// Up to this many bytes, a file's content is digested whole; beyond, 64 blocks of 1 MiB evenly spread from
/// the first byte to the last, and the size.
inline constexpr std::uint64_t kWholeDigestBytes = std::uint64_t{64} << 20;

/// Digest of a file's content by the rule of kWholeDigestBytes. A change between the blocks of a larger file
/// is not seen.
fingerprint::Digest digest_content(std::span<const std::byte> content);

/// Computes a fingerprint once, at first use. Thread-safe.
class FingerprintCache {
 public:
  const fingerprint::Digest& get(const std::function<fingerprint::Digest()>& compute) const;

 private:
  mutable std::once_flag once_;
  mutable fingerprint::Digest digest_;
};

}  // namespace lockstep::loader
