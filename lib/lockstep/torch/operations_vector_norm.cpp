// Norms of vectors, which torch.nn.utils.clip_grad_norm_ takes of gradients: PyTorch's derivative, our sums.

#include <ATen/ATen.h>
#include <ATen/WrapDimUtilsMulti.h>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/optimizer/optimizer.h"
#include "lockstep/optimizer/optimizer_ref.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

constexpr const char* kName = "aten::linalg_vector_norm";

bool reduces_all(const at::Tensor& x, at::OptionalIntArrayRef axes) {
  if (axes.has_value())
    at::dim_list_to_bitset(*axes, static_cast<std::size_t>(x.dim()));  // throws, as torch does
  return !axes.has_value() || axes->empty() || axes->size() == static_cast<std::size_t>(x.dim());
}

template <class T>
std::span<const T> elements_of(const at::Tensor& dense) {
  return {dense.const_data_ptr<T>(), static_cast<std::size_t>(dense.numel())};
}

void norm_into(const at::Tensor& dense, float* norm) {
  OnDevice on(kName, dense);
  const std::span<const float> gradient = elements_of<float>(dense);
  const std::span all(&gradient, 1);
  gradient_norm(all, norm, on.scratch<float>(gradient_norm_scratch_elements(all)), on.device(), on.stream());
}
void norm_into(const at::Tensor& dense, double* norm) {
  const std::span<const double> elements = elements_of<double>(dense);
  *norm = gradient_norm_ref<double>({std::vector<double>(elements.begin(), elements.end())});
}

/// The norm of all elements as one vector, in the order of section 9 of the contracts.
at::Tensor norm_of_all(const at::Tensor& x, bool keep) {
  take_over_thread_count();
  const at::Tensor dense = x.contiguous();
  const std::vector<std::int64_t> sizes(keep ? static_cast<std::size_t>(x.dim()) : 0, 1);
  const at::Tensor norm = at::empty(sizes, x.options());
  by_dtype(dense, [&](auto zero) { norm_into(dense, norm.mutable_data_ptr<decltype(zero)>()); });
  return norm;
}

/// Sums of squares along axes are sums like any other: lanes, or a fold over the batch.
at::Tensor norm_along(const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  const c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  return at::sqrt(at::sum(at::mul(x, x), axes, keep));
}

at::Tensor low_vector_norm(c10::DispatchKeySet keys, const at::Tensor& self, const at::Scalar& order,
                           at::OptionalIntArrayRef axes, bool keep, std::optional<at::ScalarType> dtype) {
  require_supported(kName, keys, self);
  LOCKSTEP_COUNT_CALL(kName);
  if (dtype && *dtype != self.scalar_type())
    fail(ErrorCode::unsupported, {kName, "dtype", "the input's", "another", "Convert the input first"});
  const double p = order.toDouble();
  if (p == std::numeric_limits<double>::infinity()) {  // a comparison has one result in any order
    const InsideKernel inside;
    return at::amax(at::abs(self), axes.has_value() ? *axes : at::IntArrayRef{}, keep);
  }
  if (p != 2)
    fail(ErrorCode::unsupported,
         {kName, "ord", "2 or infinity", fmt::to_string(p), "Write other norms from abs, pow and sum"});
  if (!reduces_all(self, axes)) return norm_along(self, *axes, keep);
  const InsideKernel inside;
  return norm_of_all(self, keep);
}

std::vector<at::Tensor> high_foreach_norm(c10::DispatchKeySet, at::TensorList tensors,
                                          const at::Scalar& order, std::optional<at::ScalarType> dtype) {
  std::vector<at::Tensor> norms;
  for (const at::Tensor& tensor : tensors)
    norms.push_back(at::linalg_vector_norm(tensor, order, std::nullopt, false, dtype));
  return norms;
}

}  // namespace

void register_vector_norms(Registrar& registrar) {
  registrar.compute("linalg_vector_norm", TORCH_FN(low_vector_norm));
  registrar.whole("_foreach_norm.Scalar", TORCH_FN(high_foreach_norm));
}

}  // namespace lockstep::invariant
