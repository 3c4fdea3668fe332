#include "lockstep/loss/loss.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/shape.h"
#include "lockstep/loss/loss_internal.h"

namespace lockstep {
namespace {

using loss_internal::BasicCall;
using loss_internal::BasicOperand;
using loss_internal::Formula;

void check(const char* where, const LossExtents& extents, std::initializer_list<const void*> needed) {
  const std::int64_t least = std::min(extents.rows, extents.features);
  if (least < 0)
    fail(ErrorCode::invalid_argument, {where, "extents", "0 or more", std::to_string(least), {}});
  const Shape shape{extents.rows, extents.features};
  if (shape.elements() > 0 && std::find(needed.begin(), needed.end(), nullptr) != needed.end())
    fail(ErrorCode::invalid_argument,
         {where, "data", shape.text() + " elements of memory", "a null pointer", {}});
}

template <class T>
BasicOperand<T> operand(const BasicLossGradient<T>& gradient) {
  return {gradient.elements, gradient.all};
}

template <class T>
BasicOperand<T> at(const BasicOperand<T>& operand, std::int64_t offset) {
  return {operand.elements == nullptr ? nullptr : operand.elements + offset, operand.all};
}

/// The third operand may be periodic, a number for each of a row's elements: such a call goes row by row,
/// unless all have the same.
template <class T>
void run_on_cpu(BasicCall<T> call, const LossExtents& extents) {
  const BasicOperand<T> periodic = call.operands[2];
  const std::int64_t count = extents.rows * extents.features;
  if (periodic.period == 0 || count == 0) return loss_internal::run_cpu(call, count);
  if (extents.features == 1) {
    call.operands[2] = {nullptr, periodic.elements[0]};
    return loss_internal::run_cpu(call, count);
  }
  for (std::int64_t r = 0; r < extents.rows; ++r) {
    BasicCall<T> row = call;
    for (BasicOperand<T>& each : row.operands) each = at(each, r * extents.features);
    row.operands[2] = {periodic.elements};
    row.result += r * extents.features;
    loss_internal::run_cpu(row, extents.features);
  }
}

/// What to compute on.
struct Target {
  Device device;
  void* stream;
};

template <class T>
void compute(const char* where, const BasicCall<T>& call, const LossExtents& extents, const Target& target) {
  internal::check_device_of<T>(where, target.device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (target.device == Device::cuda)
      return loss_internal::run_cuda(call, extents.rows * extents.features, target.stream);
  }
  run_on_cpu(call, extents);
}

/// A weight a feature.
template <class T>
BasicOperand<T> weight_of(const T* positive, const LossExtents& extents) {
  return positive == nullptr ? BasicOperand<T>{nullptr, T(1)}
                             : BasicOperand<T>{positive, 0, extents.features};
}

// Each call checked, then computed.
namespace checked {

template <class T>
void mse(const T* x, const T* target, T* loss, const LossExtents& extents, const Target& on) {
  check("mse", extents, {x, target, loss});
  compute("mse", BasicCall<T>{Formula::mse, {{x}, {target}}, loss}, extents, on);
}

template <class T>
void mse_backward(const T* x, const T* target, const BasicLossGradient<T>& gradient, T* dx,
                  const LossExtents& extents, const Target& on) {
  check("mse_backward", extents, {x, target, dx});
  compute("mse_backward", BasicCall<T>{Formula::mse_backward, {{x}, {target}, operand(gradient)}, dx},
          extents, on);
}

template <class T>
void l1(const T* x, const T* target, T* loss, const LossExtents& extents, const Target& on) {
  check("l1", extents, {x, target, loss});
  compute("l1", BasicCall<T>{Formula::l1, {{x}, {target}}, loss}, extents, on);
}

template <class T>
void l1_backward(const T* x, const T* target, const BasicLossGradient<T>& gradient, T* dx,
                 const LossExtents& extents, const Target& on) {
  check("l1_backward", extents, {x, target, dx});
  compute("l1_backward", BasicCall<T>{Formula::l1_backward, {{x}, {target}, operand(gradient)}, dx}, extents,
          on);
}

template <class T>
void bce_with_logits(const T* x, const T* target, const BasicBinaryWeights<T>& weights, T* loss,
                     const LossExtents& extents, const Target& on) {
  check("bce_with_logits", extents, {x, target, loss});
  compute("bce_with_logits",
          BasicCall<T>{Formula::bce_with_logits,
                       {{x}, {target}, weight_of(weights.positive, extents), {weights.elements, T(1)}},
                       loss},
          extents, on);
}

template <class T>
void bce_with_logits_backward(const T* x, const T* target, const BasicBinaryWeights<T>& weights,
                              const BasicLossGradient<T>& gradient, T* dx, const LossExtents& extents,
                              const Target& on) {
  check("bce_with_logits_backward", extents, {x, target, dx});
  compute(
      "bce_with_logits_backward",
      BasicCall<T>{
          Formula::bce_with_logits_backward,
          {{x}, {target}, weight_of(weights.positive, extents), {weights.elements, T(1)}, operand(gradient)},
          dx},
      extents, on);
}

template <class T>
void margin_ranking(const T* first, const T* second, const T* target, T margin, T* loss,
                    const LossExtents& extents, const Target& on) {
  check("margin_ranking", extents, {first, second, target, loss});
  compute("margin_ranking",
          BasicCall<T>{Formula::margin_ranking, {{first}, {second}, {target}, {nullptr, margin}}, loss},
          extents, on);
}

template <class T>
void margin_ranking_backward(const T* first, const T* second, const T* target, T margin,
                             const BasicLossGradient<T>& gradient, T* dfirst, const LossExtents& extents,
                             const Target& on) {
  check("margin_ranking_backward", extents, {first, second, target, dfirst});
  compute("margin_ranking_backward",
          BasicCall<T>{Formula::margin_ranking_backward,
                       {{first}, {second}, {target}, {nullptr, margin}, operand(gradient)},
                       dfirst},
          extents, on);
}

template <class T>
void row_losses(const T* loss, T* rows_loss, const LossExtents& extents, const Target& on) {
  check("row_losses", extents, {loss, rows_loss});
  if (extents.rows > 0 && rows_loss == nullptr)
    fail(ErrorCode::invalid_argument,
         {"row_losses", "rows_loss", "memory of each row", "a null pointer", {}});
  internal::check_device_of<T>("row_losses", on.device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (on.device == Device::cuda) return loss_internal::row_losses_cuda(loss, rows_loss, extents, on.stream);
  }
  loss_internal::row_losses_cpu(loss, rows_loss, extents);
}

}  // namespace checked

}  // namespace

void mse(const float* x, const float* target, float* loss, const LossExtents& extents, Device device,
         void* stream) {
  checked::mse(x, target, loss, extents, {device, stream});
}

void mse_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                  const LossExtents& extents, Device device, void* stream) {
  checked::mse_backward(x, target, gradient, dx, extents, {device, stream});
}

