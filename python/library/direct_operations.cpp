// The mode's operations under names of their own: the same kernels without switching anything on, also inside
// torch.compile, which sees each as one operation. Their derivatives are made of such operations again.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "lockstep/base/error.h"
#include "lockstep/norm/norm.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/on_device.h"

namespace {

using at::Tensor;
using lockstep::InvariantMode;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

/// An operation of ours by its name, through the dispatcher, so that tracers see it.
template <class Signature>
c10::TypedOperatorHandle<Signature> operation(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

Tensor call_matmul(const Tensor& left, const Tensor& right) {
  static const auto op = operation<Tensor(const Tensor&, const Tensor&)>("lockstep::matmul");
  return op.call(left, right);
}
Tensor call_linear(const Tensor& input, const Tensor& weight, const OptionalTensor& bias) {
  static const auto op =
      operation<Tensor(const Tensor&, const Tensor&, const OptionalTensor&)>("lockstep::linear");
  return op.call(input, weight, bias);
}
Tensor call_sum(const Tensor& input, at::IntArrayRef dim, bool keep) {
  static const auto op = operation<Tensor(const Tensor&, at::IntArrayRef, bool)>("lockstep::sum");
  return op.call(input, dim, keep);
}

void require(bool holds, const char* name, const char* what, const char* expected, const Tensor& got) {
  if (holds) return;
  lockstep::fail(lockstep::ErrorCode::invalid_argument,
                 {name, what, expected, fmt::format("shape [{}]", fmt::join(got.sizes(), ", ")), {}});
}

/// For derivatives that have none themselves.
void refuse_double_backward(const char* name) {
  if (at::GradMode::is_enabled())
    lockstep::fail(lockstep::ErrorCode::unsupported,
                   {name, "backward", "one backward", "create_graph", "It has no second derivative"});
}

// ---- the computation: LibTorch's operation inside the mode
// --------------------------------------------------

Tensor computed_matmul(const Tensor& left, const Tensor& right) {
  const InvariantMode mode;
  return at::matmul(left, right);
}
Tensor computed_linear(const Tensor& input, const Tensor& weight, const OptionalTensor& bias) {
  const InvariantMode mode;
  return at::linear(input, weight, bias);
}
Tensor computed_sum(const Tensor& input, at::IntArrayRef dim, bool keep) {
  const InvariantMode mode;
  return at::sum(input, dim, keep);
}
Tensor computed_softmax(const Tensor& input, std::int64_t dim) {
  const InvariantMode mode;
  return at::_softmax(input, dim, false);
}
Tensor computed_softmax_backward(const Tensor& gradient, const Tensor& output, std::int64_t dim) {
  const InvariantMode mode;
  return at::_softmax_backward_data(gradient, output, dim, output.scalar_type());
}
Tensor computed_log_softmax(const Tensor& input, std::int64_t dim) {
  const InvariantMode mode;
  return at::_log_softmax(input, dim, false);
}
Tensor computed_log_softmax_backward(const Tensor& gradient, const Tensor& output, std::int64_t dim) {
  const InvariantMode mode;
  return at::_log_softmax_backward_data(gradient, output, dim, output.scalar_type());
}
Tensor computed_gelu(const Tensor& input, c10::string_view approximate) {
  const InvariantMode mode;
  return at::gelu(input, approximate);
}
Tensor computed_gelu_backward(const Tensor& gradient, const Tensor& input, c10::string_view approximate) {
  const InvariantMode mode;
  return at::gelu_backward(gradient, input, approximate);
}
Tensor computed_layer_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, double eps) {
  const InvariantMode mode;
  return at::layer_norm(input, weight.sizes(), weight, bias, eps);
}
std::tuple<Tensor, Tensor, Tensor> computed_layer_norm_backward(const Tensor& gradient, const Tensor& input,
                                                                const Tensor& weight, const Tensor& bias,
                                                                double eps) {
  for (const Tensor* tensor : {&gradient, &input, &weight, &bias})
    if (tensor->scalar_type() != at::kFloat)
      lockstep::fail(
          lockstep::ErrorCode::unsupported,
          {"lockstep::layer_norm_backward", "dtype", "float32", c10::toString(tensor->scalar_type()), {}});
  const Tensor dy = gradient.contiguous(), x = input.contiguous(), gamma = weight.contiguous(),
               beta = bias.contiguous();
  const std::int64_t features = gamma.numel(), rows = features == 0 ? 0 : x.numel() / features;
  lockstep::parallel::set_thread_count(at::get_num_threads());
  lockstep::OnDevice on("lockstep::layer_norm_backward", dy, x, gamma, beta);
  // The statistics again: saving them would make them outputs that a program sees.
  const Tensor dx = at::empty_like(x), mean = at::empty({rows}, x.options()), rstd = at::empty_like(mean);
  lockstep::layer_norm({x.const_data_ptr<float>(), gamma.const_data_ptr<float>(),
                        beta.const_data_ptr<float>(), dx.mutable_data_ptr<float>(),
                        mean.mutable_data_ptr<float>(), rstd.mutable_data_ptr<float>(), rows, features, eps},
                       on.device(), on.stream());
  const Tensor dgamma = at::zeros_like(gamma), dbeta = at::zeros_like(beta);
  const lockstep::order::FoldSpan span{0, rows, true};
  lockstep::layer_norm_backward(
      {dy.const_data_ptr<float>(),
       x.const_data_ptr<float>(),
       mean.const_data_ptr<float>(),
       rstd.const_data_ptr<float>(),
       gamma.const_data_ptr<float>(),
       dx.mutable_data_ptr<float>(),
       {dgamma.mutable_data_ptr<float>(), nullptr},
       {dbeta.mutable_data_ptr<float>(), nullptr},
       span,
       features,
       on.scratch<std::byte>(lockstep::norm_backward_scratch_bytes(features, span))},
      on.device(), on.stream());
  return {dx, dgamma, dbeta};
}

// ---- shapes, for tensors without memory
// ---------------------------------------------------------------------

Tensor meta_matmul(const Tensor& left, const Tensor& right) { return at::matmul(left, right); }
Tensor meta_linear(const Tensor& input, const Tensor& weight, const OptionalTensor& bias) {
  return at::linear(input, weight, bias);
}
Tensor meta_sum(const Tensor& input, at::IntArrayRef dim, bool keep) { return at::sum(input, dim, keep); }
Tensor meta_axis(const Tensor& input, std::int64_t) {
  return at::empty_like(input, at::MemoryFormat::Contiguous);
}
Tensor meta_axis_backward(const Tensor& gradient, const Tensor&, std::int64_t) {
  return at::empty_like(gradient, at::MemoryFormat::Contiguous);
}
Tensor meta_gelu(const Tensor& input, c10::string_view) {
  return at::empty_like(input, at::MemoryFormat::Contiguous);
}
Tensor meta_gelu_backward(const Tensor& gradient, const Tensor&, c10::string_view) {
  return at::empty_like(gradient, at::MemoryFormat::Contiguous);
}
Tensor meta_layer_norm(const Tensor& input, const Tensor&, const Tensor&, double) {
  return at::empty_like(input, at::MemoryFormat::Contiguous);
}
std::tuple<Tensor, Tensor, Tensor> meta_layer_norm_backward(const Tensor&, const Tensor& input,
                                                            const Tensor& weight, const Tensor& bias,
                                                            double) {
  return {at::empty_like(input, at::MemoryFormat::Contiguous), at::empty_like(weight), at::empty_like(bias)};
}

// ---- derivatives
// --------------------------------------------------------------------------------------------

Tensor rows_of(const Tensor& t) { return t.reshape({-1, t.size(-1)}); }

class Matmul : public Function<Matmul> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& left, const Tensor& right) {
    context->save_for_backward({left, right});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return call_matmul(left, right);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &left = saved[0], &right = saved[1], &dy = gradients[0];
    if (!dy.defined()) return {Tensor(), Tensor()};
    Tensor dleft, dright;
    if (context->needs_input_grad(0)) dleft = call_matmul(dy, right.mT());
    if (context->needs_input_grad(1))
      dright = right.dim() == 2 ? call_matmul(rows_of(left).mT(), rows_of(dy)) : call_matmul(left.mT(), dy);
    return {dleft, dright};
  }
};

