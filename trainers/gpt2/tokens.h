#pragma once
// Tokens for a language model: windows to learn from, and windows that are held out.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

/// What a file holds: bytes of text, or little-endian token numbers without a header.
enum class TokenKind : std::uint8_t { bytes, uint16, uint32 };

/// By name; "auto" is uint16 for files that end in .bin, else bytes.
TokenKind token_kind(const std::string& name, const std::filesystem::path& file);

/// The tokens of a prompt: its bytes, or the numbers in it. Where it is empty: a newline, or the last token
/// of the vocabulary, which is GPT-2's mark of a text's end. Throws Error(invalid_argument) for other words.
std::vector<std::int64_t> parse_prompt(const std::string& text, TokenKind kind, std::int64_t vocabulary);
/// Tokens as text: bytes as they are, or numbers with spaces.
std::string text_of(const std::vector<std::int64_t>& tokens, TokenKind kind);

struct TokenSplit {
  loader::DatasetPtr train, held_out;  ///< tokens and targets int64 [T]; held_out is null when nothing is
};

/// Windows of `context` tokens, one after the other. The last `fraction` of them is held out, at least one
/// where the fraction is above 0; or all windows of `held_out_file`, where that is given. Throws
/// Error(not_found, io, corruption), Error(invalid_argument) where no window is left to learn from.
TokenSplit open_tokens(const std::filesystem::path& file, const std::filesystem::path& held_out_file,
                       TokenKind kind, std::int64_t context, std::int64_t vocabulary, double fraction);

}  // namespace lockstep::trainers
