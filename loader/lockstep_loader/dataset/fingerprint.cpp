#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {
namespace {

void append(std::string& bytes, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
}

}  // namespace

FingerprintBuilder& FingerprintBuilder::add(std::int64_t value) {
  append(bytes_, static_cast<std::uint64_t>(value));
  return *this;
}

FingerprintBuilder& FingerprintBuilder::add(std::string_view text) {
  append(bytes_, text.size());  // so that "ab", "c" is not "a", "bc"
  bytes_.append(text);
  return *this;
}

FingerprintBuilder& FingerprintBuilder::add(const fingerprint::Digest& digest) {
  append(bytes_, digest.lane0);
  append(bytes_, digest.lane1);
  return *this;
}

FingerprintBuilder& FingerprintBuilder::add(const std::vector<Field>& fields) {
  append(bytes_, fields.size());
  for (const Field& field : fields) {
    add(field.name);
    append(bytes_, static_cast<std::uint64_t>(field.dtype));
    add(std::span<const std::int64_t>(field.shape.begin(), static_cast<std::size_t>(field.shape.rank())));
  }
  return *this;
}

FingerprintBuilder& FingerprintBuilder::add(std::span<const std::int64_t> values) {
  append(bytes_, values.size());
  for (std::int64_t value : values) append(bytes_, static_cast<std::uint64_t>(value));
  return *this;
}

fingerprint::Digest FingerprintBuilder::finish() const {
  return fingerprint::digest_bytes(bytes_.data(), bytes_.size());
}

fingerprint::Digest digest_content(std::span<const std::byte> content) {
  if (content.size() <= kWholeDigestBytes) return fingerprint::digest_bytes(content.data(), content.size());
  constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;
  constexpr std::uint64_t kBlocks = kWholeDigestBytes / kBlockBytes;
  FingerprintBuilder builder("spread blocks");
  builder.add(static_cast<std::int64_t>(content.size()));
  const std::uint64_t step = (content.size() - kBlockBytes) / (kBlocks - 1);
  for (std::uint64_t block = 0; block + 1 < kBlocks; ++block) {
    builder.add(fingerprint::digest_bytes(content.data() + block * step, kBlockBytes));
  }
  builder.add(fingerprint::digest_bytes(content.data() + content.size() - kBlockBytes, kBlockBytes));
  return builder.finish();
}

const fingerprint::Digest& FingerprintCache::get(const std::function<fingerprint::Digest()>& compute) const {
  std::call_once(once_, [&] { digest_ = compute(); });
  return digest_;
}

}  // namespace lockstep::loader
