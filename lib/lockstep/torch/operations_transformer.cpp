// The operations that torch.nn's MultiheadAttention and TransformerEncoderLayer take in eval mode in the
// place of their parts: the same parts, of ours, so that a layer has one result in training and in eval.

#include <ATen/ATen.h>
#include <cmath>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/dispatch_internal.h"

namespace lockstep::invariant {
namespace {

/// Which keys a layer's mask hides; LibTorch's numbers.
enum class MaskType : std::int64_t { queries_by_keys = 0, samples_by_keys = 1, full = 2 };

/// The keys that are seen, to be spread over [samples, heads, queries, keys]; undefined without a mask. A
/// mask that is not bool hides where it is not 0, as in LibTorch's own kernel.
at::Tensor seen(const char* name, const std::optional<at::Tensor>& mask, std::optional<std::int64_t> type) {
  if (!mask || !mask->defined()) return {};
  const at::Tensor keep = at::eq(*mask, 0);
  if (!type) fail(ErrorCode::invalid_argument, {name, "mask_type", "0, 1 or 2 beside a mask", "none", {}});
  switch (static_cast<MaskType>(*type)) {
    case MaskType::samples_by_keys:
      return keep.unsqueeze(1).unsqueeze(1);
    case MaskType::queries_by_keys:
    case MaskType::full:
      return keep;
  }
  fail(ErrorCode::invalid_argument, {name, "mask_type", "0, 1 or 2", fmt::to_string(*type), {}});
}

struct SelfAttention {
  const char* name;
  std::int64_t heads;
  at::Tensor in_weight, in_bias, out_weight, out_bias;
  at::Tensor keep;

  struct Heads {
    at::Tensor q, k, v;  // [samples, heads, tokens, size]
  };
  Heads split(const at::Tensor& x) const {
    if (heads <= 0 || x.dim() != 3 || x.size(2) % heads != 0)
      fail(ErrorCode::invalid_argument, {name,
                                         "input",
                                         "[samples, tokens, heads × size]",
                                         fmt::format("{} axes, {} heads", x.dim(), heads),
                                         {}});
    const at::Tensor packed = at::linear(x, in_weight, in_bias);
    const auto parts =
        packed.view({x.size(0), x.size(1), 3, heads, x.size(2) / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
    return {parts[0], parts[1], parts[2]};
  }
  at::Tensor merge(const at::Tensor& o) const {
    return at::linear(o.transpose(1, 2).flatten(2), out_weight, out_bias);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    const Heads of = split(x);
    return merge(at::scaled_dot_product_attention(of.q, of.k, of.v,
                                                  keep.defined() ? std::optional(keep) : std::nullopt));
  }
  /// The weights of the keys too, [samples, heads, queries, keys].
  std::tuple<at::Tensor, at::Tensor> with_weights(const at::Tensor& x) const {
    const Heads of = split(x);
    at::Tensor s =
        at::matmul(at::mul(of.q, 1 / std::sqrt(static_cast<double>(of.q.size(-1)))), of.k.transpose(-2, -1));
    if (keep.defined()) s = s.masked_fill(at::logical_not(keep), -HUGE_VAL);
    const at::Tensor weights = at::softmax(s, -1);
    return {merge(at::matmul(weights, of.v)), weights};
  }
};

std::tuple<at::Tensor, at::Tensor> high_multi_head_attention(
    c10::DispatchKeySet keys, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    std::int64_t, std::int64_t heads, const at::Tensor& in_weight, const at::Tensor& in_bias,
    const at::Tensor& out_weight, const at::Tensor& out_bias, const std::optional<at::Tensor>& mask,
    bool need_weights, bool average_weights, std::optional<std::int64_t> mask_type) {
  constexpr const char* kName = "aten::_native_multi_head_attention";
  require_supported(kName, keys, query);
  LOCKSTEP_COUNT_CALL(kName);
  if (!key.is_same(query) || !value.is_same(query))
    fail(ErrorCode::unsupported,
         {kName, "key and value", "the query itself (self-attention)", "other tensors",
          "Switch LibTorch's fast path off: torch.backends.mha.set_fastpath_enabled(False)"});
  const SelfAttention attention{
      kName, heads, in_weight, in_bias, out_weight, out_bias, seen(kName, mask, mask_type)};
  if (!need_weights) return {attention(query), at::Tensor()};
  const auto [o, weights] = attention.with_weights(query);
  return {o, average_weights ? weights.mean(1) : weights};
}

at::Tensor high_encoder_layer(c10::DispatchKeySet keys, const at::Tensor& x, std::int64_t, std::int64_t heads,
                              const at::Tensor& in_weight, const at::Tensor& in_bias,
                              const at::Tensor& out_weight, const at::Tensor& out_bias, bool use_gelu,
                              bool norm_first, double eps, const at::Tensor& norm_weight_1,
                              const at::Tensor& norm_bias_1, const at::Tensor& norm_weight_2,
                              const at::Tensor& norm_bias_2, const at::Tensor& up_weight,
                              const at::Tensor& up_bias, const at::Tensor& down_weight,
                              const at::Tensor& down_bias, const std::optional<at::Tensor>& mask,
                              std::optional<std::int64_t> mask_type) {
  constexpr const char* kName = "aten::_transformer_encoder_layer_fwd";
  require_supported(kName, keys, x);
  LOCKSTEP_COUNT_CALL(kName);
  const SelfAttention attend{
      kName, heads, in_weight, in_bias, out_weight, out_bias, seen(kName, mask, mask_type)};
  const auto norm = [&](const at::Tensor& of, const at::Tensor& weight, const at::Tensor& bias) {
    return at::layer_norm(of, {of.size(-1)}, weight, bias, eps);
  };
  const auto feed = [&](const at::Tensor& of) {
    const at::Tensor up = at::linear(of, up_weight, up_bias);
    return at::linear(use_gelu ? at::gelu(up) : at::relu(up), down_weight, down_bias);
  };
  if (norm_first) {
    const at::Tensor middle = at::add(x, attend(norm(x, norm_weight_1, norm_bias_1)));
    return at::add(middle, feed(norm(middle, norm_weight_2, norm_bias_2)));
  }
  const at::Tensor middle = norm(at::add(x, attend(x)), norm_weight_1, norm_bias_1);
  return norm(at::add(middle, feed(middle)), norm_weight_2, norm_bias_2);
}

}  // namespace

void register_transformer(Registrar& registrar) {
  registrar.whole("_native_multi_head_attention", TORCH_FN(high_multi_head_attention));
  registrar.whole("_transformer_encoder_layer_fwd", TORCH_FN(high_encoder_layer));
}

}  // namespace lockstep::invariant
