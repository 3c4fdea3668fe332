#include "lockstep/torch/known_operations_internal.h"

namespace lockstep::invariant {
namespace {

using Names = std::vector<std::string_view>;

// One IEEE operation an element, or none: a vector loop and its scalar tail cannot differ. Sums with a scalar call the
// sum of tensors, which is looked at again.
const Names kOneOperation = {
    "add.Scalar", "add_.Scalar", "sub.Scalar", "sub_.Scalar", "rsub.Scalar", "rsub.Tensor",
    "mul.out", "mul.Scalar", "mul_.Scalar", "div.out",
    "div.Scalar", "div_.Scalar", "neg", "neg_", "neg.out", "abs", "abs_", "abs.out", "sqrt", "sqrt_", "sqrt.out",
    "reciprocal", "reciprocal_", "reciprocal.out", "sign", "sign_", "sgn", "floor", "floor_", "ceil", "ceil_",
    "round", "round_", "trunc", "trunc_", "relu", "relu_", "threshold", "threshold_", "threshold_backward",
    "threshold_backward.grad_input", "hardtanh", "hardtanh_", "hardtanh_backward", "leaky_relu", "leaky_relu_",
    "leaky_relu_backward", "clamp", "clamp_", "clamp.out", "clamp.Tensor", "clamp_.Tensor", "clamp_min",
    "clamp_min_", "clamp_min.out", "clamp_min.Tensor", "clamp_max", "clamp_max_", "clamp_max.out",
    "clamp_max.Tensor", "maximum", "minimum", "fmax", "fmin", "copysign.Tensor", "signbit", "nan_to_num",
};

// Comparisons, selections and whole numbers.
const Names kDiscrete = {
    "eq.Tensor", "eq.Scalar", "eq.Tensor_out", "eq.Scalar_out", "ne.Tensor", "ne.Scalar", "ne.Tensor_out",
    "ne.Scalar_out", "lt.Tensor", "lt.Scalar", "lt.Tensor_out", "lt.Scalar_out", "le.Tensor", "le.Scalar",
    "le.Tensor_out", "le.Scalar_out", "gt.Tensor", "gt.Scalar", "gt.Tensor_out", "gt.Scalar_out", "ge.Tensor",
    "ge.Scalar", "ge.Tensor_out", "ge.Scalar_out", "eq_.Tensor", "eq_.Scalar", "logical_and", "logical_or",
    "logical_not", "logical_xor", "logical_and_", "logical_or_", "logical_not_", "bitwise_and.Tensor",
    "bitwise_and.Scalar", "bitwise_and_.Tensor", "bitwise_or.Tensor", "bitwise_or.Scalar", "bitwise_or_.Tensor",
    "bitwise_xor.Tensor", "bitwise_not", "__and__.Tensor", "__or__.Tensor", "__lshift__.Scalar",
    "__rshift__.Scalar", "isnan", "isinf", "isfinite", "isposinf", "isneginf", "where.self", "where.self_out",
    "masked_fill.Scalar", "masked_fill.Tensor", "masked_fill_.Scalar", "masked_fill_.Tensor", "tril", "tril_",
    "tril.out", "triu", "triu_", "triu.out", "one_hot", "equal", "isin.Tensor_Tensor",
    "all", "all.dim", "any", "any.dim", "any.out", "all.out", "max", "min", "amax", "amin", "max.dim", "min.dim", "argmax", "argmin", "_is_all_true",
    "_is_any_true", "nonzero", "bucketize.Tensor", "searchsorted.Tensor", "sort", "sort.stable", "topk",
};

// Memory: nothing is computed.
const Names kCopies = {
    "clone", "copy_", "_to_copy", "contiguous", "fill.Scalar", "fill_.Scalar", "fill.Tensor", "fill_.Tensor",
    "zero_", "zero", "cat", "cat.out", "stack", "constant_pad_nd", "_unsafe_view", "_reshape_alias", "resize_",
    "resize_as_", "detach", "detach_", "transpose_", "squeeze_", "squeeze_.dim", "unsqueeze_", "t_",
    "as_strided_", "slice_backward", "select_backward", "as_strided_scatter", "slice_scatter", "select_scatter",
    "flip", "roll", "repeat", "gather", "gather.out", "index.Tensor", "index_select", "index_select.out",
    "masked_select", "lift", "lift_fresh", "lift_fresh_copy", "set_.source_Tensor", "set_.source_Storage",
    "unfold_copy", "pin_memory", "_pin_memory", "_copy_from", "_copy_from_and_resize", "_local_scalar_dense",
    "is_same_size", "split_with_sizes_copy", "unsafe_split.Tensor", "unsafe_split_with_sizes", "unsafe_chunk",
};

// New tensors. Random ones are not here: they draw by position in the batch.
const Names kFactories = {
    "empty.memory_format", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided",
    "zeros", "zeros.out", "zeros_like", "new_zeros", "ones", "ones.out", "ones_like", "new_ones", "full",
    "full.out", "full_like", "new_full", "scalar_tensor", "arange", "arange.start", "arange.start_step",
    "arange.out", "arange.start_out", "eye", "eye.m", "eye.out", "eye.m_out", "tril_indices", "triu_indices",
    "linspace", "linspace.out",
};

// Lists of tensors, which LibTorch's CPU kernels take apart into the operations above, each looked at again.
const Names kLists = {
    "_foreach_add.List", "_foreach_add_.List", "_foreach_add.Scalar", "_foreach_add_.Scalar",
    "_foreach_add_.Tensor", "_foreach_sub_.List", "_foreach_sub_.Scalar", "_foreach_mul.List",
    "_foreach_mul_.List", "_foreach_mul.Scalar", "_foreach_mul_.Scalar", "_foreach_mul_.Tensor",
    "_foreach_mul.Tensor", "_foreach_mul_.ScalarList", "_foreach_div.List", "_foreach_div_.List",
    "_foreach_div.Scalar", "_foreach_div_.Scalar", "_foreach_div_.ScalarList", "_foreach_div.ScalarList",
    "_foreach_sqrt", "_foreach_sqrt_", "_foreach_neg", "_foreach_neg_", "_foreach_reciprocal_", "_foreach_zero_",
    "_foreach_copy_", "_foreach_addcmul_.Scalar", "_foreach_addcmul_.ScalarList", "_foreach_addcdiv_.Scalar",
    "_foreach_addcdiv_.ScalarList", "_foreach_lerp_.Scalar", "_foreach_lerp_.List", "_foreach_maximum_.List",
};

}  // namespace

const std::vector<std::string_view>& exact_operations() {
  static const Names all = [] {
    Names names;
    for (const Names* group : {&kOneOperation, &kDiscrete, &kCopies, &kFactories, &kLists})
      names.insert(names.end(), group->begin(), group->end());
    return names;
  }();
  return all;
}

}  // namespace lockstep::invariant
