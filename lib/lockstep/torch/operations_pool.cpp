// Pooling: PyTorch's derivatives, our windows. Nothing is summed over samples.

#include <ATen/ATen.h>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/pool/pool.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::invariant {
namespace {

/// [planes …, H, W]: what is before the last two axes is planes.
void require_planes(const char* name, const at::Tensor& x) {
  if (x.dim() < 3 || x.dim() > 4 || x.size(-1) == 0 || x.size(-2) == 0)
    fail(ErrorCode::invalid_argument,
         {name, "input", "[channels, h, w] or [samples, channels, h, w] with pixels", shape_text(x), {}});
}

std::int64_t planes_of(const at::Tensor& x) { return x.numel() / (x.size(-2) * x.size(-1)); }

std::vector<std::int64_t> sizes_with(const at::Tensor& x, std::int64_t h, std::int64_t w) {
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = h;
  sizes[sizes.size() - 1] = w;
  return sizes;
}

/// The arguments of a pooling, of which each may be given once for both axes; no stride is the kernel.
struct Axes {
  PoolAxis h, w;

  Axes(const char* name, const at::Tensor& x, at::IntArrayRef kernel, at::IntArrayRef stride,
       at::IntArrayRef pad, at::IntArrayRef dilation, bool ceil_mode) {
    const at::IntArrayRef steps = stride.empty() ? kernel : stride;
    require_strides(name, steps);
    h = {x.size(-2), kernel.front(), steps.front(), pad.front(), dilation.front(), ceil_mode};
    w = {x.size(-1), kernel.back(), steps.back(), pad.back(), dilation.back(), ceil_mode};
  }
};

at::Tensor empty_like_result(const at::Tensor& x, const Axes& axes, at::ScalarType type) {
  return at::empty(
      sizes_with(x, std::max<std::int64_t>(0, axes.h.out()), std::max<std::int64_t>(0, axes.w.out())),
      x.options().dtype(type));
}

at::Tensor empty_dense(const at::Tensor& x) { return at::empty(x.sizes(), x.options()); }

std::tuple<at::Tensor, at::Tensor> low_max_pool(c10::DispatchKeySet keys, const at::Tensor& self,
                                                at::IntArrayRef kernel, at::IntArrayRef stride,
                                                at::IntArrayRef pad, at::IntArrayRef dilation,
                                                bool ceil_mode) {
  constexpr const char* kName = "aten::max_pool2d_with_indices";
  require_supported(kName, keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  require_planes(kName, self);
  const at::Tensor x = self.contiguous();
  const Axes axes(kName, x, kernel, stride, pad, dilation, ceil_mode);
  const at::Tensor y = empty_like_result(x, axes, x.scalar_type()),
                   indices = empty_like_result(x, axes, at::kLong);
  const OnDevice on(kName, x);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    max_pool(BasicMaxPool<T>{x.const_data_ptr<T>(), y.mutable_data_ptr<T>(),
                             indices.mutable_data_ptr<std::int64_t>(), planes_of(x), axes.h, axes.w},
             on.device(), on.stream());
  });
  return {y, indices};
}

at::Tensor low_max_pool_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& self,
                                 at::IntArrayRef kernel, at::IntArrayRef stride, at::IntArrayRef pad,
                                 at::IntArrayRef dilation, bool ceil_mode, const at::Tensor& given_indices) {
  constexpr const char* kName = "aten::max_pool2d_with_indices_backward";
  require_supported(kName, keys, gradient);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), indices = given_indices.contiguous(), dx = empty_dense(self);
  const Axes axes(kName, self, kernel, stride, pad, dilation, ceil_mode);
  const OnDevice on(kName, dy, indices);
  by_dtype(dy, [&](auto zero) {
    using T = decltype(zero);
    max_pool_backward(BasicMaxPoolBackward<T>{dy.const_data_ptr<T>(), indices.const_data_ptr<std::int64_t>(),
                                              dx.mutable_data_ptr<T>(), planes_of(self), axes.h, axes.w},
                      on.device(), on.stream());
  });
  return dx;
}

std::int64_t divisor_or_zero(const char* name, std::optional<std::int64_t> divisor) {
  if (divisor && *divisor == 0)
    fail(ErrorCode::invalid_argument, {name, "divisor_override", "a number other than 0", "0", {}});
  return divisor.value_or(0);
}

