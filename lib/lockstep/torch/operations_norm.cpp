// LayerNorm and RMSNorm: a node of ours, since the gradients of their weights are folds over rows.

#include <ATen/ATen.h>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/norm/norm.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"
#include "lockstep/torch/sample_order_internal.h"

namespace lockstep::invariant {
namespace {

/// What the operation saw, dense; `statistics` are written by the forward.
struct NormCall {
  const char* name = "";
  at::Tensor x, gamma, beta, mean, rstd;
  std::int64_t rows = 0, features = 0;
  double eps = 0;
  bool centred = true;  ///< LayerNorm; else RMSNorm

  at::Tensor forward() {
    const at::Tensor y = at::empty(x.sizes(), x.options());
    rstd = at::empty({rows}, x.options());
    if (centred) mean = at::empty({rows}, x.options());
    const OnDevice on(name, x, gamma, beta);
    by_dtype(x, [&](auto zero) { write<decltype(zero)>(on, y); });
    return y;
  }

  template <class T>
  void write(const OnDevice& on, const at::Tensor& y) {
    if (centred)
      layer_norm(BasicLayerNorm<T>{x.const_data_ptr<T>(), data_or_null<T>(gamma), data_or_null<T>(beta),
                                   y.mutable_data_ptr<T>(), mean.mutable_data_ptr<T>(),
                                   rstd.mutable_data_ptr<T>(), rows, features, eps},
                 on.device(), on.stream());
    else
      rms_norm(BasicRmsNorm<T>{x.const_data_ptr<T>(), data_or_null<T>(gamma), y.mutable_data_ptr<T>(),
                               rstd.mutable_data_ptr<T>(), rows, features, eps},
               on.device(), on.stream());
  }
};

class LockstepNormBackward final : public Node {
 public:
  std::string name() const override { return "LockstepNormBackward"; }
  void release_variables() override {
    x_.reset_data();
    gamma_.reset_data();
    call_.mean = call_.rstd = at::Tensor();
  }

  void save(NormCall call, const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta) {
    x_ = SavedVariable(x, false);
    has_gamma_ = gamma.defined();
    has_beta_ = beta.defined();
    if (has_gamma_) gamma_ = SavedVariable(gamma, false);
    if (has_beta_) beta_ = SavedVariable(beta, false);
    call_ = std::move(call);
    call_.x = call_.gamma = call_.beta = at::Tensor();
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    refuse_create_graph(*this, "Leave the mode for a double backward through a norm");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("norm backward");
    const at::Tensor dy = gradients[0].contiguous(), x = x_.unpack().contiguous();
    const at::Tensor gamma = has_gamma_ ? gamma_.unpack() : at::Tensor();
    const at::Tensor scale = has_gamma_ ? gamma.contiguous() : gamma;
    variable_list results(3);
    if (task_should_compute_output(0)) results[0] = at::empty(x.sizes(), x.options().requires_grad(false));
    std::optional<FoldTarget> dgamma, dbeta;
    const at::Tensor beta = has_beta_ ? beta_.unpack() : at::Tensor();
    if (has_gamma_ && task_should_compute_output(1)) dgamma.emplace(target(1, PlaceKind::scale, gamma));
    if (has_beta_ && task_should_compute_output(2)) dbeta.emplace(target(2, PlaceKind::bias, beta));
    OnDevice on("norm backward", dy, x, scale);
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      write(on, dy.const_data_ptr<T>(), x.const_data_ptr<T>(), data_or_null<T>(scale),
            results[0].defined() ? results[0].mutable_data_ptr<T>() : nullptr, dgamma, dbeta);
    });
    if (dgamma) results[1] = dgamma->returned(gamma);
    if (dbeta) results[2] = dbeta->returned(beta);
    return results;
  }

 private:
  FoldTarget target(std::size_t input, PlaceKind kind, const at::Tensor& parameter) {
    return {*this, input, kind, window_of(parameter), call_.rows, micro_batch_, parameter.options()};
  }

  template <class T>
  void write(OnDevice& on, const T* dy, const T* x, const T* scale, T* dx, std::optional<FoldTarget>& dgamma,
             std::optional<FoldTarget>& dbeta) {
    const order::FoldSpan span = dgamma  ? dgamma->span()
                                 : dbeta ? dbeta->span()
                                         : order::FoldSpan{0, call_.rows, true};
    const T* const rstd = call_.rstd.const_data_ptr<T>();
    auto* const scratch = on.scratch<std::byte>(norm_backward_scratch_bytes(call_.features, span));
    if (call_.centred)
      layer_norm_backward(
          BasicLayerNormBackward<T>{dy, x, call_.mean.const_data_ptr<T>(), rstd, scale, dx,
                                    memory_of<BasicNormFold, T>(dgamma), memory_of<BasicNormFold, T>(dbeta),
                                    span, call_.features, scratch},
          on.device(), on.stream());
    else
      rms_norm_backward(BasicRmsNormBackward<T>{dy, x, rstd, scale, dx, memory_of<BasicNormFold, T>(dgamma),
                                                span, call_.features, scratch},
                        on.device(), on.stream());
  }

