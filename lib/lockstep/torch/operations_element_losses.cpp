// Losses of single elements: MSE, L1, binary cross-entropy with logits, margin ranking. Their mean is over
// the global batch, so they get a node of ours.

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/loss/loss.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/loss_reduction_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

enum class ElementLoss { mse, l1, bce_with_logits, margin_ranking };

/// One loss and its operands, all of one shape.
struct LossCall {
  ElementLoss kind = ElementLoss::mse;
  const char* name = "";
  std::int64_t reduction = at::Reduction::Mean;
  double margin = 0;
  at::Tensor weight, positive_weight;  ///< of bce_with_logits

  LossExtents extents(const at::Tensor& x) const {
    if (x.dim() == 0) return {1, 1};
    return {x.size(0), x.size(0) == 0 ? 0 : x.numel() / x.size(0)};
  }
  template <class T>
  BasicBinaryWeights<T> weights() const {
    return {data_or_null<T>(weight), data_or_null<T>(positive_weight)};
  }

  /// first, second: x and target, or the two that are ranked. third: the target of a ranking.
  template <class T>
  void forward(const at::Tensor& first, const at::Tensor& second, const at::Tensor& third,
               const at::Tensor& loss) const {
    const OnDevice on(name, first, second, third, weight, positive_weight);
    const T *a = first.const_data_ptr<T>(), *b = second.const_data_ptr<T>();
    T* const out = loss.mutable_data_ptr<T>();
    const LossExtents shape = extents(first);
    switch (kind) {
      case ElementLoss::mse:
        return mse(a, b, out, shape, on.device(), on.stream());
      case ElementLoss::l1:
        return l1(a, b, out, shape, on.device(), on.stream());
      case ElementLoss::bce_with_logits:
        return bce_with_logits(a, b, weights<T>(), out, shape, on.device(), on.stream());
      case ElementLoss::margin_ranking:
        return margin_ranking(a, b, third.const_data_ptr<T>(), static_cast<T>(margin), out, shape,
                              on.device(), on.stream());
    }
  }

  template <class T>
  void backward(const at::Tensor& first, const at::Tensor& second, const at::Tensor& third,
                const BasicLossGradient<T>& gradient, const at::Tensor& result) const {
    const OnDevice on("loss backward", first, second, third, weight, positive_weight);
    const T *a = first.const_data_ptr<T>(), *b = second.const_data_ptr<T>();
    T* const out = result.mutable_data_ptr<T>();
    const LossExtents shape = extents(first);
    switch (kind) {
      case ElementLoss::mse:
        return mse_backward(a, b, gradient, out, shape, on.device(), on.stream());
      case ElementLoss::l1:
        return l1_backward(a, b, gradient, out, shape, on.device(), on.stream());
      case ElementLoss::bce_with_logits:
        return bce_with_logits_backward(a, b, weights<T>(), gradient, out, shape, on.device(), on.stream());
      case ElementLoss::margin_ranking:
        return margin_ranking_backward(a, b, third.const_data_ptr<T>(), static_cast<T>(margin), gradient, out,
                                       shape, on.device(), on.stream());
    }
  }

  /// The reduced loss; its scale is left in `scale`.
  at::Tensor reduced(const at::Tensor& loss, at::Tensor& scale) const {
    if (reduction == at::Reduction::None) return loss;
    const LossExtents shape = extents(loss);
    const at::Tensor rows = at::empty({shape.rows}, loss.options());
    const OnDevice on(name, loss);
    by_dtype(loss, [&](auto zero) {
      using T = decltype(zero);
      row_losses(loss.const_data_ptr<T>(), rows.mutable_data_ptr<T>(), shape, on.device(), on.stream());
    });
    const auto count = static_cast<double>(loss.numel());
    const ReducedLoss result = reduce_loss(name, rows, count_beside(rows, count), reduction);
    scale = result.scale;
    return result.value;
  }
};

class LockstepElementLossBackward final : public Node {
 public:
  std::string name() const override { return "LockstepElementLossBackward"; }
  void release_variables() override {
    first_.reset_data();
    second_.reset_data();
    third_ = at::Tensor();
  }

  void save(LossCall call, at::Tensor scale, const at::Tensor& first, const at::Tensor& second,
            at::Tensor third) {
    call_ = std::move(call);
    scale_ = std::move(scale);
    first_ = SavedVariable(first, false);
    second_ = SavedVariable(second, false);
    third_ = std::move(third);
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(2);
    refuse_create_graph(*this, "Write the loss from single operations for a double backward");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("loss backward");
    const at::Tensor first = first_.unpack().contiguous(), second = second_.unpack().contiguous();
    const LossGradients losses(gradients[0], call_.reduction, scale_, first.sizes());
    const at::Tensor result = at::empty(first.sizes(), first.options().requires_grad(false));
    by_dtype(first, [&](auto zero) {
      using T = decltype(zero);
      call_.backward(first, second, third_, BasicLossGradient<T>{losses.each<T>(), losses.all<T>()}, result);
    });
    variable_list results(2);
    if (task_should_compute_output(1)) results[1] = result.neg();
    if (task_should_compute_output(0)) results[0] = result;
    return results;
  }