void l1(const float* x, const float* target, float* loss, const LossExtents& extents, Device device,
        void* stream) {
  checked::l1(x, target, loss, extents, {device, stream});
}

void l1_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                 const LossExtents& extents, Device device, void* stream) {
  checked::l1_backward(x, target, gradient, dx, extents, {device, stream});
}

void bce_with_logits(const float* x, const float* target, const BinaryWeights& weights, float* loss,
                     const LossExtents& extents, Device device, void* stream) {
  checked::bce_with_logits(x, target, weights, loss, extents, {device, stream});
}

void bce_with_logits_backward(const float* x, const float* target, const BinaryWeights& weights,
                              const LossGradient& gradient, float* dx, const LossExtents& extents,
                              Device device, void* stream) {
  checked::bce_with_logits_backward(x, target, weights, gradient, dx, extents, {device, stream});
}

void margin_ranking(const float* first, const float* second, const float* target, float margin, float* loss,
                    const LossExtents& extents, Device device, void* stream) {
  checked::margin_ranking(first, second, target, margin, loss, extents, {device, stream});
}

void margin_ranking_backward(const float* first, const float* second, const float* target, float margin,
                             const LossGradient& gradient, float* dfirst, const LossExtents& extents,
                             Device device, void* stream) {
  checked::margin_ranking_backward(first, second, target, margin, gradient, dfirst, extents,
                                   {device, stream});
}

void row_losses(const float* loss, float* rows_loss, const LossExtents& extents, Device device,
                void* stream) {
  checked::row_losses(loss, rows_loss, extents, {device, stream});
}

// ---- float64

void mse(const double* x, const double* target, double* loss, const LossExtents& extents, Device device,
         void* stream) {
  checked::mse(x, target, loss, extents, {device, stream});
}

void mse_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                  const LossExtents& extents, Device device, void* stream) {
  checked::mse_backward(x, target, gradient, dx, extents, {device, stream});
}

void l1(const double* x, const double* target, double* loss, const LossExtents& extents, Device device,
        void* stream) {
  checked::l1(x, target, loss, extents, {device, stream});
}

void l1_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                 const LossExtents& extents, Device device, void* stream) {
  checked::l1_backward(x, target, gradient, dx, extents, {device, stream});
}

void bce_with_logits(const double* x, const double* target, const BinaryWeights64& weights, double* loss,
                     const LossExtents& extents, Device device, void* stream) {
  checked::bce_with_logits(x, target, weights, loss, extents, {device, stream});
}

void bce_with_logits_backward(const double* x, const double* target, const BinaryWeights64& weights,
                              const LossGradient64& gradient, double* dx, const LossExtents& extents,
                              Device device, void* stream) {
  checked::bce_with_logits_backward(x, target, weights, gradient, dx, extents, {device, stream});
}

void margin_ranking(const double* first, const double* second, const double* target, double margin,
                    double* loss, const LossExtents& extents, Device device, void* stream) {
  checked::margin_ranking(first, second, target, margin, loss, extents, {device, stream});
}

void margin_ranking_backward(const double* first, const double* second, const double* target, double margin,
                             const LossGradient64& gradient, double* dfirst, const LossExtents& extents,
                             Device device, void* stream) {
  checked::margin_ranking_backward(first, second, target, margin, gradient, dfirst, extents,
                                   {device, stream});
}

void row_losses(const double* loss, double* rows_loss, const LossExtents& extents, Device device,
                void* stream) {
  checked::row_losses(loss, rows_loss, extents, {device, stream});
}

}  // namespace lockstep
