#pragma once
// What the autograd nodes of ours have in common.

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <memory>
#include <optional>
#include <utility>

#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/gradient_places_internal.h"

namespace lockstep::invariant {

using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

/// For the computation of a forward or backward: what it calls is neither looked at nor recorded again, and
/// runs with LibTorch's number of threads.
class Computation {
 public:
  Computation() { take_over_thread_count(); }

 private:
  InsideKernel inside_;
  at::AutoDispatchBelowADInplaceOrView no_autograd_;
};

/// Whether autograd is to record an operation on these tensors, of which each may be undefined.
template <class... Tensors>
bool needs_node(const Tensors&... tensors) {
  return records_gradients() && torch::autograd::compute_requires_grad(tensors...);
}

/// A node whose inputs are `variables`, of which each may be undefined.
template <class NodeType, class... Tensors>
std::shared_ptr<NodeType> make_node(const Tensors&... variables) {
  std::shared_ptr<NodeType> node(new NodeType(), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(variables...));
  return node;
}

/// A room's fold (BasicNormFold, BasicConvFold) of a gradient that may be unwanted.
template <template <class> class Fold, class T>
Fold<T> memory_of(std::optional<FoldTarget>& target) {
  if (!target) return {};
  return {target->total_data<T>(), target->open<T>()};
}

/// For nodes whose backward cannot be recorded. Throws Error(unsupported) where it is asked for.
inline void refuse_create_graph(const Node& node, const char* instead) {
  if (at::GradMode::is_enabled())
    fail(ErrorCode::unsupported,
         {"invariant mode backward", node.name(), "one backward", "create_graph", instead});
}

/// All of a parameter.
inline Window window_of(const at::Tensor& parameter) {
  return {parameter.sizes().vec(), parameter.strides().vec(), 0};
}

/// The part of a parameter that an operation used.
inline at::Tensor part_of(const at::Tensor& base, const Window& window) {
  return base.as_strided(window.sizes, window.strides, base.storage_offset() + window.offset);
}

}  // namespace lockstep::invariant
