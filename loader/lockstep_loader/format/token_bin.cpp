#include "lockstep_loader/format/token_bin.h"

#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/record_memory.h"
#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {
namespace {

template <typename Token>
Token load(const std::byte* at) {
  Token token;
  std::memcpy(&token, at, sizeof(Token));
  if constexpr (std::endian::native == std::endian::big) {
    swap_elements(reinterpret_cast<std::byte*>(&token), sizeof(Token), sizeof(Token));
  }
  return token;
}

template <typename Token, typename Wide>
void convert(std::byte* out, const std::byte* in, std::int64_t count) {
  for (std::int64_t at = 0; at < count; ++at) {
    const auto value = static_cast<Wide>(load<Token>(in + at * static_cast<std::int64_t>(sizeof(Token))));
    std::memcpy(out + at * static_cast<std::int64_t>(sizeof(Wide)), &value, sizeof(Wide));
  }
}

template <typename Token>
void deliver(std::byte* out, const std::byte* in, std::int64_t count, DType dtype) {
  if (dtype == DType::int64) return convert<Token, std::int64_t>(out, in, count);
  if (dtype == DType::int32) return convert<Token, std::int32_t>(out, in, count);
  return convert<Token, Token>(out, in, count);
}

/// Position of the first token ≥ limit, or `count`.
template <typename Token>
std::int64_t first_above(const std::byte* in, std::int64_t count, std::uint64_t limit) {
  for (std::int64_t at = 0; at < count; ++at) {
    if (load<Token>(in + at * static_cast<std::int64_t>(sizeof(Token))) >= limit) return at;
  }
  return count;
}

void check_options(const std::string& name, const TokenOptions& options) {
  const auto demand = [&](bool good, const char* what, const char* expected, std::string got) {
    if (!good) fail(ErrorCode::invalid_argument, {name, what, expected, std::move(got), {}});
  };
  demand(options.context >= 1 && options.context < (std::int64_t{1} << 40), "context", "1 or more",
         fmt::to_string(options.context));
  demand(options.stride >= 0, "stride", "1 or more, or 0 for the context", fmt::to_string(options.stride));
  demand(options.stored == DType::uint16 || options.stored == DType::uint32, "stored dtype",
         "uint16 or uint32", std::string(dtype_name(options.stored)));
  demand(options.delivered == DType::int64 || options.delivered == DType::int32 ||
             options.delivered == options.stored,
         "delivered dtype", "int64, int32 or the stored one", std::string(dtype_name(options.delivered)));
}

}  // namespace

TokenBinDataset::TokenBinDataset(const std::filesystem::path& path, const TokenOptions& options)
    : TokenBinDataset(map_file(path), options) {}

TokenBinDataset::TokenBinDataset(const Content& file, const TokenOptions& options)
    : TokenBinDataset(file.bytes, file.name, file.owner, options) {}

TokenBinDataset::TokenBinDataset(std::span<const std::byte> tokens, std::string name,
                                 std::shared_ptr<const void> owner, const TokenOptions& options)
    : name_(std::move(name)), tokens_(tokens), owner_(std::move(owner)), options_(options) {
  check_options(name_, options_);
  if (options_.stride == 0) options_.stride = options_.context;
  const std::size_t token_bytes = dtype_bytes(options_.stored);
  if (tokens_.size() % token_bytes != 0) {
    fail(ErrorCode::corruption, {name_, "size", fmt::format("a multiple of {} bytes", token_bytes),
                                 fmt::format("{} bytes", tokens_.size()),
                                 "The file is truncated, or its tokens are of the other dtype."});
  }
  const auto count = static_cast<std::int64_t>(tokens_.size() / token_bytes);
  if (count < options_.context + 1) {
    fail(ErrorCode::invalid_argument,
         {name_, "tokens", fmt::format("at least {}, the context and one more", options_.context + 1),
          fmt::to_string(count), "Choose a shorter context."});
  }
  records_ = (count - options_.context - 1) / options_.stride + 1;
  fields_ = {{"tokens", options_.delivered, {options_.context}},
             {"targets", options_.delivered, {options_.context}}};
}

const std::byte* TokenBinDataset::window(std::int64_t index) const {
  return tokens_.data() + index * options_.stride * static_cast<std::int64_t>(dtype_bytes(options_.stored));
}

void TokenBinDataset::check_window(std::int64_t index) const {
  // int32 holds every uint16, but not every uint32.
  const bool narrow = options_.stored == DType::uint32 && options_.delivered == DType::int32;
  const std::uint64_t limit = options_.vocabulary != 0 ? options_.vocabulary : std::uint64_t{1} << 31;
  if (options_.vocabulary == 0 && !narrow) return;
  const std::int64_t count = options_.context + 1;
  const std::int64_t at = options_.stored == DType::uint16
                              ? first_above<std::uint16_t>(window(index), count, limit)
                              : first_above<std::uint32_t>(window(index), count, limit);
  if (at == count) return;
  fail(ErrorCode::corruption,
       {name_, fmt::format("token {} (record {})", index * options_.stride + at, index),
        fmt::format("below {}", limit), "a larger number", "Tokenise with the vocabulary of the model."});
}

void TokenBinDataset::get(std::int64_t index, const random::RecordKey&,
                          std::span<std::byte* const> out) const {
  if (index < 0 || index >= records_) {
    fail(ErrorCode::invalid_argument,
         {name_, "record", fmt::format("0 to {}", records_ - 1), fmt::to_string(index), {}});
  }
  check_window(index);
  const auto token_bytes = static_cast<std::int64_t>(dtype_bytes(options_.stored));
  for (std::int64_t field = 0; field < 2; ++field) {
    const std::byte* in = window(index) + field * token_bytes;
    std::byte* to = out[static_cast<std::size_t>(field)];
    if (options_.stored == DType::uint16)
      deliver<std::uint16_t>(to, in, options_.context, options_.delivered);
    if (options_.stored == DType::uint32)
      deliver<std::uint32_t>(to, in, options_.context, options_.delivered);
  }
}

void TokenBinDataset::prefetch(std::int64_t index) const {
  if (index < 0 || index >= records_) return;
  prefetch_lines(window(index),
                 static_cast<std::size_t>(options_.context + 1) * dtype_bytes(options_.stored));
}

fingerprint::Digest TokenBinDataset::fingerprint() const {
  return fingerprint_.get([this] {
    FingerprintBuilder builder("token bin");
    builder.add(fields_).add(records_).add(options_.stride).add(std::int64_t{options_.vocabulary});
    return builder.add(dtype_name(options_.stored)).add(digest_content(tokens_)).finish();
  });
}

std::string TokenBinDataset::describe() const {
  return fmt::format("tokens {} ({} records of {})", name_, records_, options_.context);
}

}  // namespace lockstep::loader
