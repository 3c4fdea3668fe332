#include "lockstep/loss/loss.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep/base/shape.h"
#include "lockstep/loss/loss_internal.h"

namespace lockstep {
namespace {

using loss_internal::BasicCall;
using loss_internal::BasicOperand;
using loss_internal::Formula;

/// The number of elements.
std::int64_t check(const char* where, const LossExtents& extents, std::initializer_list<const void*> needed,
                   Device device) {
  const std::int64_t least = std::min(extents.rows, extents.features);
  if (least < 0)
    fail(ErrorCode::invalid_argument, {where, "extents", "0 or more", std::to_string(least), {}});
  const Shape shape{extents.rows, extents.features};
  if (device != Device::cpu)
    fail(ErrorCode::unsupported,
         {where, "device", "Device::cpu", "a CUDA device, which has no kernels yet", {}});
  if (shape.elements() > 0 && std::find(needed.begin(), needed.end(), nullptr) != needed.end())
    fail(ErrorCode::invalid_argument,
         {where, "data", shape.text() + " elements of memory", "a null pointer", {}});
  return shape.elements();
}

template <class T>
BasicOperand<T> operand(const BasicLossGradient<T>& gradient) {
  return {gradient.elements, gradient.all};
}

template <class T>
BasicOperand<T> at(const BasicOperand<T>& operand, std::int64_t offset) {
  return {operand.elements == nullptr ? nullptr : operand.elements + offset, operand.all};
}

/// A weight a feature is one a row's element: such a call goes row by row, unless all have the same.
template <class T>
void run_binary(BasicCall<T> call, const T* positive, const LossExtents& extents) {
  call.operands[2] = {nullptr, positive == nullptr || extents.features == 0 ? T(1) : positive[0]};
  if (positive == nullptr || extents.features <= 1)
    return loss_internal::run_cpu(call, extents.rows * extents.features);
  for (std::int64_t r = 0; r < extents.rows; ++r) {
    BasicCall<T> row = call;
    for (BasicOperand<T>& each : row.operands) each = at(each, r * extents.features);
    row.operands[2] = {positive, 0};
    row.result += r * extents.features;
    loss_internal::run_cpu(row, extents.features);
  }
}

// Each call checked, then computed.
namespace checked {

template <class T>
void mse(const T* x, const T* target, T* loss, const LossExtents& extents, Device device) {
  const std::int64_t count = check("mse", extents, {x, target, loss}, device);
  loss_internal::run_cpu(BasicCall<T>{Formula::mse, {{x}, {target}}, loss}, count);
}

template <class T>
void mse_backward(const T* x, const T* target, const BasicLossGradient<T>& gradient, T* dx,
                  const LossExtents& extents, Device device) {
  const std::int64_t count = check("mse_backward", extents, {x, target, dx}, device);
  loss_internal::run_cpu(BasicCall<T>{Formula::mse_backward, {{x}, {target}, operand(gradient)}, dx}, count);
}

template <class T>
void l1(const T* x, const T* target, T* loss, const LossExtents& extents, Device device) {
  const std::int64_t count = check("l1", extents, {x, target, loss}, device);
  loss_internal::run_cpu(BasicCall<T>{Formula::l1, {{x}, {target}}, loss}, count);
}

template <class T>
void l1_backward(const T* x, const T* target, const BasicLossGradient<T>& gradient, T* dx,
                 const LossExtents& extents, Device device) {
  const std::int64_t count = check("l1_backward", extents, {x, target, dx}, device);
  loss_internal::run_cpu(BasicCall<T>{Formula::l1_backward, {{x}, {target}, operand(gradient)}, dx}, count);
}

template <class T>
void bce_with_logits(const T* x, const T* target, const BasicBinaryWeights<T>& weights, T* loss,
                     const LossExtents& extents, Device device) {
  check("bce_with_logits", extents, {x, target, loss}, device);
  run_binary<T>({Formula::bce_with_logits, {{x}, {target}, {}, {weights.elements, T(1)}}, loss},
                weights.positive, extents);
}

template <class T>
void bce_with_logits_backward(const T* x, const T* target, const BasicBinaryWeights<T>& weights,
                              const BasicLossGradient<T>& gradient, T* dx, const LossExtents& extents,
                              Device device) {
  check("bce_with_logits_backward", extents, {x, target, dx}, device);
  run_binary<T>({Formula::bce_with_logits_backward,
                 {{x}, {target}, {}, {weights.elements, T(1)}, operand(gradient)},
                 dx},
                weights.positive, extents);
}

template <class T>
void margin_ranking(const T* first, const T* second, const T* target, T margin, T* loss,
                    const LossExtents& extents, Device device) {
  const std::int64_t count = check("margin_ranking", extents, {first, second, target, loss}, device);
  loss_internal::run_cpu(
      BasicCall<T>{Formula::margin_ranking, {{first}, {second}, {target}, {nullptr, margin}}, loss}, count);
}

template <class T>
void margin_ranking_backward(const T* first, const T* second, const T* target, T margin,
                             const BasicLossGradient<T>& gradient, T* dfirst, const LossExtents& extents,
                             Device device) {
  const std::int64_t count =
      check("margin_ranking_backward", extents, {first, second, target, dfirst}, device);
  loss_internal::run_cpu(BasicCall<T>{Formula::margin_ranking_backward,
                                      {{first}, {second}, {target}, {nullptr, margin}, operand(gradient)},
                                      dfirst},
                         count);
}

template <class T>
void row_losses(const T* loss, T* rows_loss, const LossExtents& extents, Device device) {
  check("row_losses", extents, {loss, rows_loss}, device);
  if (extents.rows > 0 && rows_loss == nullptr)
    fail(ErrorCode::invalid_argument,
         {"row_losses", "rows_loss", "memory of each row", "a null pointer", {}});
  loss_internal::row_losses_cpu(loss, rows_loss, extents);
}

}  // namespace checked

}  // namespace

void mse(const float* x, const float* target, float* loss, const LossExtents& extents, Device device, void*) {
  checked::mse(x, target, loss, extents, device);
}

void mse_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                  const LossExtents& extents, Device device, void*) {
  checked::mse_backward(x, target, gradient, dx, extents, device);
}

