#include "tokens.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>
#include <span>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/state/durable_file.h"
#include "lockstep_loader/dataset/subset.h"
#include "lockstep_loader/format/token_bin.h"

namespace lockstep::trainers {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostTextBytes = std::uint64_t{1} << 32;  // of a text, which is held in memory

loader::DatasetPtr open_text(const fs::path& file, loader::TokenOptions options) {
  const std::string text = state::read_file(file, kMostTextBytes);
  const auto tokens = std::make_shared<std::vector<std::uint16_t>>(text.size());
  std::transform(text.begin(), text.end(), tokens->begin(),
                 [](char byte) { return static_cast<unsigned char>(byte); });
  options.stored = DType::uint16;
  return std::make_shared<loader::TokenBinDataset>(std::as_bytes(std::span<const std::uint16_t>(*tokens)),
                                                   file.string() + " as bytes", tokens, options);
}

loader::DatasetPtr open_windows(const fs::path& file, TokenKind kind, std::int64_t context,
                                std::int64_t vocabulary) {
  loader::TokenOptions options;
  options.context = context;
  options.vocabulary = static_cast<std::uint32_t>(
      std::min<std::int64_t>(vocabulary, std::numeric_limits<std::uint32_t>::max()));
  if (kind == TokenKind::bytes) return open_text(file, options);
  options.stored = kind == TokenKind::uint16 ? DType::uint16 : DType::uint32;
  return std::make_shared<loader::TokenBinDataset>(file, options);
}

loader::DatasetPtr windows_from(const loader::DatasetPtr& all, std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return std::make_shared<loader::SubsetDataset>(all, std::move(indices));
}

}  // namespace

TokenKind token_kind(const std::string& name, const fs::path& file) {
  if (name == "bytes") return TokenKind::bytes;
  if (name == "uint16") return TokenKind::uint16;
  if (name == "uint32") return TokenKind::uint32;
  return file.extension() == ".bin" ? TokenKind::uint16 : TokenKind::bytes;
}

std::vector<std::int64_t> parse_prompt(const std::string& text, TokenKind kind, std::int64_t vocabulary) {
  if (text.empty()) return {kind == TokenKind::bytes ? '\n' : vocabulary - 1};
  std::vector<std::int64_t> tokens;
  if (kind == TokenKind::bytes) {
    for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    std::int64_t token = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), token);
    if (error != std::errc() || end != word.data() + word.size())
      fail(ErrorCode::invalid_argument, {"gpt2", "--prompt", "token numbers with spaces between", word, {}});
    tokens.push_back(token);
  }
  return tokens;
}

std::string text_of(const std::vector<std::int64_t>& tokens, TokenKind kind) {
  if (kind != TokenKind::bytes) return fmt::format("{}", fmt::join(tokens, " "));
  std::string text;
  for (const std::int64_t token : tokens) text += static_cast<char>(token);
  return text;
}

TokenSplit open_tokens(const fs::path& file, const fs::path& held_out_file, TokenKind kind,
                       std::int64_t context, std::int64_t vocabulary, double fraction) {
  const loader::DatasetPtr all = open_windows(file, kind, context, vocabulary);
  if (!held_out_file.empty()) return {all, open_windows(held_out_file, kind, context, vocabulary)};
  if (!(fraction > 0)) return {all, nullptr};
  const std::int64_t windows = all->size();
  const auto held_out =
      std::max<std::int64_t>(static_cast<std::int64_t>(fraction * static_cast<double>(windows)), 1);
  if (!(fraction < 1) || held_out >= windows)
    fail(
        ErrorCode::invalid_argument,
        {"gpt2", "--held-out", fmt::format("a part of the {} windows that leaves one to learn from", windows),
         fmt::to_string(fraction), "Pass a smaller --held-out or --context, or more text"});
  return {windows_from(all, 0, windows - held_out), windows_from(all, windows - held_out, windows)};
}

}  // namespace lockstep::trainers
