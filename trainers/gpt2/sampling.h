#pragma once
// Text from a model, token by token, with lockstep's own random numbers: the same on every processor.

#include <cstdint>
#include <span>
#include <vector>

#include "model.h"

namespace lockstep::trainers {

struct SamplingOptions {
  std::int64_t tokens = 0;  ///< to be drawn
  double temperature = 1;   ///< 0: always the likeliest
  std::int64_t top_k = 0;   ///< draw among so many of the likeliest; 0: among all
  std::uint64_t seed = 0;

  /// Throws Error(invalid_argument) for a temperature or numbers that are negative or not finite.
  void check() const;
};

/// The token that `draw` in [0, 1) falls on. Tokens are ordered by logit, larger ones first, equal ones by
/// number; the first top_k of them weigh exp((logit - largest) / temperature), the quotient and the
/// exponential in float32, and are added in that order in double. NaN logits come last.
std::int64_t choose_token(std::span<const float> logits, const SamplingOptions& options, double draw);

/// `prompt` and what follows it. Each token sees the `context` tokens before it. Token i draws from
/// (seed, i), whatever was drawn before. `invariant`: on lockstep's kernels. Throws Error(invalid_argument)
/// for an empty prompt and for tokens outside the vocabulary.
std::vector<std::int64_t> sample(Gpt2& model, std::vector<std::int64_t> prompt,
                                 const SamplingOptions& options, bool invariant);

}  // namespace lockstep::trainers
