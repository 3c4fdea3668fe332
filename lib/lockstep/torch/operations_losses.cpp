// Cross-entropy and the negative log-likelihood: losses whose mean is over the global batch.

#include <ATen/ATen.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/cross_entropy/cross_entropy.h"
#include "lockstep/row_sum/row_sum.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/loss_reduction_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::invariant {
namespace {

/// Targets of rows, and the memory that they lie in.
struct Targets {
  Targets(const at::Tensor& scores, const at::Tensor& target, const std::optional<at::Tensor>& given_weight,
          std::int64_t ignored, double smoothing)
      : classes_of(target.contiguous()),
        weight(given_weight.value_or(at::Tensor())),
        classes(scores.size(1)),
        ignore_index(ignored),
        label_smoothing(smoothing) {
    if (!weight.defined()) return;
    require_elements("cross_entropy", "weight", weight, classes, "a class");
    weight = weight.contiguous();
  }

  /// For scores of T.
  template <class T>
  BasicClassTargets<T> of() const {
    return {classes_of.const_data_ptr<std::int64_t>(),
            classes_of.size(0),
            classes,
            data_or_null<T>(weight),
            ignore_index,
            static_cast<T>(label_smoothing)};
  }

  /// What a mean divides by.
  template <class T>
  double counted() const {
    const BasicClassTargets<T> targets = of<T>();
    if (targets.weight == nullptr) return static_cast<double>(counted_targets(targets));
    const at::Tensor weights = at::empty({targets.rows}, weight.options());
    target_weights(targets, weights.mutable_data_ptr<T>());
    double total = 0;
    row_sum_fold(weights.const_data_ptr<T>(), 1, 1, {0, targets.rows, true}, &total, nullptr);
    return total;
  }

  at::Tensor classes_of, weight;
  std::int64_t classes, ignore_index;
  double label_smoothing;
};

/// The gradient with respect to each row's loss, from that with respect to what a reduction made of them.
template <class T>
BasicRowGradients<T> row_gradients(const at::Tensor& dy, std::int64_t reduction, double scale) {
  BasicRowGradients<T> rows;
  if (reduction == at::Reduction::None)
    rows.rows = dy.const_data_ptr<T>();
  else
    rows.all = dy.item<T>() * static_cast<T>(scale);
  return rows;
}

bool has_class_targets(const at::Tensor& scores, const at::Tensor& target) {
  return scores.dim() == 2 && target.dim() == 1 && target.scalar_type() == at::kLong &&
         target.size(0) == scores.size(0);
}

class LockstepCrossEntropyBackward final : public Node {
 public:
  std::string name() const override { return "LockstepCrossEntropyBackward"; }
  void release_variables() override {
    logits_.reset_data();
    row_max_ = row_log_sum_ = at::Tensor();
  }

  LockstepCrossEntropyBackward(Targets targets, std::int64_t reduction)
      : targets_(std::move(targets)), reduction_(reduction) {}

  /// Computes the loss; what backward needs stays here.
  at::Tensor forward(const at::Tensor& logits) {
    const at::Tensor dense = logits.contiguous();
    const auto options = dense.options().requires_grad(false);
    const at::Tensor rows = at::empty({dense.size(0)}, options);
    row_max_ = at::empty_like(rows);
    row_log_sum_ = at::empty_like(rows);
    return by_dtype(dense, [&](auto zero) {
      using T = decltype(zero);
      cross_entropy(dense.const_data_ptr<T>(), targets_.of<T>(), rows.mutable_data_ptr<T>(),
                    row_max_.mutable_data_ptr<T>(), row_log_sum_.mutable_data_ptr<T>());
      if (reduction_ == at::Reduction::None) return rows;
      const ReducedLoss loss =
          reduce_loss("aten::cross_entropy_loss", rows, targets_.counted<T>(), reduction_);
      scale_ = loss.scale;
      return loss.value;
    });
  }

  void save(const at::Tensor& logits) { logits_ = SavedVariable(logits, false); }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(1);
    refuse_create_graph(*this, "Write the loss as log_softmax and nll_loss for a double backward");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("cross_entropy backward");
    const at::Tensor logits = logits_.unpack().contiguous();
    const at::Tensor result = at::empty(logits.sizes(), logits.options().requires_grad(false));
    const at::Tensor dy = gradients[0].contiguous();
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      cross_entropy_backward(logits.const_data_ptr<T>(), targets_.of<T>(), row_max_.const_data_ptr<T>(),
                             row_log_sum_.const_data_ptr<T>(), row_gradients<T>(dy, reduction_, scale_),
                             result.mutable_data_ptr<T>());
    });
    return {result};
  }

 private:
  Targets targets_;
  std::int64_t reduction_;
  SavedVariable logits_;
  at::Tensor row_max_, row_log_sum_;
  double scale_ = 1;
};

