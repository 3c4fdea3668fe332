#pragma once
// Numbers of the command line.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::list_samples {

/// All of them throw Error(invalid_argument) naming `flag` and the text that is no such number.
std::int64_t parse_integer(std::string_view flag, std::string_view text);
/// −2^63 to 2^64−1, as torch.manual_seed takes them; a negative one is its 64 bits.
std::uint64_t parse_seed(std::string_view flag, std::string_view text);

/// Lists are separated by commas, and in a file (named @FILE) by newlines too. Throws Error(not_found) for
/// the file.
std::vector<double> parse_numbers(std::string_view flag, const std::string& text);
std::vector<std::int64_t> parse_integers(std::string_view flag, const std::string& text);
/// Integers, or nothing for "-".
std::vector<std::optional<std::int64_t>> parse_stops(std::string_view flag, const std::string& text);

}  // namespace lockstep::list_samples
