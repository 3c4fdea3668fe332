#include <ATen/ATen.h>

#include "lockstep/torch/attention_node_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

/// Features are neighbours in memory.
at::Tensor with_rows(const at::Tensor& t) {
  return t.size(-1) <= 1 || t.stride(-1) == 1 ? t : t.contiguous();
}

/// A dense tensor of the same sizes; its tokens and heads lie in the same order.
at::Tensor result_like(const at::Tensor& t, std::int64_t features) {
  std::vector<std::int64_t> sizes = t.sizes().vec();
  sizes.back() = features;
  const auto options = t.options().requires_grad(false);
  if (t.dim() != 4 || t.stride(1) >= t.stride(2)) return at::empty(sizes, options);
  std::swap(sizes[1], sizes[2]);
  return at::empty(sizes, options).transpose(1, 2);
}

template <class Heads, class Pointer>
Heads heads(const at::Tensor& t, Pointer data) {
  if (t.dim() == 3) return {data, 0, t.stride(1), t.stride(0)};
  return {data, t.stride(0), t.stride(1), t.stride(2)};
}
template <class T>
BasicConstHeads<T> operand(const at::Tensor& t) {
  return heads<BasicConstHeads<T>>(t, t.const_data_ptr<T>());
}
template <class T>
BasicHeads<T> result(const at::Tensor& t) {
  return t.defined() ? heads<BasicHeads<T>>(t, t.mutable_data_ptr<T>()) : BasicHeads<T>{};
}

/// lse is [samples, heads, queries], or packed [heads, tokens].
at::Tensor make_lse(const AttentionCall& call, const at::Tensor& q) {
  const auto options = q.options().requires_grad(false);
  if (call.is_packed) return at::empty({q.size(1), q.size(0)}, options);
  return at::empty({q.size(0), q.size(1), q.size(2)}, options);
}
std::int64_t sample_stride(const at::Tensor& lse) { return lse.dim() == 2 ? 0 : lse.stride(0); }

class LockstepAttentionBackward final : public Node {
 public:
  std::string name() const override { return "LockstepAttentionBackward"; }
  void release_variables() override {
    for (SavedVariable* saved : {&q_, &k_, &v_, &o_}) saved->reset_data();
    lse_ = call_.keep = call_.add = call_.sequences = at::Tensor();
  }

  void save(AttentionCall call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
            const at::Tensor& o, const at::Tensor& lse) {
    q_ = SavedVariable(q, false);
    k_ = SavedVariable(k, false);
    v_ = SavedVariable(v, false);
    o_ = SavedVariable(o, true);
    lse_ = lse;
    call_ = std::move(call);
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    refuse_create_graph(*this,
                        "Write the attention out (attn_implementation=\"eager\", or matmul, softmax and "
                        "matmul) for a double backward");
    const at::Tensor saved_q = q_.unpack(), saved_k = k_.unpack(), saved_v = v_.unpack();
    const at::Tensor saved_o = o_.unpack(shared_from_this());
    const Computation computation;
    LOCKSTEP_COUNT_CALL("attention backward");
    const at::Tensor q = with_rows(saved_q), k = with_rows(saved_k), v = with_rows(saved_v);
    const at::Tensor o = with_rows(saved_o), d_o = with_rows(gradients[0]);
    variable_list results(3);
    if (task_should_compute_output(0)) results[0] = result_like(q, q.size(-1));
    if (task_should_compute_output(1)) results[1] = result_like(k, k.size(-1));
    if (task_should_compute_output(2)) results[2] = result_like(v, v.size(-1));
    OnDevice on("attention backward", d_o, q, k, v, o, call_.keep, call_.add);
    by_dtype(q, [&](auto zero) {
      using T = decltype(zero);
      void* const scratch =
          on.is_cuda() ? on.scratch<char>(attention_backward_scratch_bytes(call_.extents)) : nullptr;
      const BasicConstHeadRows<T> rows{lse_.const_data_ptr<T>(), sample_stride(lse_), lse_.stride(-2)};
      attention_backward(operand<T>(d_o), operand<T>(q), operand<T>(k), operand<T>(v), operand<T>(o), rows,
                         result<T>(results[0]), result<T>(results[1]), result<T>(results[2]), call_.extents,
                         call_.options<T>(), on.device(), on.stream(), scratch);
    });
    return results;
  }

 private:
  SavedVariable q_, k_, v_, o_;
  at::Tensor lse_;
  AttentionCall call_;
};

}  // namespace

template <class T>
BasicAttentionOptions<T> AttentionCall::options() const {
  BasicAttentionOptions<T> of;
  of.scale = static_cast<T>(scale);
  of.causal = causal;
  const at::Tensor& mask = keep.defined() ? keep : add;
  if (keep.defined()) of.mask.keep = keep.const_data_ptr<bool>();
  if (add.defined()) of.mask.add = add.const_data_ptr<T>();
  if (mask.defined()) {
    of.mask.sample_stride = mask.stride(0);
    of.mask.head_stride = mask.stride(1);
    of.mask.query_stride = mask.stride(2);
    of.mask.key_stride = mask.stride(3);
  }
  if (sequences.defined()) {
    const auto* const row = sequences.const_data_ptr<std::int64_t>();
    const std::int64_t samples = sequences.size(1);
    of.sequences = {row + samples, row + 3 * samples, row, row + 2 * samples};
  }
  return of;
}

at::Tensor attend(AttentionCall call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool needs_gradient = needs_node(q, k, v);
  at::Tensor o, lse;
  {
    const Computation computation;
    const at::Tensor q_rows = with_rows(q), k_rows = with_rows(k), v_rows = with_rows(v);
    o = result_like(q_rows, v.size(-1));
    if (call.sequences.defined()) call.sequences = call.sequences.to(q.device());
    if (needs_gradient) lse = make_lse(call, q);
    const OnDevice on("attention", q_rows, k_rows, v_rows, call.keep, call.add);
    by_dtype(q, [&](auto zero) {
      using T = decltype(zero);
      BasicHeadRows<T> rows;
      if (needs_gradient) rows = {lse.mutable_data_ptr<T>(), sample_stride(lse), lse.stride(-2)};
      attention(operand<T>(q_rows), operand<T>(k_rows), operand<T>(v_rows), result<T>(o), rows, call.extents,
                call.options<T>(), on.device(), on.stream());
    });
  }
  if (!needs_gradient) return o;
  const auto node = make_node<LockstepAttentionBackward>(q, k, v);
  torch::autograd::set_history(o, node);
  node->save(std::move(call), q, k, v, o, lse);
  return o;
}

}  // namespace lockstep::invariant
