#include "lockstep/torch/sample_axis.h"

#include <ATen/ATen.h>
#include <functional>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/operands_internal.h"
#include "lockstep/torch/sample_order_internal.h"

namespace lockstep {
namespace {

/// Leading extents of tensors, up to their sample axis.
using Leading = std::vector<std::int64_t>;
thread_local std::vector<Leading> t_declared;

std::vector<Leading> leading_extents(std::int64_t axis, const std::vector<at::Tensor>& examples) {
  const auto refuse = [](const char* what, const char* expected, std::string got) {
    fail(ErrorCode::invalid_argument, {"SampleAxis", what, expected, std::move(got), {}});
  };
  if (axis < 1) refuse("axis", "1 or more", fmt::to_string(axis));
  if (examples.empty()) refuse("examples", "at least one tensor", "none");
  std::vector<Leading> all;
  for (const at::Tensor& example : examples) {
    if (!example.defined() || example.dim() <= axis)
      refuse("example", "a tensor that has the sample axis",
             example.defined() ? invariant::shape_text(example) : "none");
    const at::IntArrayRef sizes = example.sizes();
    all.emplace_back(sizes.begin(), sizes.begin() + axis + 1);
  }
  return all;
}

bool begins_with(at::IntArrayRef sizes, const Leading& leading) {
  return sizes.size() >= leading.size() && sizes.slice(0, leading.size()) == at::IntArrayRef(leading);
}

/// All its extents in one: then nothing is left of the order of axes. One of extent 1 changes no order.
bool is_flattened(const at::Tensor& tensor, const Leading& leading) {
  const std::int64_t rows =
      std::accumulate(leading.begin(), leading.end(), std::int64_t{1}, std::multiplies<>());
  const bool ordered = leading.back() == 1 || rows == leading.back();
  return !ordered && tensor.dim() > 0 && tensor.dim() <= 2 && tensor.size(0) == rows;
}

}  // namespace

SampleAxis::SampleAxis(std::int64_t axis, const std::vector<at::Tensor>& examples)
    : before_(std::exchange(t_declared, leading_extents(axis, examples))) {}

SampleAxis::~SampleAxis() { t_declared = std::move(before_); }

namespace invariant {

std::int64_t sample_axis_of(const char* operation, const at::Tensor& tensor) {
  for (const Leading& leading : t_declared)
    if (begins_with(tensor.sizes(), leading)) return static_cast<std::int64_t>(leading.size()) - 1;
  for (const Leading& leading : t_declared) {
    if (!is_flattened(tensor, leading)) continue;
    fail(ErrorCode::invalid_argument, {operation, "input", "samples along the axis that SampleAxis declares",
                                       fmt::format("shape [{}]: rows flattened in the order of [{}]",
                                                   fmt::join(tensor.sizes(), ", "), fmt::join(leading, ", ")),
                                       "Transpose samples to the front before flattening"});
  }
  return 0;
}

}  // namespace invariant
}  // namespace lockstep
