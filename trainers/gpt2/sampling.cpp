#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "evaluation.h"
#include "lockstep/base/error.h"
#include "lockstep/math/math.h"
#include "lockstep/random/philox.h"
#include "lockstep/torch/invariant_mode.h"

namespace lockstep::trainers {
namespace {

constexpr std::uint32_t kSamplingStream = 0x5a3b1e00;  // far from the streams of loaders' transforms

double draw_of(std::uint64_t seed, std::int64_t token) {
  return random::Generator({seed, 0, token, 0}, kSamplingStream).uniform_double();
}

/// Tokens by logit, the largest first.
std::vector<std::int64_t> ranked(std::span<const float> logits, std::int64_t most) {
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](std::int64_t token) {
    const float logit = logits[static_cast<std::size_t>(token)];
    return std::isnan(logit) ? -INFINITY : logit;
  };
  std::partial_sort(order.begin(), order.begin() + most, order.end(), [&](std::int64_t a, std::int64_t b) {
    return key(a) != key(b) ? key(a) > key(b) : a < b;
  });
  order.resize(static_cast<std::size_t>(most));
  return order;
}

void check_prompt(const std::vector<std::int64_t>& prompt, std::int64_t vocabulary) {
  if (prompt.empty())
    fail(ErrorCode::invalid_argument, {"gpt2", "--prompt", "one token or more", "none", {}});
  for (const std::int64_t token : prompt)
    if (token < 0 || token >= vocabulary)
      fail(ErrorCode::invalid_argument,
           {"gpt2", "--prompt", fmt::format("tokens below {}", vocabulary), std::to_string(token), {}});
}

torch::Tensor window_of(const std::vector<std::int64_t>& tokens, std::int64_t context) {
  const auto length = std::min(context, static_cast<std::int64_t>(tokens.size()));
  return torch::tensor(std::vector<std::int64_t>(tokens.end() - length, tokens.end()))
      .unsqueeze(0);  // [1, T]
}

}  // namespace

void SamplingOptions::check() const {
  if (!std::isfinite(temperature) || temperature < 0)
    fail(ErrorCode::invalid_argument,
         {"gpt2", "--temperature", "a finite number, 0 or more", fmt::to_string(temperature), {}});
  if (tokens < 0 || top_k < 0)
    fail(ErrorCode::invalid_argument,
         {"gpt2", "--sample-tokens and --top-k", "0 or more", fmt::format("{}, {}", tokens, top_k), {}});
}

std::int64_t choose_token(std::span<const float> logits, const SamplingOptions& options, double draw) {
  const auto all = static_cast<std::int64_t>(logits.size());
  const std::int64_t most = options.temperature == 0 ? 1
                            : options.top_k > 0      ? std::min(options.top_k, all)
                                                     : all;
  const std::vector<std::int64_t> order = ranked(logits, most);
  if (most == 1) return order[0];
  const auto temperature = static_cast<float>(options.temperature);
  const float largest = logits[static_cast<std::size_t>(order[0])];
  std::vector<float> weights;
  for (const std::int64_t token : order)
    weights.push_back((logits[static_cast<std::size_t>(token)] - largest) / temperature);
  math::exp(weights.data(), weights.data(), most);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double reached = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    if ((reached += static_cast<double>(weights[i])) > draw * total) return order[i];
  return order[0];  // only where a logit is NaN
}

std::vector<std::int64_t> sample(Gpt2& model, std::vector<std::int64_t> prompt,
                                 const SamplingOptions& options, bool invariant) {
  options.check();
  check_prompt(prompt, model.config().vocabulary);
  const Evaluation evaluation(model);
  const InvariantMode mode(invariant);
  const torch::Device device = model.parameters().front().device();
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    const torch::Tensor features =
        model.features(window_of(prompt, model.config().context).to(device));  // [T, C]
    const torch::Tensor logits =
        model.head(features.narrow(0, features.size(0) - 1, 1)).cpu().contiguous();  // [1, V]
    const std::span<const float> row(logits.const_data_ptr<float>(),
                                     static_cast<std::size_t>(logits.numel()));
    prompt.push_back(choose_token(row, options, draw_of(options.seed, i)));
  }
  return prompt;
}

}  // namespace lockstep::trainers