at::Tensor low_average_pool(c10::DispatchKeySet keys, const at::Tensor& self, at::IntArrayRef kernel,
                            at::IntArrayRef stride, at::IntArrayRef pad, bool ceil_mode,
                            bool count_include_pad, std::optional<std::int64_t> divisor) {
  constexpr const char* kName = "aten::avg_pool2d";
  require_supported(kName, keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  require_planes(kName, self);
  const at::Tensor x = self.contiguous();
  const Axes axes(kName, x, kernel, stride, pad, {1, 1}, ceil_mode);
  const at::Tensor y = empty_like_result(x, axes, x.scalar_type());
  const OnDevice on(kName, x);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    average_pool(BasicAveragePool<T>{x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), planes_of(x), axes.h,
                                     axes.w, count_include_pad, divisor_or_zero(kName, divisor)},
                 on.device(), on.stream());
  });
  return y;
}

at::Tensor low_average_pool_backward(c10::DispatchKeySet keys, const at::Tensor& gradient,
                                     const at::Tensor& self, at::IntArrayRef kernel, at::IntArrayRef stride,
                                     at::IntArrayRef pad, bool ceil_mode, bool count_include_pad,
                                     std::optional<std::int64_t> divisor) {
  constexpr const char* kName = "aten::avg_pool2d_backward";
  require_supported(kName, keys, gradient);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), dx = empty_dense(self);
  const Axes axes(kName, self, kernel, stride, pad, {1, 1}, ceil_mode);
  const OnDevice on(kName, dy);
  by_dtype(dy, [&](auto zero) {
    using T = decltype(zero);
    average_pool_backward(
        BasicAveragePoolBackward<T>{dy.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), planes_of(self), axes.h,
                                    axes.w, count_include_pad, divisor_or_zero(kName, divisor)},
        on.device(), on.stream());
  });
  return dx;
}

at::Tensor low_adaptive_average_pool(c10::DispatchKeySet keys, const at::Tensor& self,
                                     c10::SymIntArrayRef size) {
  constexpr const char* kName = "aten::_adaptive_avg_pool2d";
  require_supported(kName, keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  require_planes(kName, self);
  const at::Tensor x = self.contiguous();
  const at::IntArrayRef out = C10_AS_INTARRAYREF_SLOW(size);
  const at::Tensor y = at::empty(sizes_with(x, out[0], out[1]), x.options());
  const OnDevice on(kName, x);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    adaptive_average_pool(BasicAdaptiveAveragePool<T>{x.const_data_ptr<T>(), y.mutable_data_ptr<T>(),
                                                      planes_of(x), x.size(-2), x.size(-1), out[0], out[1]},
                          on.device(), on.stream());
  });
  return y;
}

at::Tensor low_adaptive_average_pool_backward(c10::DispatchKeySet keys, const at::Tensor& gradient,
                                              const at::Tensor& self) {
  constexpr const char* kName = "aten::_adaptive_avg_pool2d_backward";
  require_supported(kName, keys, gradient);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), dx = empty_dense(self);
  const OnDevice on(kName, dy);
  by_dtype(dy, [&](auto zero) {
    using T = decltype(zero);
    adaptive_average_pool_backward(
        BasicAdaptiveAveragePoolBackward<T>{dy.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), planes_of(self),
                                            self.size(-2), self.size(-1), dy.size(-2), dy.size(-1)},
        on.device(), on.stream());
  });
  return dx;
}

/// Without a gradient LibTorch has a kernel of its own for one dimension, which nothing below it would see.
at::Tensor high_max_pool1d(c10::DispatchKeySet keys, const at::Tensor& self, at::IntArrayRef kernel,
                           at::IntArrayRef stride, at::IntArrayRef pad, at::IntArrayRef dilation,
                           bool ceil_mode) {
  require_supported("aten::max_pool1d", keys, self);
  LOCKSTEP_COUNT_CALL("aten::max_pool1d");
  return std::get<0>(at::max_pool1d_with_indices(self, kernel, stride, pad, dilation, ceil_mode));
}

}  // namespace

void register_pooling(Registrar& registrar) {
  registrar.whole("max_pool1d", TORCH_FN(high_max_pool1d));
  registrar.compute("max_pool2d_with_indices", TORCH_FN(low_max_pool));
  registrar.compute("max_pool2d_with_indices_backward", TORCH_FN(low_max_pool_backward));
  registrar.compute("avg_pool2d", TORCH_FN(low_average_pool));
  registrar.compute("avg_pool2d_backward", TORCH_FN(low_average_pool_backward));
  registrar.compute("_adaptive_avg_pool2d", TORCH_FN(low_adaptive_average_pool));
  registrar.compute("_adaptive_avg_pool2d_backward", TORCH_FN(low_adaptive_average_pool_backward));
}

}  // namespace lockstep::invariant