void l1(const float* x, const float* target, float* loss, const LossExtents& extents, Device device, void*) {
  checked::l1(x, target, loss, extents, device);
}

void l1_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                 const LossExtents& extents, Device device, void*) {
  checked::l1_backward(x, target, gradient, dx, extents, device);
}

void bce_with_logits(const float* x, const float* target, const BinaryWeights& weights, float* loss,
                     const LossExtents& extents, Device device, void*) {
  checked::bce_with_logits(x, target, weights, loss, extents, device);
}

void bce_with_logits_backward(const float* x, const float* target, const BinaryWeights& weights,
                              const LossGradient& gradient, float* dx, const LossExtents& extents,
                              Device device, void*) {
  checked::bce_with_logits_backward(x, target, weights, gradient, dx, extents, device);
}

void margin_ranking(const float* first, const float* second, const float* target, float margin, float* loss,
                    const LossExtents& extents, Device device, void*) {
  checked::margin_ranking(first, second, target, margin, loss, extents, device);
}

void margin_ranking_backward(const float* first, const float* second, const float* target, float margin,
                             const LossGradient& gradient, float* dfirst, const LossExtents& extents,
                             Device device, void*) {
  checked::margin_ranking_backward(first, second, target, margin, gradient, dfirst, extents, device);
}

void row_losses(const float* loss, float* rows_loss, const LossExtents& extents, Device device, void*) {
  checked::row_losses(loss, rows_loss, extents, device);
}

// ---- float64

void mse(const double* x, const double* target, double* loss, const LossExtents& extents, Device device,
         void*) {
  checked::mse(x, target, loss, extents, device);
}

void mse_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                  const LossExtents& extents, Device device, void*) {
  checked::mse_backward(x, target, gradient, dx, extents, device);
}

void l1(const double* x, const double* target, double* loss, const LossExtents& extents, Device device,
        void*) {
  checked::l1(x, target, loss, extents, device);
}

void l1_backward(const double* x, const double* target, const LossGradient64& gradient, double* dx,
                 const LossExtents& extents, Device device, void*) {
  checked::l1_backward(x, target, gradient, dx, extents, device);
}

void bce_with_logits(const double* x, const double* target, const BinaryWeights64& weights, double* loss,
                     const LossExtents& extents, Device device, void*) {
  checked::bce_with_logits(x, target, weights, loss, extents, device);
}

void bce_with_logits_backward(const double* x, const double* target, const BinaryWeights64& weights,
                              const LossGradient64& gradient, double* dx, const LossExtents& extents,
                              Device device, void*) {
  checked::bce_with_logits_backward(x, target, weights, gradient, dx, extents, device);
}

void margin_ranking(const double* first, const double* second, const double* target, double margin,
                    double* loss, const LossExtents& extents, Device device, void*) {
  checked::margin_ranking(first, second, target, margin, loss, extents, device);
}

void margin_ranking_backward(const double* first, const double* second, const double* target, double margin,
                             const LossGradient64& gradient, double* dfirst, const LossExtents& extents,
                             Device device, void*) {
  checked::margin_ranking_backward(first, second, target, margin, gradient, dfirst, extents, device);
}

void row_losses(const double* loss, double* rows_loss, const LossExtents& extents, Device device, void*) {
  checked::row_losses(loss, rows_loss, extents, device);
}

}  // namespace lockstep