class Linear : public Function<Linear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& weight,
                        const OptionalTensor& bias) {
    context->save_for_backward({input, weight});
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    const at::AutoDispatchBelowADInplaceOrView guard;
    return call_linear(input, weight, bias);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &input = saved[0], &weight = saved[1], &dy = gradients[0];
    if (!dy.defined()) return {Tensor(), Tensor(), Tensor()};
    Tensor dx, dw, db;
    if (context->needs_input_grad(0)) dx = call_matmul(dy, weight);
    if (context->needs_input_grad(1)) dw = call_matmul(rows_of(dy).mT(), rows_of(input));
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2))
      db = call_sum(rows_of(dy), {0}, false);
    return {dx, dw, db};
  }
};

class Sum : public Function<Sum> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, at::IntArrayRef dim, bool keep) {
    context->saved_data["dim"] = dim.vec();
    context->saved_data["keep"] = keep;
    context->save_for_backward({input});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return call_sum(input, dim, keep);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!gradients[0].defined()) return {Tensor(), Tensor(), Tensor()};
    const Tensor input = context->get_saved_variables()[0];
    Tensor dy = gradients[0];
    if (!context->saved_data["keep"].toBool()) {
      std::vector<std::int64_t> dims = context->saved_data["dim"].toIntVector();
      for (std::int64_t& axis : dims) axis = c10::maybe_wrap_dim(axis, input.dim());
      std::sort(dims.begin(), dims.end());
      for (const std::int64_t axis : dims) dy = dy.unsqueeze(axis);
    }
    return {dy.expand_symint(input.sym_sizes()), Tensor(), Tensor()};
  }
};

