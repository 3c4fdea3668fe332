#pragma once
// Token files: nothing but little-endian uint16 or uint32 token numbers, cut into windows for a language
// model. The file is mapped. It has no header, so gzip cannot be told from tokens and is not looked for.
// Thread-safety: immutable.
//
//   TokenBinDataset text("train.bin", {.context = 256});

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {

struct Content;

struct TokenOptions {
  std::int64_t context = 0;        ///< T, tokens of a window; required
  std::int64_t stride = 0;         ///< tokens from one window to the next; 0: context
  DType stored = DType::uint16;    ///< uint16 or uint32
  DType delivered = DType::int64;  ///< int64 (what an embedding takes), int32, or the stored type
  std::uint32_t vocabulary = 0;  ///< 0: unchecked; else a window with a token ≥ vocabulary is a bad sample
};

/// Record i holds "tokens" [T], the tokens from i * stride on, and "targets" [T], the same moved by one.
/// There are floor((tokens - T - 1) / stride) + 1 records: what is left at the end and fills no window is not
/// delivered. The fingerprint covers options, counts and tokens (digest_content's rule).
class TokenBinDataset final : public Dataset {
 public:
  /// Throws Error(not_found), Error(io); Error(corruption) for a size that is no multiple of a token;
  /// Error(invalid_argument) for a context below 1, a negative stride, other dtypes, or fewer than T + 1
  /// tokens.
  TokenBinDataset(const std::filesystem::path& path, const TokenOptions& options);
  /// Tokens that lie in memory, which `owner` keeps alive (null: the caller does); `name` is for messages.
  TokenBinDataset(std::span<const std::byte> tokens, std::string name, std::shared_ptr<const void> owner,
                  const TokenOptions& options);

  std::int64_t size() const override { return records_; }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  TokenBinDataset(const Content& file, const TokenOptions& options);
  const std::byte* window(std::int64_t index) const;
  void check_window(std::int64_t index) const;

  std::string name_;
  std::span<const std::byte> tokens_;
  std::shared_ptr<const void> owner_;
  TokenOptions options_;
  std::int64_t records_ = 0;
  std::vector<Field> fields_;
  FingerprintCache fingerprint_;
};

}  // namespace lockstep::loader
