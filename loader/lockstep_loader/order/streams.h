#pragma once
// Counter words that keep the draws of native order apart from each other and from the per-record generators,
// which lie under the same seed with small stream numbers. Persisted by every run that names a seed: never
// change one.

#include <cstdint>

namespace lockstep::loader {

constexpr std::uint32_t kPermutationStream = 0x6f726472;  ///< "ordr": round keys of the index cipher
constexpr std::uint32_t kReplacementStream = 0x7265706c;  ///< "repl": drawing with replacement
constexpr std::uint32_t kWeightedStream = 0x77676874;     ///< "wght": drawing by weight
constexpr std::uint32_t kSplitStream = 0x73706c74;        ///< "splt": native random_split

/// The epoch as a counter word. Throws Error(invalid_argument) outside [0, 2^32).
std::uint32_t checked_epoch(std::int64_t epoch);

}  // namespace lockstep::loader
