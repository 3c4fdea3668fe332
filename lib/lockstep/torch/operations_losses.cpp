// Cross-entropy and the negative log-likelihood: losses whose mean is over the global batch.

#include <ATen/ATen.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/csrc/autograd/graph_task.h>

#include "lockstep/base/error.h"
#include "lockstep/cross_entropy/cross_entropy.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/loss_reduction_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"
#include "lockstep/torch/row_sum_internal.h"

namespace lockstep::invariant {
namespace {

constexpr const char* kName = "aten::cross_entropy_loss";

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
  at::Tensor counted(const char* operation) const {
    const BasicClassTargets<T> targets = of<T>();
    OnDevice on(operation, classes_of, weight);
    if (targets.weight != nullptr) return counted_weight(on, targets);
    if (on.is_cuda()) return classes_of.ne(ignore_index).sum().to(at::kDouble);
    return count_beside(classes_of, static_cast<double>(counted_targets(targets)));
  }

  at::Tensor classes_of, weight;
  std::int64_t classes, ignore_index;
  double label_smoothing;

 private:
  template <class T>
  at::Tensor counted_weight(OnDevice& on, const BasicClassTargets<T>& targets) const {
    const at::Tensor weights = at::empty({targets.rows}, weight.options());
    target_weights(targets, weights.mutable_data_ptr<T>(), on.device(), on.stream());
    const at::Tensor total = count_beside(weight, 0);
    fold_rows(on, weights.const_data_ptr<T>(), 1, 1, {0, targets.rows, true},
              total.mutable_data_ptr<double>(), nullptr);
    return total;
  }
};

template <class T>
BasicRowGradients<T> row_gradients(const LossGradients& losses) {
  return {losses.each<T>(), losses.all<T>()};
}

bool has_class_targets(const at::Tensor& scores, const at::Tensor& target) {
  return scores.dim() == 2 && target.dim() == 1 && target.scalar_type() == at::kLong &&
         target.size(0) == scores.size(0);
}

/// Whether nothing but `tensor` can see its memory, which LibTorch owns: then a gradient may take its place.
bool is_seen_by_nobody_else(const at::Tensor& tensor) {
  return tensor.use_count() == 1 && tensor.storage().use_count() == 1 && tensor.storage().resizable();
}

/// The logits are the largest tensors of a language model. Their gradient takes their memory where the graph
/// ends here and nobody else holds them, so that they and it are never there both.
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
    const OnDevice on(kName, dense, targets_.classes_of, targets_.weight);
    return by_dtype(dense, [&](auto zero) {
      using T = decltype(zero);
      cross_entropy(dense.const_data_ptr<T>(), targets_.of<T>(), rows.mutable_data_ptr<T>(),
                    row_max_.mutable_data_ptr<T>(), row_log_sum_.mutable_data_ptr<T>(), on.device(),
                    on.stream());
      if (reduction_ == at::Reduction::None) return rows;
      const ReducedLoss loss = reduce_loss(kName, rows, targets_.counted<T>(kName), reduction_);
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
    at::Tensor logits = logits_.unpack();
    if (!torch::autograd::get_current_graph_task_keep_graph()) logits_.reset_data();
    logits = logits.variable_data().contiguous();
    const at::Tensor result = is_seen_by_nobody_else(logits) ? logits : at::empty_like(logits);
    const LossGradients losses(gradients[0], reduction_, scale_, row_max_.sizes());
    const OnDevice on("cross_entropy backward", logits, gradients[0]);
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      cross_entropy_backward(logits.const_data_ptr<T>(), targets_.of<T>(), row_max_.const_data_ptr<T>(),
                             row_log_sum_.const_data_ptr<T>(), row_gradients<T>(losses),
                             result.mutable_data_ptr<T>(), on.device(), on.stream());
    });
    return {result};
  }

 private:
  Targets targets_;
  std::int64_t reduction_;
  SavedVariable logits_;
  at::Tensor row_max_, row_log_sum_, scale_;
};

at::Tensor high_cross_entropy(c10::DispatchKeySet keys, const at::Tensor& logits, const at::Tensor& target,
                              const std::optional<at::Tensor>& weight, std::int64_t reduction,
                              c10::SymInt ignore_index, double label_smoothing) {
  require_supported(kName, keys, logits);
  if (!has_class_targets(logits, target))
    return at::_ops::cross_entropy_loss::redispatch(past_high(keys), logits, target, weight, reduction,
                                                    std::move(ignore_index), label_smoothing);
  LOCKSTEP_COUNT_CALL(kName);
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
  constexpr const char* kForward = "aten::nll_loss_forward";
  require_supported(kForward, keys, scores);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kForward);
  if (!has_class_targets(scores, target))
    fail(ErrorCode::invalid_argument,
         {kForward, "operands", "scores [rows, classes] and int64 targets [rows]",
          fmt::format("scores [{}], {} targets [{}]", fmt::join(scores.sizes(), ", "),
                      c10::toString(target.scalar_type()), fmt::join(target.sizes(), ", ")),
          "Flatten other axes into rows"});
  take_over_thread_count();
  const at::Tensor dense = scores.contiguous();
  const Targets targets(dense, target, weight, ignore_index.expect_int(), 0);
  const at::Tensor rows = at::empty({dense.size(0)}, dense.options());
  const OnDevice on(kForward, dense, targets.classes_of, targets.weight);
  return by_dtype(dense, [&](auto zero) -> std::tuple<at::Tensor, at::Tensor> {
    using T = decltype(zero);
    nll(dense.const_data_ptr<T>(), targets.of<T>(), rows.mutable_data_ptr<T>(), on.device(), on.stream());
    if (reduction == at::Reduction::None) return {rows, at::scalar_tensor(0, dense.options())};
    const ReducedLoss loss = reduce_loss(kForward, rows, targets.counted<T>(kForward), reduction);
    return {loss.value, loss.divisor};
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
  const at::Tensor result = at::empty(scores.sizes(), scores.options());
  const bool is_mean = reduction == at::Reduction::Mean;
  const LossGradients losses(gradient, reduction,
                             is_mean ? total_weight.reciprocal() : at::ones_like(total_weight),
                             targets.classes_of.sizes());
  const OnDevice on("aten::nll_loss_backward", result, gradient, targets.classes_of, targets.weight);
  by_dtype(result, [&](auto zero) {
    using T = decltype(zero);
    nll_backward(targets.of<T>(), row_gradients<T>(losses), result.mutable_data_ptr<T>(), on.device(),
                 on.stream());
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
