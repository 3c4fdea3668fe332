// scaled_dot_product_attention, with a node of ours: no matrix of queries by keys is kept, and a sample's
// result does not know the longest one.

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/softmax/softmax.h"
#include "lockstep/torch/attention_node_internal.h"
#include "lockstep/torch/broadcast_node_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::invariant {
namespace {

constexpr const char* kName = "aten::scaled_dot_product_attention";

[[noreturn]] void refuse(ErrorCode code, const char* what, std::string expected, std::string got,
                         std::string next = {}) {
  fail(code, {kName, what, std::move(expected), std::move(got), std::move(next)});
}

// ---- Operands as [samples, heads, tokens, features]

/// Leading axes are samples; without them there is one, and without heads one head.
at::Tensor with_four_axes(const at::Tensor& t) {
  if (t.dim() == 2) return t.unsqueeze(0).unsqueeze(0);
  if (t.dim() == 3) return t.unsqueeze(0);
  if (t.dim() == 4) return t;
  return t.flatten(0, -4);
}

struct Operands {
  at::Tensor q, k, v;
};

void require_shapes(const Operands& x) {
  for (const at::Tensor* t : {&x.q, &x.k, &x.v})
    if (t->dim() < 2 || t->dim() != x.q.dim())
      refuse(ErrorCode::invalid_argument, "query, key, value", "tensors of as many axes each, 2 or more",
             shape_text(*t));
  if (x.q.size(-1) != x.k.size(-1))
    refuse(ErrorCode::invalid_argument, "key", fmt::format("the {} features of the query", x.q.size(-1)),
           shape_text(x.k));
  if (x.k.size(-2) != x.v.size(-2))
    refuse(ErrorCode::invalid_argument, "value", fmt::format("the {} tokens of the key", x.k.size(-2)),
           shape_text(x.v));
}

/// Samples and, unless they are grouped, heads of which one operand has 1 are read again for the others'.
at::Tensor spread(const at::Tensor& t, at::IntArrayRef leading) {
  std::vector<std::int64_t> sizes = leading.vec();
  sizes.push_back(t.size(-2));
  sizes.push_back(t.size(-1));
  if (t.sizes() == at::IntArrayRef(sizes)) return t;
  if (records_gradients()) require_no_computed_broadcast(kName, t, sizes);
  return t.expand(sizes);
}

Operands spread_operands(const Operands& given, bool has_groups) {
  const auto leading = [](const at::Tensor& t) {
    return t.sizes().slice(0, static_cast<std::size_t>(t.dim() - 2));
  };
  if (has_groups) {
    if (given.q.dim() < 3)
      refuse(ErrorCode::invalid_argument, "enable_gqa", "an axis of heads", shape_text(given.q));
    return given;
  }
  const auto all = at::infer_size(at::infer_size(leading(given.q), leading(given.k)), leading(given.v));
  return {spread(given.q, all), spread(given.k, all), spread(given.v, all)};
}

AttentionExtents extents_of(const Operands& x) {
  const AttentionExtents of{x.q.size(0), x.q.size(1), x.k.size(1), x.q.size(2),
                            x.k.size(2), x.q.size(3), x.v.size(3)};
  if (x.k.size(0) != of.samples || x.v.size(0) != of.samples || x.v.size(1) != of.kv_heads ||
      (of.heads > 0 && (of.kv_heads == 0 || of.heads % of.kv_heads != 0)))
    refuse(ErrorCode::invalid_argument, "key and value",
           fmt::format("the {} samples of the query, and a divisor of its {} heads", of.samples, of.heads),
           shape_text(x.k) + " and " + shape_text(x.v));
  return of;
}

// ---- Masks

/// Keys that are seen. Models hide keys by the least number as well as by -inf.
at::Tensor seen(const at::Tensor& mask) {
  if (mask.scalar_type() == at::kBool) return mask;
  return mask > static_cast<double>(std::numeric_limits<float>::lowest()) / 2;
}

/// Tiles of keys begin at a sample's first key, so padding before it would give other bits. On a CUDA device
/// nobody waits for the mask: the samples and heads to be refused are the result, [..., 1, 1], and become
/// NaN.
at::Tensor require_first_key(const at::Tensor& mask) {
  if (mask.size(-1) <= 1) return {};
  const at::Tensor first = seen(mask.select(-1, 0)).any(-1);  // [..., heads]
  if (mask.is_cpu() && first.all().item<bool>()) return {};
  const at::Tensor hidden = seen(mask).any(-1).any(-1).logical_and(first.logical_not());
  if (!mask.is_cpu()) return hidden.unsqueeze(-1).unsqueeze(-1);
  if (!hidden.any().item<bool>()) return {};
  refuse(ErrorCode::unsupported, "attn_mask", "samples whose first key is seen",
         "one whose first key is hidden from all queries (padding on the left)",
         "Pad on the right, or pack the samples (lockstep/torch/attention.h)");
}

void require_mask(const at::Tensor& mask, at::ScalarType type) {
  if (mask.requires_grad() && at::GradMode::is_enabled())
    refuse(ErrorCode::unsupported, "attn_mask", "a mask without a gradient", "one that requires it",
           "Write the attention out (attn_implementation=\"eager\", or matmul, softmax and matmul)");
  if (mask.scalar_type() != at::kBool && mask.scalar_type() != type)
    refuse(ErrorCode::unsupported, "attn_mask", type == at::kDouble ? "bool or float64" : "bool or float32",
           c10::toString(mask.scalar_type()));
  if (mask.dim() < 2) refuse(ErrorCode::invalid_argument, "attn_mask", "2 axes or more", shape_text(mask));
}

/// As [samples, heads, queries, keys] for operands whose leading axes are `leading`.
at::Tensor spread_mask(const at::Tensor& mask, at::IntArrayRef leading, const AttentionExtents& of) {
  std::vector<std::int64_t> sizes = leading.vec();
  sizes.push_back(of.queries);
  sizes.push_back(of.keys);
  if (!at::is_expandable_to(mask.sizes(), sizes))
    refuse(ErrorCode::invalid_argument, "attn_mask",
           fmt::format("a shape that spreads over [{}]", fmt::join(sizes, ", ")), shape_text(mask));
  return with_four_axes(mask.expand(sizes));
}

// ---- The operation

struct Request {
  Operands given;
  at::Tensor mask;
  double dropout = 0;
  bool is_causal = false, has_groups = false;
  double scale = 1;
};

Request checked(c10::DispatchKeySet keys, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
                std::optional<double> scale, bool has_groups) {
  for (const at::Tensor* t : {&q, &k, &v}) require_supported(kName, keys, *t);
  Request of{{q, k, v}, mask.value_or(at::Tensor()), dropout, is_causal, has_groups, 1};
  require_shapes(of.given);
  if (of.mask.defined()) require_mask(of.mask, q.scalar_type());
  if (of.mask.defined() && is_causal)
    refuse(ErrorCode::invalid_argument, "attn_mask", "no mask beside is_causal", "both");
  if (!(dropout >= 0 && dropout <= 1))
    refuse(ErrorCode::invalid_argument, "dropout_p", "a probability, 0 to 1", fmt::to_string(dropout));
  of.scale = scale.value_or(1.0 / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, q.size(-1)))));
  return of;
}

