// Activation functions and elementary functions: PyTorch's derivatives, our elements. LibTorch's own vector
// loops and their scalar tails differ, so that an element's bits depend on where it lies.

#include <ATen/ATen.h>
#include <type_traits>
#include <utility>

#include "lockstep/activation/activation.h"
#include "lockstep/base/error.h"
#include "lockstep/math/math.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/square_root_internal.h"

namespace lockstep::invariant {
namespace {

constexpr std::int64_t kGrain = 16384;

/// write(x, y, count, device, stream) into a new tensor.
template <class Write>
at::Tensor written(const char* name, const at::Tensor& self, Write&& write) {
  const InsideKernel inside;
  take_over_thread_count();
  const at::Tensor x = self.contiguous(), y = at::empty(x.sizes(), x.options());
  const OnDevice on(name, x, y);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    write(x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), x.numel(), on.device(), on.stream());
  });
  return y;
}

template <class Write>
at::Tensor unary(const char* name, c10::DispatchKeySet keys, const at::Tensor& self, Write&& write) {
  require_supported(name, keys, self);
  return written(name, self, std::forward<Write>(write));
}

/// write(dy, saved, dx, count, device, stream) into a new tensor.
template <class Write>
at::Tensor gradient_of(const char* name, c10::DispatchKeySet keys, const at::Tensor& gradient,
                       const at::Tensor& given, Write&& write) {
  require_supported(name, keys, gradient);
  const InsideKernel inside;
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), saved = given.contiguous(),
                   dx = at::empty(dy.sizes(), dy.options());
  const OnDevice on(name, dy, saved);
  by_dtype(dy, [&](auto zero) {
    using T = decltype(zero);
    write(dy.const_data_ptr<T>(), saved.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), dy.numel(),
          on.device(), on.stream());
  });
  return dx;
}

template <Name name, auto function>
at::Tensor low_unary(c10::DispatchKeySet keys, const at::Tensor& self) {
  LOCKSTEP_COUNT_CALL(name.text);
  return unary(name.text, keys, self, function);
}
template <Name name, auto function>
at::Tensor& low_unary_(c10::DispatchKeySet keys, at::Tensor& self) {
  return self.copy_(low_unary<name, function>(keys, self));
}
template <Name name, auto function>
at::Tensor low_unary_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& saved) {
  LOCKSTEP_COUNT_CALL(name.text);
  return gradient_of(name.text, keys, gradient, saved, function);
}

/// A function of the math room.
template <auto function>
at::Tensor elements_of(const char* name, const at::Tensor& self) {
  return written(name, self, []<class T>(const T* x, T* y, std::int64_t n, Device device, void* stream) {
    if constexpr (std::is_same_v<T, float>)
      if (device == Device::cuda) return function(x, y, n, device, stream);
    parallel::for_each_range(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
      function(x + begin, y + begin, end - begin);
    });
  });
}

template <Name name, auto function>
at::Tensor low_elementary(c10::DispatchKeySet keys, const at::Tensor& self) {
  LOCKSTEP_COUNT_CALL(name.text);
  require_supported(name.text, keys, self);
  return elements_of<function>(name.text, self);
}
template <Name name, auto function>
at::Tensor& low_elementary_(c10::DispatchKeySet keys, at::Tensor& self) {
  return self.copy_(low_elementary<name, function>(keys, self));
}

GeluForm gelu_form(c10::string_view approximate) {
  if (approximate == "none") return GeluForm::erf;
  if (approximate == "tanh") return GeluForm::tanh;
  fail(ErrorCode::invalid_argument,
       {"aten::gelu", "approximate", "none or tanh", std::string(approximate), {}});
}

at::Tensor low_gelu(c10::DispatchKeySet keys, const at::Tensor& self, c10::string_view approximate) {
  LOCKSTEP_COUNT_CALL("aten::gelu");
  const GeluForm form = gelu_form(approximate);
  return unary("aten::gelu", keys, self,
               [form](const auto* x, auto* y, std::int64_t n, Device device, void* stream) {
                 gelu(x, y, n, form, device, stream);
               });
}

at::Tensor low_gelu_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& self,
                             c10::string_view approximate) {
  LOCKSTEP_COUNT_CALL("aten::gelu_backward");
  const GeluForm form = gelu_form(approximate);
  return gradient_of("aten::gelu_backward", keys, gradient, self,
                     [form](const auto* dy, const auto* x, auto* dx, std::int64_t n, Device device,
                            void* stream) { gelu_backward(dy, x, dx, n, form, device, stream); });
}

template <class T>
BasicSoftplusOptions<T> softplus_options(const at::Scalar& beta, const at::Scalar& threshold) {
  return {beta.to<T>(), threshold.to<T>()};
}

at::Tensor low_softplus(c10::DispatchKeySet keys, const at::Tensor& self, const at::Scalar& beta,
                        const at::Scalar& threshold) {
  LOCKSTEP_COUNT_CALL("aten::softplus");
  return unary("aten::softplus", keys, self,
               [&]<class T>(const T* x, T* y, std::int64_t n, Device device, void* stream) {
                 softplus(x, y, n, softplus_options<T>(beta, threshold), device, stream);
               });
}