 private:
  LossCall call_;
  SavedVariable first_, second_;
  at::Tensor third_, scale_;
};

void require_same_shape(const LossCall& call, const at::Tensor& first, const at::Tensor& second) {
  if (first.sizes() == second.sizes() && second.scalar_type() == first.scalar_type()) return;
  fail(ErrorCode::invalid_argument,
       {call.name, "target",
        fmt::format("{} of shape [{}]", c10::toString(first.scalar_type()), fmt::join(first.sizes(), ", ")),
        fmt::format("{} of shape [{}]", c10::toString(second.scalar_type()), fmt::join(second.sizes(), ", ")),
        "Bring both to one shape and dtype: a broadcast would be summed over the batch"});
}

at::Tensor element_loss(LossCall call, const at::Tensor& first, const at::Tensor& second,
                        const at::Tensor& third) {
  require_same_shape(call, first, second);
  if (third.defined()) require_same_shape(call, first, third);
  at::Tensor result, dense_third, scale;
  {
    const Computation computation;
    if (third.defined()) dense_third = third.contiguous();
    const at::Tensor a = first.contiguous(), b = second.contiguous();
    const at::Tensor loss = at::empty(a.sizes(), a.options().requires_grad(false));
    by_dtype(a, [&](auto zero) { call.forward<decltype(zero)>(a, b, dense_third, loss); });
    result = call.reduced(loss, scale);
  }
  if (!needs_node(first, second)) return result;
  const auto node = make_node<LockstepElementLossBackward>(first, second);
  node->save(std::move(call), std::move(scale), first, second, std::move(dense_third));
  torch::autograd::set_history(result, node);
  return result;
}

at::Tensor high_mse(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& target,
                    std::int64_t reduction) {
  require_supported("aten::mse_loss", keys, x);
  LOCKSTEP_COUNT_CALL("aten::mse_loss");
  return element_loss({ElementLoss::mse, "aten::mse_loss", reduction, 0, {}, {}}, x, target, {});
}

at::Tensor high_l1(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& target,
                   std::int64_t reduction) {
  require_supported("aten::l1_loss", keys, x);
  LOCKSTEP_COUNT_CALL("aten::l1_loss");
  return element_loss({ElementLoss::l1, "aten::l1_loss", reduction, 0, {}, {}}, x, target, {});
}

at::Tensor high_bce(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& target,
                    const std::optional<at::Tensor>& weight, const std::optional<at::Tensor>& positive,
                    std::int64_t reduction) {
  constexpr const char* kName = "aten::binary_cross_entropy_with_logits";
  require_supported(kName, keys, x);
  if (target.requires_grad())
    fail(ErrorCode::unsupported, {kName, "target", "no gradient", "a target that needs one", "Detach it"});
  LOCKSTEP_COUNT_CALL(kName);
  LossCall call{ElementLoss::bce_with_logits, kName, reduction, 0, {}, {}};
  const InsideKernel inside;
  if (weight.has_value() && weight->defined()) call.weight = weight->expand_as(x).contiguous();
  if (positive.has_value() && positive->defined())
    call.positive_weight =
        x.dim() == 0 ? positive->contiguous() : positive->expand(x.sizes().slice(1)).contiguous();
  return element_loss(std::move(call), x, target, {});
}

at::Tensor high_margin_ranking(c10::DispatchKeySet keys, const at::Tensor& first, const at::Tensor& second,
                               const at::Tensor& target, double margin, std::int64_t reduction) {
  require_supported("aten::margin_ranking_loss", keys, first);
  LOCKSTEP_COUNT_CALL("aten::margin_ranking_loss");
  return element_loss({ElementLoss::margin_ranking, "aten::margin_ranking_loss", reduction, margin, {}, {}},
                      first, second, target.to(first.scalar_type()));
}

}  // namespace

void register_element_losses(Registrar& registrar) {
  registrar.whole("mse_loss", TORCH_FN(high_mse));
  registrar.whole("l1_loss", TORCH_FN(high_l1));
  registrar.whole("binary_cross_entropy_with_logits", TORCH_FN(high_bce));
  registrar.whole("margin_ranking_loss", TORCH_FN(high_margin_ranking));
}

}  // namespace lockstep::invariant
