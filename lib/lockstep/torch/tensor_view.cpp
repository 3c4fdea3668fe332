#include "lockstep/torch/tensor_view.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <fmt/format.h>

#include <torch/nn/module.h>

#include "lockstep/base/error.h"

namespace lockstep {
namespace {

void check_layout(const at::Tensor& tensor) {
  if (!tensor.defined())
    fail(ErrorCode::invalid_argument,
         {"view_of", "tensor", "a defined tensor", "an undefined one",
          "A gradient is undefined before backward(); ask tensor.defined() first"});
  if (tensor.layout() != at::kStrided || tensor.is_nested())
    fail(ErrorCode::unsupported, {"view_of", "layout", "a dense (strided) tensor",
                                  tensor.is_nested() ? "a nested one" : c10::str(tensor.layout()),
                                  "Call to_dense(), or to_padded_tensor() for a nested tensor, first"});
}

bool lazily_changed(const at::Tensor& tensor) { return tensor.is_conj() || tensor.is_neg(); }

at::Tensor fetched(const at::Tensor& dense) {
  const at::Tensor copy = start_fetching(dense);
  c10::impl::VirtualGuardImpl(dense.device().type()).getStream(dense.device()).synchronize();
  return copy;
}

}  // namespace

DType to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kBool:
      return DType::boolean;
    case at::kByte:
      return DType::uint8;
    case at::kChar:
      return DType::int8;
    case at::kUInt16:
      return DType::uint16;
    case at::kShort:
      return DType::int16;
    case at::kUInt32:
      return DType::uint32;
    case at::kInt:
      return DType::int32;
    case at::kUInt64:
      return DType::uint64;
    case at::kLong:
      return DType::int64;
    case at::kHalf:
      return DType::float16;
    case at::kBFloat16:
      return DType::bfloat16;
    case at::kFloat:
      return DType::float32;
    case at::kDouble:
      return DType::float64;
    default:
      fail(ErrorCode::unsupported,
           {"to_dtype", "dtype", "bool, an integer, float16, bfloat16, float32 or float64",
            c10::toString(type),
            "Record a view of it in one of these types (torch::view_as_real, int_repr, …)"});
  }
}

at::ScalarType to_scalar_type(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return at::kBool;
    case DType::uint8:
      return at::kByte;
    case DType::int8:
      return at::kChar;
    case DType::uint16:
      return at::kUInt16;
    case DType::int16:
      return at::kShort;
    case DType::uint32:
      return at::kUInt32;
    case DType::int32:
      return at::kInt;
    case DType::uint64:
      return at::kUInt64;
    case DType::int64:
      return at::kLong;
    case DType::float16:
      return at::kHalf;
    case DType::bfloat16:
      return at::kBFloat16;
    case DType::float32:
      return at::kFloat;
    case DType::float64:
      return at::kDouble;
  }
  fail(ErrorCode::internal, {"to_scalar_type", "dtype", "a known number", fmt::to_string(int(dtype)), {}});
}

ConstView view_of(const at::Tensor& tensor) {
  check_layout(tensor);
  if (!tensor.device().is_cpu())
    fail(ErrorCode::unsupported, {"view_of", "device", "cpu", tensor.device().str(),
                                  "Call viewable(tensor), which copies to the CPU and waits for it"});
  if (lazily_changed(tensor))
    fail(ErrorCode::unsupported, {"view_of", "tensor", "plain values", "a lazy conjugate or negative",
                                  "Call resolve_conj().resolve_neg(), or viewable(tensor)"});
  if (!tensor.is_contiguous())
    fail(ErrorCode::invalid_argument,
         {"view_of", "strides", "a contiguous tensor",
          fmt::format("shape {} with strides {}", c10::str(tensor.sizes()), c10::str(tensor.strides())),
          "Call contiguous(), or viewable(tensor), which copies only when it must"});
  return view_of_dense(tensor);
}

ConstView view_of_dense(const at::Tensor& dense) {
  const auto sizes = dense.sizes();
  return {dense.const_data_ptr(), to_dtype(dense.scalar_type()), Shape(sizes.data(), sizes.size()),
          dense.is_cuda() ? Device::cuda : Device::cpu};
}

at::Tensor dense(const at::Tensor& tensor) {
  check_layout(tensor);
  const at::NoGradGuard no_grad;
  return tensor.detach().resolve_conj().resolve_neg().contiguous();
}

at::Tensor start_fetching(const at::Tensor& dense) {
  // LibTorch keeps pinned memory for the next copy.
  const at::Tensor copy = at::empty(dense.sizes(), dense.options().device(at::kCPU).pinned_memory(true));
  copy.copy_(dense, /*non_blocking=*/true);
  return copy;
}

at::Tensor viewable(const at::Tensor& tensor) {
  check_layout(tensor);
  if (tensor.device().is_cpu() && tensor.is_contiguous() && !lazily_changed(tensor)) return tensor;
  if (tensor.is_cuda()) return fetched(dense(tensor));
  const at::NoGradGuard no_grad;
  return dense(tensor).to(at::kCPU).contiguous();
}

fingerprint::Digest digest_of(const at::Tensor& tensor) {
  return fingerprint::digest(view_of(viewable(tensor)));
}

fingerprint::Digest digest_of(const torch::nn::Module& module) {
  std::string text;
  const auto add = [&text](const std::string& name, const at::Tensor& tensor) {
    text += name + '\0' + (tensor.defined() ? digest_of(tensor).hex() : std::string("undefined")) + '\n';
  };
  for (const auto& parameter : module.named_parameters()) add(parameter.key(), parameter.value());
  for (const auto& buffer : module.named_buffers()) add(buffer.key(), buffer.value());
  return fingerprint::digest_bytes(text.data(), text.size());
}

}  // namespace lockstep
