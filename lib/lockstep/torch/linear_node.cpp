#include <ATen/ATen.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/matmul/matmul.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/linear_node_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/operands_internal.h"
#include "lockstep/torch/row_sum_internal.h"
#include "lockstep/torch/sample_order_internal.h"
#include "lockstep/torch/tensor_matrix_internal.h"

namespace lockstep::invariant {
namespace {

at::Tensor forward(const char* operation, const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& bias) {
  const at::Tensor rows = as_rows(x);                                           // [rows, in]
  const at::Tensor y = at::empty({rows.size(0), weight.size(0)}, x.options());  // [rows, out]
  const at::Tensor offset = bias.defined() ? bias.contiguous() : bias;
  OnDevice on(operation, rows, weight, offset);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    multiply(on, const_matrix<T>(rows), const_transposed<T>(weight), matrix<T>(y),
             BasicMatmulEpilogue<T>{1, 0, data_or_null<T>(offset)});
  });
  if (x.dim() == 2) return y;
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return y.view(sizes);
}

/// An operand whose gradient is a fold: the parameter that autograd knows, and which part of it was used.
struct Operand {
  explicit Operand(const at::Tensor& used) : parameter(resolve_parameter(used)) {
    if (parameter.base.defined()) return;
    computed = used;
    if (used.defined()) parameter.window = {used.sizes().vec(), used.strides().vec(), 0};
  }
  const at::Tensor& variable() const { return parameter.base.defined() ? parameter.base : computed; }

  Parameter parameter;
  at::Tensor computed;
};

class LockstepLinearBackward final : public Node {
 public:
  std::string name() const override { return "LockstepLinearBackward"; }
  void release_variables() override {
    x_.reset_data();
    weight_.reset_data();
  }

  void save(const at::Tensor& x, const Operand& weight, const Operand& bias) {
    x_ = SavedVariable(x, false);
    weight_ = SavedVariable(weight.variable(), false);
    window_ = weight.parameter.window;
    bias_window_ = bias.parameter.window;
    if (bias.variable().defined()) bias_ = SavedVariable(bias.variable(), false);
    has_bias_ = bias.variable().defined();
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    const at::Tensor x = x_.unpack(), weight = weight_.unpack();
    return at::GradMode::is_enabled() ? differentiable(gradients[0], x, weight)
                                      : plain(gradients[0], x, weight);
  }

 private:
  variable_list plain(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight) {
    const Computation computation;
    LOCKSTEP_COUNT_CALL("linear backward");
    return by_dtype(gradient, [&](auto zero) { return computed<decltype(zero)>(gradient, x, weight); });
  }

  template <class T>
  variable_list computed(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight) {
    const at::Tensor dy = as_rows(gradient), rows = as_rows(x);  // [rows, out], [rows, in]
    OnDevice on("linear backward", dy, rows, weight);
    variable_list results(3);
    if (task_should_compute_output(0)) {
      const at::Tensor dx = at::empty({rows.size(0), rows.size(1)}, x.options().requires_grad(false));
      multiply(on, const_matrix<T>(dy), const_matrix<T>(part_of(weight, window_)), matrix<T>(dx));
      results[0] = dx.view(x.sizes());
    }
    if (task_should_compute_output(1)) {
      FoldTarget target(*this, 1, PlaceKind::matmul, window_, rows.size(0), micro_batch_, weight.options());
      fold_product(on, const_matrix<T>(dy), const_matrix<T>(rows), target.span(), matrix<T>(target.total()),
                   target.open<T>());
      results[1] = target.returned(weight);
    }
    if (has_bias_ && task_should_compute_output(2)) results[2] = bias_gradient<T>(on, dy);
    return results;
  }

  template <class T>
  at::Tensor bias_gradient(OnDevice& on, const at::Tensor& dy) {
    FoldTarget target(*this, 2, PlaceKind::bias, bias_window_, dy.size(0), micro_batch_,
                      dy.options().dtype(at::kDouble));
    const at::Tensor dense = dy.stride(1) == 1 ? dy : dy.contiguous();
    fold_rows(on, dense.const_data_ptr<T>(), dense.stride(0), dense.size(1), target.span(),
              target.total_data<double>(), target.open<double>());
    return target.returned(bias_.unpack());
  }

  // For create_graph: made of operations that have derivatives, in the same order of sums.
  variable_list differentiable(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight) {
    const at::Tensor dy = as_rows(gradient), rows = as_rows(x);
    variable_list results(3);
    if (task_should_compute_output(0)) results[0] = at::matmul(gradient, part_of(weight, window_));
    if (task_should_compute_output(1)) results[1] = of_whole(weight, window_, at::mm(dy.t(), rows));
    if (has_bias_ && task_should_compute_output(2))
      results[2] = of_whole(bias_.unpack(), bias_window_, dy.sum(0));
    return results;
  }

  /// The gradient of a parameter, from that of the part that was used.
  static at::Tensor of_whole(const at::Tensor& parameter, const Window& window, const at::Tensor& gradient) {
    if (parameter.sizes() != at::IntArrayRef(window.sizes) || window.offset != 0)
      return at::as_strided_scatter(at::zeros_like(parameter), gradient, window.sizes, window.strides,
                                    window.offset);
    return parameter.strides() == at::IntArrayRef(window.strides) ? gradient : gradient.t();
  }

  SavedVariable x_, weight_, bias_;
  Window window_, bias_window_;
  bool has_bias_ = false;
  MicroBatchPtr micro_batch_;
};

}  // namespace

at::Tensor linear(const char* operation, const at::Tensor& x, const at::Tensor& weight,
                  const std::optional<at::Tensor>& given_bias) {
  const at::Tensor bias = given_bias.value_or(at::Tensor());
  require_elements(operation, "bias", bias, weight.size(0), "an output");
  const bool needs_gradient = needs_node(x, weight, bias);
  if (!needs_gradient) {
    const Computation computation;
    return forward(operation, x, weight, bias);
  }
  if (const std::int64_t axis = sample_axis_of(operation, x); axis != 0)
    return in_sample_order(x, axis,
                           [&](const at::Tensor& t) { return linear(operation, t, weight, given_bias); });
  require_sample_major(operation, open_micro_batch(), x);
  const Operand weight_operand(weight), bias_operand(bias);
  // Held until the edges hold them.
  const auto weight_node = prepare_parameter(weight_operand.parameter.base);
  const auto bias_node = prepare_parameter(bias_operand.parameter.base);
  const auto node = make_node<LockstepLinearBackward>(x, weight_operand.variable(), bias_operand.variable());
  node->save(x, weight_operand, bias_operand);
  at::Tensor y;
  {
    const Computation computation;
    y = forward(operation, x, weight, bias);
  }
  torch::autograd::set_history(y, node);
  return y;
}

}  // namespace lockstep::invariant