using AxisOperation = Tensor(const Tensor&, std::int64_t);
using AxisBackward = Tensor(const Tensor&, const Tensor&, std::int64_t);

/// softmax and log_softmax: their derivatives take the output.
template <bool logarithm>
class Softmax : public Function<Softmax<logarithm>> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, std::int64_t dim) {
    static const auto op =
        operation<AxisOperation>(logarithm ? "lockstep::log_softmax" : "lockstep::softmax");
    context->saved_data["dim"] = dim;
    const at::AutoDispatchBelowADInplaceOrView guard;
    const Tensor output = op.call(input, dim);
    context->save_for_backward({output});
    return output;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    constexpr const char* kName = logarithm ? "lockstep::log_softmax_backward" : "lockstep::softmax_backward";
    static const auto op = operation<AxisBackward>(kName);
    refuse_double_backward(kName);
    if (!gradients[0].defined()) return {Tensor(), Tensor()};
    const Tensor output = context->get_saved_variables()[0];
    return {op.call(gradients[0], output, context->saved_data["dim"].toInt()), Tensor()};
  }
};

class Gelu : public Function<Gelu> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, c10::string_view approximate) {
    static const auto op = operation<Tensor(const Tensor&, c10::string_view)>("lockstep::gelu");
    context->saved_data["approximate"] = std::string(approximate);
    context->save_for_backward({input});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, approximate);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    static const auto op =
        operation<Tensor(const Tensor&, const Tensor&, c10::string_view)>("lockstep::gelu_backward");
    refuse_double_backward("lockstep::gelu_backward");
    if (!gradients[0].defined()) return {Tensor(), Tensor()};
    const std::string approximate = context->saved_data["approximate"].toStringRef();
    return {op.call(gradients[0], context->get_saved_variables()[0], approximate), Tensor()};
  }
};