at::Tensor low_softplus_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& self,
                                 const at::Scalar& beta, const at::Scalar& threshold) {
  LOCKSTEP_COUNT_CALL("aten::softplus_backward");
  return gradient_of(
      "aten::softplus_backward", keys, gradient, self,
      [&]<class T>(const T* dy, const T* x, T* dx, std::int64_t n, Device device, void* stream) {
        softplus_backward(dy, x, dx, n, softplus_options<T>(beta, threshold), device, stream);
      });
}

constexpr auto kSqrt = [](auto... a) { math::sqrt(a...); };

at::Tensor& low_sqrt_out(c10::DispatchKeySet keys, const at::Tensor& self, at::Tensor& out) {
  return write_into(out, low_elementary<"aten::sqrt", kSqrt>(keys, self));
}

// Whole powers that are one or two products, a root and a quotient stay IEEE operations; the rest is ours.
at::Tensor low_pow(c10::DispatchKeySet keys, const at::Tensor& self, const at::Scalar& exponent) {
  LOCKSTEP_COUNT_CALL("aten::pow.Tensor_Scalar");
  require_supported("aten::pow", keys, self);
  const InsideKernel inside;
  if (exponent.equal(2)) return self.mul(self);
  if (exponent.equal(3)) return self.mul(self).mul(self);
  if (exponent.equal(1)) return self.clone();
  if (exponent.equal(0.5)) return square_root(self);
  if (exponent.equal(-1)) return self.reciprocal();
  const at::Tensor powers = at::full_like(self, exponent, self.options(), at::MemoryFormat::Contiguous);
  return unary("aten::pow", keys, self,
               [&]<class T>(const T* x, T* y, std::int64_t n, [[maybe_unused]] Device device,
                            [[maybe_unused]] void* stream) {
                 if constexpr (std::is_same_v<T, float>)
                   math::pow(x, powers.const_data_ptr<T>(), y, n, device, stream);
                 else
                   math::pow(x, powers.const_data_ptr<T>(), y, n);
               });
}

template <Name name, Name in_place_name, auto function, auto backward>
void register_activation(Registrar& registrar, const char* own, const char* in_place, const char* gradient) {
  registrar.compute(own, TORCH_FN((low_unary<name, function>)));
  registrar.compute(in_place, TORCH_FN((low_unary_<in_place_name, function>)));
  registrar.compute(gradient, TORCH_FN((low_unary_backward<name, backward>)));
}

template <Name name, auto function>
void register_elementary(Registrar& registrar, const char* own, const char* in_place) {
  registrar.compute(own, TORCH_FN((low_elementary<name, function>)));
  registrar.compute(in_place, TORCH_FN((low_elementary_<name, function>)));
}

}  // namespace

at::Tensor square_root(const at::Tensor& x) { return elements_of<kSqrt>("aten::sqrt", x); }

// The rooms' overloads go in as one object each.
void register_activations(Registrar& registrar) {
  register_activation<"aten::sigmoid", "aten::sigmoid_", [](auto... a) { sigmoid(a...); },
                      [](auto... a) { sigmoid_backward(a...); }>(registrar, "sigmoid", "sigmoid_",
                                                                 "sigmoid_backward");
  register_activation<"aten::tanh", "aten::tanh_", [](auto... a) { tanh(a...); },
                      [](auto... a) { tanh_backward(a...); }>(registrar, "tanh", "tanh_", "tanh_backward");
  register_activation<"aten::silu", "aten::silu_", [](auto... a) { silu(a...); },
                      [](auto... a) { silu_backward(a...); }>(registrar, "silu", "silu_", "silu_backward");
  registrar.compute("gelu", TORCH_FN(low_gelu));
  registrar.compute("gelu_backward", TORCH_FN(low_gelu_backward));
  registrar.compute("softplus", TORCH_FN(low_softplus));
  registrar.compute("softplus_backward", TORCH_FN(low_softplus_backward));
  register_elementary<"aten::exp", [](auto... a) { math::exp(a...); }>(registrar, "exp", "exp_");
  register_elementary<"aten::exp2", [](auto... a) { math::exp2(a...); }>(registrar, "exp2", "exp2_");
  register_elementary<"aten::expm1", [](auto... a) { math::expm1(a...); }>(registrar, "expm1", "expm1_");
  register_elementary<"aten::log", [](auto... a) { math::log(a...); }>(registrar, "log", "log_");
  register_elementary<"aten::log2", [](auto... a) { math::log2(a...); }>(registrar, "log2", "log2_");
  register_elementary<"aten::log1p", [](auto... a) { math::log1p(a...); }>(registrar, "log1p", "log1p_");
  register_elementary<"aten::erf", [](auto... a) { math::erf(a...); }>(registrar, "erf", "erf_");
  register_elementary<"aten::sqrt", kSqrt>(registrar, "sqrt", "sqrt_");
  registrar.compute("sqrt.out", TORCH_FN(low_sqrt_out));
  register_elementary<"aten::rsqrt", [](auto... a) { math::rsqrt(a...); }>(registrar, "rsqrt", "rsqrt_");
  register_elementary<"aten::sin", [](auto... a) { math::sin(a...); }>(registrar, "sin", "sin_");
  register_elementary<"aten::cos", [](auto... a) { math::cos(a...); }>(registrar, "cos", "cos_");
  registrar.compute("pow.Tensor_Scalar", TORCH_FN(low_pow));
}

}  // namespace lockstep::invariant