  SavedVariable x_, gamma_, beta_;
  NormCall call_;
  bool has_gamma_ = false, has_beta_ = false;
  MicroBatchPtr micro_batch_;
};

void require_shapes(const char* name, const at::Tensor& x, at::IntArrayRef shape, const at::Tensor& gamma,
                    const at::Tensor& beta) {
  const auto refuse = [&](const char* what, const std::string& expected, at::IntArrayRef got) {
    fail(ErrorCode::invalid_argument, {name, what, expected, shape_text(got), {}});
  };
  const std::string wanted = shape_text(shape);
  if (shape.empty()) refuse("normalized_shape", "one axis or more", shape);
  const bool fits =
      x.sizes().size() >= shape.size() && x.sizes().slice(x.sizes().size() - shape.size()) == shape;
  if (!fits) refuse("input", fmt::format("a shape that ends with [{}]", fmt::join(shape, ", ")), x.sizes());
  if (gamma.defined() && gamma.sizes() != shape) refuse("weight", wanted, gamma.sizes());
  if (beta.defined() && beta.sizes() != shape) refuse("bias", wanted, beta.sizes());
}

at::Tensor normalise(const char* name, const at::Tensor& x, at::IntArrayRef shape, const at::Tensor& gamma,
                     const at::Tensor& beta, double eps, bool centred) {
  if (const std::int64_t axis = sample_axis_of(name, x); axis != 0)
    return in_sample_order(
        x, axis, [&](const at::Tensor& t) { return normalise(name, t, shape, gamma, beta, eps, centred); });
  require_shapes(name, x, shape, gamma, beta);
  NormCall call;
  call.name = name;
  call.features = c10::multiply_integers(shape);
  call.rows = call.features == 0 ? 0 : x.numel() / call.features;
  call.eps = eps;
  call.centred = centred;
  at::Tensor y;
  {
    const Computation computation;
    call.x = x.contiguous();
    if (gamma.defined()) call.gamma = gamma.contiguous();
    if (beta.defined()) call.beta = beta.contiguous();
    y = call.forward();
  }
  if (!needs_node(x, gamma, beta)) return y;
  require_sample_major(name, open_micro_batch(), x);
  // Held until the edges hold them.
  const auto gamma_node = prepare_parameter(gamma);
  const auto beta_node = prepare_parameter(beta);
  const auto node = make_node<LockstepNormBackward>(x, gamma, beta);
  node->save(std::move(call), x, gamma, beta);
  torch::autograd::set_history(y, node);
  return y;
}

at::Tensor high_layer_norm(c10::DispatchKeySet keys, const at::Tensor& x, c10::SymIntArrayRef shape,
                           const std::optional<at::Tensor>& gamma, const std::optional<at::Tensor>& beta,
                           double eps, bool) {
  require_supported("aten::layer_norm", keys, x);
  LOCKSTEP_COUNT_CALL("aten::layer_norm");
  return normalise("aten::layer_norm", x, C10_AS_INTARRAYREF_SLOW(shape), gamma.value_or(at::Tensor()),
                   beta.value_or(at::Tensor()), eps, true);
}

at::Tensor high_rms_norm(c10::DispatchKeySet keys, const at::Tensor& x, c10::SymIntArrayRef shape,
                         const std::optional<at::Tensor>& gamma, std::optional<double> eps) {
  require_supported("aten::rms_norm", keys, x);
  LOCKSTEP_COUNT_CALL("aten::rms_norm");
  const double least = by_dtype(x, [](auto zero) -> double {  // LibTorch's own default
    return std::numeric_limits<decltype(zero)>::epsilon();
  });
  return normalise("aten::rms_norm", x, C10_AS_INTARRAYREF_SLOW(shape), gamma.value_or(at::Tensor()),
                   at::Tensor(), eps.value_or(least), false);
}

}  // namespace

void register_norms(Registrar& registrar) {
  registrar.whole("layer_norm", TORCH_FN(high_layer_norm));
  registrar.whole("rms_norm", TORCH_FN(high_rms_norm));
}

}  // namespace lockstep::invariant
