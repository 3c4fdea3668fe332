#pragma once
// Operations that run on LibTorch's own kernels while the mode is on, and why their bits cannot depend on the
// batch.

#include <string_view>
#include <vector>

namespace lockstep::invariant {

/// Names without "aten::"; of some the CUDA form is ours (operations_clamp.cpp), and lists of tensors are
/// taken apart. Views and composite operations are not among them: they are told by their schema and their
/// registrations.
const std::vector<std::string_view>& exact_operations();

/// Those of exact_operations() that take lists of tensors.
const std::vector<std::string_view>& list_operations();

/// Exact where every tensor is of whole numbers: sums and products of those have one result in any order.
/// With "aten::".
bool is_exact_for_whole_numbers(std::string_view name);

}  // namespace lockstep::invariant