/// Dropout draws by sample, which the weights of the keys must be written out for: bmm, softmax, dropout,
/// bmm.
at::Tensor written_out(const Request& of) {
  Operands x = of.given;
  if (of.has_groups && x.k.dim() >= 3 && x.k.size(-3) > 0) {
    const std::int64_t group = x.q.size(-3) / x.k.size(-3);
    x.k = x.k.repeat_interleave(group, -3);
    x.v = x.v.repeat_interleave(group, -3);
  }
  at::Tensor s = at::matmul(x.q, x.k.transpose(-2, -1)) * of.scale;
  at::Tensor hidden;
  if (of.is_causal) hidden = at::ones({s.size(-2), s.size(-1)}, s.options().dtype(at::kBool)).triu(1);
  if (of.mask.defined() && of.mask.scalar_type() == at::kBool) hidden = of.mask.logical_not();
  if (hidden.defined()) s = s.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  if (of.mask.defined() && of.mask.scalar_type() != at::kBool) s = s + of.mask;
  return at::matmul(at::dropout(at::_safe_softmax(s, -1), of.dropout, true), x.v);
}

std::vector<std::int64_t> sizes_of_result(const at::Tensor& q, const at::Tensor& v) {
  std::vector<std::int64_t> sizes = q.sizes().vec();
  sizes.back() = v.size(-1);
  return sizes;
}

at::Tensor high_attention(c10::DispatchKeySet keys, const at::Tensor& query, const at::Tensor& key,
                          const at::Tensor& value, const std::optional<at::Tensor>& attn_mask,
                          double dropout_p, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  const Request of = checked(keys, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa);
  LOCKSTEP_COUNT_CALL(kName);
  const Operands spread_out = spread_operands(of.given, of.has_groups);
  const at::IntArrayRef leading =
      spread_out.q.sizes().slice(0, static_cast<std::size_t>(spread_out.q.dim() - 2));
  const Operands x{with_four_axes(spread_out.q), with_four_axes(spread_out.k), with_four_axes(spread_out.v)};
  AttentionCall call;
  call.extents = extents_of(x);
  call.scale = of.scale;
  call.causal = is_causal ? Causal::upper_left : Causal::none;
  at::Tensor refused;
  if (of.mask.defined()) {
    const Computation computation;
    refused = require_first_key(of.mask);
    const at::Tensor mask = spread_mask(of.mask.detach(), leading, call.extents);
    (mask.scalar_type() == at::kBool ? call.keep : call.add) = mask;
  }
  if (dropout_p > 0) return written_out(of);
  const at::Tensor o = attend(std::move(call), x.q, x.k, x.v);
  const at::Tensor shaped =
      o.dim() == spread_out.q.dim() ? o : o.reshape(sizes_of_result(spread_out.q, value));
  return refused.defined() ? shaped.masked_fill(refused, std::numeric_limits<double>::quiet_NaN()) : shaped;
}

/// Softmax over the last axis but one: a row of -inf alone is 0, where softmax has NaN.
at::Tensor low_safe_softmax(c10::DispatchKeySet keys, const at::Tensor& self, std::int64_t dim,
                            std::optional<at::ScalarType>) {
  require_supported("aten::_safe_softmax", keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::_safe_softmax");
  take_over_thread_count();
  const at::Tensor x = self.transpose(dim, -1).contiguous();  // self itself, where that is dense already
  const at::Tensor empty_rows = (x == -std::numeric_limits<double>::infinity()).all(-1, true);
  const std::int64_t axis = self.dim() == 0 ? 1 : x.size(-1);
  at::Tensor y = at::empty(x.sizes(), x.options());
  const AxisExtents extents{axis == 0 ? 0 : x.numel() / axis, axis, 1};
  const OnDevice on("aten::_safe_softmax", x);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    softmax(x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), extents, on.device(), on.stream());
  });
  return y.masked_fill_(empty_rows, 0).transpose(dim, -1);
}

}  // namespace

void register_attention(Registrar& registrar) {
  registrar.whole("scaled_dot_product_attention", TORCH_FN(high_attention));
  registrar.compute("_safe_softmax", TORCH_FN(low_safe_softmax));
}

}  // namespace lockstep::invariant