class LayerNorm : public Function<LayerNorm> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& weight,
                        const Tensor& bias, double eps) {
    static const auto op =
        operation<Tensor(const Tensor&, const Tensor&, const Tensor&, double)>("lockstep::layer_norm");
    context->save_for_backward({input, weight, bias});
    context->saved_data["eps"] = eps;
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, weight, bias, eps);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    static const auto op = operation<std::tuple<Tensor, Tensor, Tensor>(
        const Tensor&, const Tensor&, const Tensor&, const Tensor&, double)>("lockstep::layer_norm_backward");
    refuse_double_backward("lockstep::layer_norm_backward");
    if (!gradients[0].defined()) return variable_list(4);
    const variable_list saved = context->get_saved_variables();
    auto [dx, dw, db] =
        op.call(gradients[0], saved[0], saved[1], saved[2], context->saved_data["eps"].toDouble());
    return {dx, dw, db, Tensor()};
  }
};

Tensor matmul(const Tensor& left, const Tensor& right) {
  require(left.dim() >= 2, "lockstep::matmul", "left", "[..., rows, k]", left);
  require(right.dim() == 2 || right.dim() == left.dim(), "lockstep::matmul", "right",
          "[k, columns], or one matrix for each of the left's", right);
  if (right.dim() > 2)
    for (std::int64_t axis = 0; axis < right.dim() - 2; ++axis)
      require(right.sym_size(axis) == left.sym_size(axis), "lockstep::matmul", "right",
              "one matrix for each of the left's", right);
  return Matmul::apply(left, right);
}
Tensor linear(const Tensor& input, const Tensor& weight, const OptionalTensor& bias) {
  require(weight.dim() == 2, "lockstep::linear", "weight", "[out, in]", weight);
  return Linear::apply(input, weight, bias);
}
Tensor sum(const Tensor& input, at::IntArrayRef dim, bool keep) { return Sum::apply(input, dim, keep); }
Tensor softmax(const Tensor& input, std::int64_t dim) { return Softmax<false>::apply(input, dim); }
Tensor log_softmax(const Tensor& input, std::int64_t dim) { return Softmax<true>::apply(input, dim); }
Tensor gelu(const Tensor& input, c10::string_view approximate) { return Gelu::apply(input, approximate); }
Tensor layer_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, double eps) {
  require(weight.dim() == 1 && bias.dim() == 1, "lockstep::layer_norm", "weight", "[features], as the bias",
          weight);
  return LayerNorm::apply(input, weight, bias, eps);
}

/// The mode tells devices apart itself.
void register_computed(torch::Library& library) {
  library.impl("matmul", &computed_matmul);
  library.impl("linear", &computed_linear);
  library.impl("sum", &computed_sum);
  library.impl("softmax", &computed_softmax);
  library.impl("softmax_backward", &computed_softmax_backward);
  library.impl("log_softmax", &computed_log_softmax);
  library.impl("log_softmax_backward", &computed_log_softmax_backward);
  library.impl("gelu", &computed_gelu);
  library.impl("gelu_backward", &computed_gelu_backward);
  library.impl("layer_norm", &computed_layer_norm);
  library.impl("layer_norm_backward", &computed_layer_norm_backward);
}

}  // namespace

TORCH_LIBRARY_IMPL(lockstep, CPU, library) { register_computed(library); }
TORCH_LIBRARY_IMPL(lockstep, CUDA, library) { register_computed(library); }

TORCH_LIBRARY_IMPL(lockstep, Meta, library) {
  library.impl("matmul", &meta_matmul);
  library.impl("linear", &meta_linear);
  library.impl("sum", &meta_sum);
  library.impl("softmax", &meta_axis);
  library.impl("softmax_backward", &meta_axis_backward);
  library.impl("log_softmax", &meta_axis);
  library.impl("log_softmax_backward", &meta_axis_backward);
  library.impl("gelu", &meta_gelu);
  library.impl("gelu_backward", &meta_gelu_backward);
  library.impl("layer_norm", &meta_layer_norm);
  library.impl("layer_norm_backward", &meta_layer_norm_backward);
}

TORCH_LIBRARY_IMPL(lockstep, Autograd, library) {
  library.impl("matmul", &matmul);
  library.impl("linear", &linear);
  library.impl("sum", &sum);
  library.impl("softmax", &softmax);
  library.impl("log_softmax", &log_softmax);
  library.impl("gelu", &gelu);
  library.impl("layer_norm", &layer_norm);
}
