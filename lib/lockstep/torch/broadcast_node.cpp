#include <ATen/ATen.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/csrc/autograd/VariableTypeUtils.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/broadcast_node_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/row_sum_internal.h"
#include "lockstep/torch/sample_order_internal.h"

namespace lockstep::invariant {
namespace {

/// A shape without the leading axes of extent 1, which broadcasting adds anyway.
at::IntArrayRef core_of(at::IntArrayRef shape) {
  while (!shape.empty() && shape.front() == 1) shape = shape.slice(1);
  return shape;
}

bool is_suffix(at::IntArrayRef core, at::IntArrayRef shape) {
  return core.size() <= shape.size() && shape.slice(shape.size() - core.size()) == core;
}

at::Tensor compute(BroadcastOperation operation, const at::Tensor& x, const at::Tensor& p, bool in_place) {
  switch (operation) {
    case BroadcastOperation::add:
      return in_place ? x.add_(p) : at::add(x, p);
    case BroadcastOperation::subtract:
      return in_place ? x.sub_(p) : at::sub(x, p);
    case BroadcastOperation::multiply:
      return in_place ? x.mul_(p) : at::mul(x, p);
  }
  fail(ErrorCode::internal, {"broadcast_parameter", "operation", "one of three", "another", {}});
}

class LockstepBroadcastBackward final : public Node {
 public:
  std::string name() const override { return "LockstepBroadcastBackward"; }
  void release_variables() override {
    x_.reset_data();
    parameter_.reset_data();
  }

  void save(BroadcastOperation operation, const at::Tensor& x, const Parameter& parameter) {
    operation_ = operation;
    parameter_ = SavedVariable(parameter.base, false);
    window_ = parameter.window;
    if (operation == BroadcastOperation::multiply) x_ = SavedVariable(x, false);
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    const at::Tensor& dy = gradients[0];
    if (!dy.defined()) return variable_list(2);
    refuse_create_graph(*this, "Leave the mode for a double backward through a broadcast parameter");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("broadcast backward");
    const at::Tensor base = parameter_.unpack();
    variable_list results(2);
    if (task_should_compute_output(0)) {
      const bool scales = operation_ == BroadcastOperation::multiply;
      results[0] = scales ? at::mul(dy, part_of(base, window_)) : dy;
    }
    if (task_should_compute_output(1)) results[1] = parameter_gradient(dy, base);
    return results;
  }

 private:
  at::Tensor parameter_gradient(const at::Tensor& dy, const at::Tensor& base) {
    std::int64_t cols = 1;
    for (const std::int64_t extent : window_.sizes) cols *= extent;
    const std::int64_t rows = cols == 0 ? 0 : dy.numel() / cols;
    const at::Tensor dense =
        operation_ == BroadcastOperation::subtract ? dy.neg().contiguous() : dy.contiguous();
    FoldTarget target(*this, 1, PlaceKind::broadcast, window_, rows, micro_batch_,
                      dense.options().dtype(at::kDouble));
    by_dtype(dense, [&](auto zero) { fold<decltype(zero)>(dense, cols, target); });
    return target.returned(base);
  }

  template <class T>
  void fold(const at::Tensor& dy, std::int64_t cols, FoldTarget& target) {
    const bool scales = operation_ == BroadcastOperation::multiply;
    const at::Tensor x = scales ? x_.unpack().contiguous() : at::Tensor();
    OnDevice on("broadcast backward", dy, x);
    double* const total = target.total_data<double>();
    double* const open = target.open<double>();
    if (scales)
      fold_row_products(on, dy.const_data_ptr<T>(), x.const_data_ptr<T>(), cols, target.span(), total, open);
    else
      fold_rows(on, dy.const_data_ptr<T>(), cols, cols, target.span(), total, open);
  }

  BroadcastOperation operation_ = BroadcastOperation::add;
  SavedVariable x_, parameter_;
  Window window_;
  MicroBatchPtr micro_batch_;
};

}  // namespace

bool is_row_parameter(const at::Tensor& tensor, at::IntArrayRef shape) {
  if (!records_gradients() || !tensor.requires_grad() || !is_computed_in(tensor.scalar_type())) return false;
  return tensor.dim() > 0 && is_suffix(core_of(tensor.sizes()), shape) &&
         resolve_parameter(tensor).base.defined();
}

at::Tensor broadcast_parameter(const char* name, BroadcastOperation operation, const at::Tensor& x,
                               const at::Tensor& parameter, bool in_place) {
  if (const std::int64_t axis = sample_axis_of(name, x); axis != 0) {
    const at::Tensor y = in_sample_order(x, axis, [&](const at::Tensor& t) {
      return broadcast_parameter(name, operation, t, parameter, false);
    });
    return in_place ? x.copy_(y) : y;
  }
  if (in_place) torch::autograd::check_inplace(x, true);
  require_sample_major(name, open_micro_batch(), x);
  const Parameter resolved = resolve_parameter(parameter);
  const auto parameter_node = prepare_parameter(resolved.base);
  const auto node = make_node<LockstepBroadcastBackward>(x, resolved.base);
  node->save(operation, in_place && operation == BroadcastOperation::multiply ? x.clone() : x, resolved);
  at::Tensor y;
  {
    const Computation computation;
    y = compute(operation, x, parameter, in_place);
  }
  if (!in_place) {
    torch::autograd::set_history(y, node);
    return y;
  }
  torch::autograd::increment_version(x);
  torch::autograd::rebase_history(x, node);
  return x;
}

void require_no_computed_broadcast(const char* name, const at::Tensor& operand, at::IntArrayRef shape) {
  if (!records_gradients() || !operand.requires_grad() || shape.empty()) return;
  const bool over_first =
      operand.dim() < static_cast<std::int64_t>(shape.size()) || (operand.size(0) == 1 && shape[0] > 1);
  if (!over_first) return;
  const bool is_parameter = resolve_parameter(operand).base.defined();
  fail(ErrorCode::unsupported,
       {name,
        fmt::format("{} of shape [{}]", is_parameter ? "parameter" : "operand",
                    fmt::join(operand.sizes(), ", ")),
        is_parameter ? "a parameter that is broadcast over whole rows (its shape ends the other's)"
                     : "no broadcast over the first axis, or one of a parameter itself",
        fmt::format("a broadcast to [{}]", fmt::join(shape, ", ")),
        "Its gradient would be a sum over the batch in an order that depends on the cut: expand it for each "
        "sample "
        "from a parameter, or leave the mode around it"});
}

}  // namespace lockstep::invariant
