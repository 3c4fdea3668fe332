#include "lockstep/loss/loss.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep/base/shape.h"
#include "lockstep/loss/loss_internal.h"

namespace lockstep {
namespace {

using loss_internal::Call;
using loss_internal::Formula;
using loss_internal::Operand;

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

Operand operand(const LossGradient& gradient) { return {gradient.elements, gradient.all}; }

Operand at(Operand operand, std::int64_t offset) {
  return {operand.elements == nullptr ? nullptr : operand.elements + offset, operand.all};
}

/// A weight a feature is one a row's element: such a call goes row by row, unless all have the same.
void run_binary(Call call, const float* positive, const LossExtents& extents) {
  call.operands[2] = {nullptr, positive == nullptr || extents.features == 0 ? 1.0f : positive[0]};
  if (positive == nullptr || extents.features <= 1)
    return loss_internal::run_cpu(call, extents.rows * extents.features);
  for (std::int64_t r = 0; r < extents.rows; ++r) {
    Call row = call;
    for (Operand& each : row.operands) each = at(each, r * extents.features);
    row.operands[2] = {positive, 0};
    row.result += r * extents.features;
    loss_internal::run_cpu(row, extents.features);
  }
}

}  // namespace

void mse(const float* x, const float* target, float* loss, const LossExtents& extents, Device device, void*) {
  const std::int64_t count = check("mse", extents, {x, target, loss}, device);
  loss_internal::run_cpu({Formula::mse, {{x}, {target}}, loss}, count);
}

void mse_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                  const LossExtents& extents, Device device, void*) {
  const std::int64_t count = check("mse_backward", extents, {x, target, dx}, device);
  loss_internal::run_cpu({Formula::mse_backward, {{x}, {target}, operand(gradient)}, dx}, count);
}

void l1(const float* x, const float* target, float* loss, const LossExtents& extents, Device device, void*) {
  const std::int64_t count = check("l1", extents, {x, target, loss}, device);
  loss_internal::run_cpu({Formula::l1, {{x}, {target}}, loss}, count);
}

void l1_backward(const float* x, const float* target, const LossGradient& gradient, float* dx,
                 const LossExtents& extents, Device device, void*) {
  const std::int64_t count = check("l1_backward", extents, {x, target, dx}, device);
  loss_internal::run_cpu({Formula::l1_backward, {{x}, {target}, operand(gradient)}, dx}, count);
}

void bce_with_logits(const float* x, const float* target, const BinaryWeights& weights, float* loss,
                     const LossExtents& extents, Device device, void*) {
  check("bce_with_logits", extents, {x, target, loss}, device);
  run_binary({Formula::bce_with_logits, {{x}, {target}, {}, {weights.elements, 1.0f}}, loss},
             weights.positive, extents);
}

void bce_with_logits_backward(const float* x, const float* target, const BinaryWeights& weights,
                              const LossGradient& gradient, float* dx, const LossExtents& extents,
                              Device device, void*) {
  check("bce_with_logits_backward", extents, {x, target, dx}, device);
  run_binary({Formula::bce_with_logits_backward,
              {{x}, {target}, {}, {weights.elements, 1.0f}, operand(gradient)},
              dx},
             weights.positive, extents);
}

void margin_ranking(const float* first, const float* second, const float* target, float margin, float* loss,
                    const LossExtents& extents, Device device, void*) {
  const std::int64_t count = check("margin_ranking", extents, {first, second, target, loss}, device);
  loss_internal::run_cpu({Formula::margin_ranking, {{first}, {second}, {target}, {nullptr, margin}}, loss},
                         count);
}

void margin_ranking_backward(const float* first, const float* second, const float* target, float margin,
                             const LossGradient& gradient, float* dfirst, const LossExtents& extents,
                             Device device, void*) {
  const std::int64_t count =
      check("margin_ranking_backward", extents, {first, second, target, dfirst}, device);
  loss_internal::run_cpu({Formula::margin_ranking_backward,
                          {{first}, {second}, {target}, {nullptr, margin}, operand(gradient)},
                          dfirst},
                         count);
}

void row_losses(const float* loss, float* rows_loss, const LossExtents& extents, Device device, void*) {
  check("row_losses", extents, {loss, rows_loss}, device);
  if (extents.rows > 0 && rows_loss == nullptr)
    fail(ErrorCode::invalid_argument,
         {"row_losses", "rows_loss", "memory of each row", "a null pointer", {}});
  loss_internal::row_losses_cpu(loss, rows_loss, extents);
}

}  // namespace lockstep