at::Tensor high_cross_entropy(c10::DispatchKeySet keys, const at::Tensor& logits, const at::Tensor& target,
                              const std::optional<at::Tensor>& weight, std::int64_t reduction,
                              c10::SymInt ignore_index, double label_smoothing) {
  require_supported("aten::cross_entropy_loss", keys, logits);
  if (!has_class_targets(logits, target))
    return at::_ops::cross_entropy_loss::redispatch(past_high(keys), logits, target, weight, reduction,
                                                    std::move(ignore_index), label_smoothing);
  LOCKSTEP_COUNT_CALL("aten::cross_entropy_loss");
  const bool needs_gradient = needs_node(logits);
  const std::shared_ptr<LockstepCrossEntropyBackward> node(
      new LockstepCrossEntropyBackward(
          Targets(logits, target, weight, ignore_index.expect_int(), label_smoothing), reduction),
      torch::autograd::deleteNode);
  at::Tensor loss;
  {
    const Computation computation;
    loss = node->forward(logits);
  }
  if (!needs_gradient) return loss;
  node->set_next_edges(torch::autograd::collect_next_edges(logits));
  node->save(logits);
  torch::autograd::set_history(loss, node);
  return loss;
}

// PyTorch's formula hands the total weight that forward returned to backward, so a mean over the global batch
// needs no node of ours: the total is the global one.
std::tuple<at::Tensor, at::Tensor> low_nll_forward(c10::DispatchKeySet keys, const at::Tensor& scores,
                                                   const at::Tensor& target,
                                                   const std::optional<at::Tensor>& weight,
                                                   std::int64_t reduction, c10::SymInt ignore_index) {
  require_supported("aten::nll_loss_forward", keys, scores);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::nll_loss_forward");
  if (!has_class_targets(scores, target))
    fail(ErrorCode::invalid_argument,
         {"aten::nll_loss_forward", "operands", "scores [rows, classes] and int64 targets [rows]",
          fmt::format("scores [{}], {} targets [{}]", fmt::join(scores.sizes(), ", "),
                      c10::toString(target.scalar_type()), fmt::join(target.sizes(), ", ")),
          "Flatten other axes into rows"});
  take_over_thread_count();
  const at::Tensor dense = scores.contiguous();
  const Targets targets(dense, target, weight, ignore_index.expect_int(), 0);
  const at::Tensor rows = at::empty({dense.size(0)}, dense.options());
  return by_dtype(dense, [&](auto zero) -> std::tuple<at::Tensor, at::Tensor> {
    using T = decltype(zero);
    nll(dense.const_data_ptr<T>(), targets.of<T>(), rows.mutable_data_ptr<T>());
    if (reduction == at::Reduction::None) return {rows, at::scalar_tensor(0, dense.options())};
    const ReducedLoss loss = reduce_loss("aten::nll_loss_forward", rows, targets.counted<T>(), reduction);
    return {loss.value, at::scalar_tensor(loss.divisor, dense.options())};
  });
}

at::Tensor low_nll_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& scores,
                            const at::Tensor& target, const std::optional<at::Tensor>& weight,
                            std::int64_t reduction, c10::SymInt ignore_index,
                            const at::Tensor& total_weight) {
  require_supported("aten::nll_loss_backward", keys, scores);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::nll_loss_backward");
  take_over_thread_count();
  const Targets targets(scores, target, weight, ignore_index.expect_int(), 0);
  const at::Tensor result = at::empty(scores.sizes(), scores.options()), dy = gradient.contiguous();
  by_dtype(result, [&](auto zero) {
    using T = decltype(zero);
    const T scale = reduction == at::Reduction::Mean ? 1 / total_weight.item<T>() : 1;
    nll_backward(targets.of<T>(), row_gradients<T>(dy, reduction, scale), result.mutable_data_ptr<T>());
  });
  return result;
}

}  // namespace

void register_losses(Registrar& registrar) {
  registrar.whole("cross_entropy_loss", TORCH_FN(high_cross_entropy));
  registrar.compute("nll_loss_forward", TORCH_FN(low_nll_forward));
  registrar.compute("nll_loss_backward", TORCH_FN(low_nll_backward));
}

}  // namespace lockstep::invariant
