// Elementwise operations that are more than one IEEE operation, and sums and products with broadcast
// parameters.

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include "lockstep/elementwise/elementwise.h"
#include "lockstep/torch/broadcast_node_internal.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/division_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/embedding_node_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

/// A tensor as an elementwise operand of `out`: contiguous memory, or its one number, which may be of another
/// dtype where LibTorch lets it be, and on the CPU beside a CUDA device. Nobody waits for a number that lies
/// on a device.
template <class T>
class Values {
 public:
  Values(const at::Tensor& tensor, const at::Tensor& out) {
    constexpr at::ScalarType kType = c10::CppTypeToScalarType<T>::value;
    const bool is_number = tensor.numel() == 1 && (tensor.dim() == 0 || !tensor.is_floating_point() ||
                                                   tensor.scalar_type() == kType);
    if (is_number && tensor.is_cpu() && (tensor.dim() == 0 || out.is_cpu()))
      number_ = tensor.item<T>();
    else
      memory_ = (is_number ? tensor.to(kType) : tensor).expand(out.sizes()).contiguous();
  }
  const at::Tensor& memory() const { return memory_; }  ///< undefined: a number
  operator BasicOperand<T>() const {
    return memory_.defined() ? BasicOperand<T>(memory_.const_data_ptr<T>()) : BasicOperand<T>(number_);
  }

 private:
  at::Tensor memory_;
  T number_ = 0;
};

/// Runs write(memory) for a contiguous tensor of `self`'s shape and dtype T, and puts the result into self.
template <class T, class Write>
void write_into(const at::Tensor& self, Write&& write) {
  if (self.is_contiguous()) return write(self.mutable_data_ptr<T>());
  const at::Tensor dense = at::empty(self.sizes(), self.options());
  write(dense.mutable_data_ptr<T>());
  self.copy_(dense);
}

at::Tensor result_like(const at::Tensor& like, at::IntArrayRef shape) {
  return at::empty(shape, like.options().memory_format(std::nullopt));
}

// ---- x + alpha · y
// ----------------------------------------------------------------------------------------------------

void add_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& other, int sign,
              const at::Scalar& alpha) {
  by_dtype(out, [&](auto zero) {
    using T = decltype(zero);
    const Values<T> left(x, out), right(other, out);
    const OnDevice on("aten::add", out, left.memory(), right.memory());
    const T factor = static_cast<T>(sign) * alpha.to<T>();
    write_into<T>(out, [&](T* memory) {
      add_scaled(memory, left, right, factor, out.numel(), on.device(), on.stream());
    });
  });
}

template <int sign>
at::Tensor low_add(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other,
                   const at::Scalar& alpha) {
  require_supported("aten::add", keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::add.Tensor");
  take_over_thread_count();
  const bool self_is_number = self.is_cpu() && self.dim() == 0 && other.is_cuda();
  const at::Tensor out =
      result_like(self_is_number ? other : self, at::infer_size(self.sizes(), other.sizes()));
  add_into(out, self, other, sign, alpha);
  return out;
}

template <int sign>
at::Tensor& low_add_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& other,
                     const at::Scalar& alpha) {
  require_supported("aten::add_", keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::add_.Tensor");
  take_over_thread_count();
  add_into(self, self, other, sign, alpha);
  return self;
}

bool is_plain_sum(const at::Tensor& self, const at::Tensor& other, const at::Scalar& alpha) {
  return alpha.equal(1) ||
         !(at::isFloatingType(self.scalar_type()) || at::isFloatingType(other.scalar_type()));
}

/// What add, subtract, multiply and divide have in common at kHigh: parameters that are broadcast get a node,
/// other broadcasts over the batch are refused.
struct Broadcast {
  Broadcast(const char* name, c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other) {
    require_plain(name, keys);
    if (!records_gradients() || !(self.requires_grad() || other.requires_grad())) return;
    shape = at::infer_size(self.sizes(), other.sizes());
    const bool one_dtype = self.scalar_type() == other.scalar_type();
    if (is_row_parameter(other, shape) && self.sizes() == at::IntArrayRef(shape) && one_dtype)
      right_parameter = true;
    else if (is_row_parameter(self, shape) && other.sizes() == at::IntArrayRef(shape) && one_dtype)
      left_parameter = true;
    else
      for (const at::Tensor* operand : {&self, &other}) require_no_computed_broadcast(name, *operand, shape);
  }
  std::vector<std::int64_t> shape;
  bool left_parameter = false, right_parameter = false;
};

at::Tensor high_add(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other,
                    const at::Scalar& alpha) {
  if (const at::Tensor rows = embedding_for_each_sample(other, self.sizes()); rows.defined())
    return high_add(keys, self, rows, alpha);
  if (const at::Tensor rows = embedding_for_each_sample(self, other.sizes()); rows.defined())
    return high_add(keys, rows, other, alpha);
  const Broadcast broadcast("aten::add", keys, self, other);
  if (!is_plain_sum(self, other, alpha))
    return at::_ops::add_Tensor::redispatch(through_low(keys), self, other, alpha);
  if (broadcast.right_parameter)
    return broadcast_parameter("aten::add", BroadcastOperation::add, self, other, false);
  if (broadcast.left_parameter)
    return broadcast_parameter("aten::add", BroadcastOperation::add, other, self, false);
  return at::_ops::add_Tensor::redispatch(past_high(keys), self, other, alpha);
}

at::Tensor& high_add_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& other,
                      const at::Scalar& alpha) {
  const Broadcast broadcast("aten::add_", keys, self, other);
  if (!is_plain_sum(self, other, alpha))
    return at::_ops::add__Tensor::redispatch(through_low(keys), self, other, alpha);
  if (broadcast.right_parameter) {
    broadcast_parameter("aten::add_", BroadcastOperation::add, self, other, true);
    return self;
  }
  return at::_ops::add__Tensor::redispatch(past_high(keys), self, other, alpha);
}

at::Tensor high_sub(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other,
                    const at::Scalar& alpha) {
  const Broadcast broadcast("aten::sub", keys, self, other);
  if (!is_plain_sum(self, other, alpha))
    return at::_ops::sub_Tensor::redispatch(through_low(keys), self, other, alpha);
  if (broadcast.right_parameter)
    return broadcast_parameter("aten::sub", BroadcastOperation::subtract, self, other, false);
  if (broadcast.left_parameter) require_no_computed_broadcast("aten::sub", self, broadcast.shape);
  return at::_ops::sub_Tensor::redispatch(past_high(keys), self, other, alpha);
}

at::Tensor& high_sub_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& other,
                      const at::Scalar& alpha) {
  const Broadcast broadcast("aten::sub_", keys, self, other);
  if (!is_plain_sum(self, other, alpha))
    return at::_ops::sub__Tensor::redispatch(through_low(keys), self, other, alpha);
  if (broadcast.right_parameter) {
    broadcast_parameter("aten::sub_", BroadcastOperation::subtract, self, other, true);
    return self;
  }
  return at::_ops::sub__Tensor::redispatch(past_high(keys), self, other, alpha);
}

at::Tensor high_mul(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other) {
  const Broadcast broadcast("aten::mul", keys, self, other);
  if (broadcast.right_parameter)
    return broadcast_parameter("aten::mul", BroadcastOperation::multiply, self, other, false);
  if (broadcast.left_parameter)
    return broadcast_parameter("aten::mul", BroadcastOperation::multiply, other, self, false);
  return at::_ops::mul_Tensor::redispatch(past_high(keys), self, other);
}

at::Tensor& high_mul_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& other) {
  const Broadcast broadcast("aten::mul_", keys, self, other);
  if (broadcast.right_parameter) {
    broadcast_parameter("aten::mul_", BroadcastOperation::multiply, self, other, true);
    return self;
  }
  return at::_ops::mul__Tensor::redispatch(past_high(keys), self, other);
}

at::Tensor high_div(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other) {
  const Broadcast broadcast("aten::div", keys, self, other);
  if (broadcast.right_parameter) require_no_computed_broadcast("aten::div", other, broadcast.shape);
  if (broadcast.left_parameter) require_no_computed_broadcast("aten::div", self, broadcast.shape);
  return at::_ops::div_Tensor::redispatch(past_high(keys), self, divisor_of(self, other));
}

at::Tensor& high_div_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& other) {
  const Broadcast broadcast("aten::div_", keys, self, other);
  if (broadcast.right_parameter) require_no_computed_broadcast("aten::div_", other, broadcast.shape);
  return at::_ops::div__Tensor::redispatch(past_high(keys), self, divisor_of(self, other));
}

at::Tensor& high_div_out(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& other,
                         at::Tensor& out) {
  require_plain("aten::div", keys);
  return at::_ops::div_out::redispatch(past_high(keys), self, divisor_of(self, other), out);
}

// ---- addcmul, addcdiv, lerp
// -------------------------------------------------------------------------------------------

template <class Function>
void ternary_into(const char* name, Function function, const at::Tensor& out, const at::Tensor& x,
                  const at::Tensor& a, const at::Tensor& b, const at::Scalar& value) {
  take_over_thread_count();
  by_dtype(out, [&](auto zero) {
    using T = decltype(zero);
    const Values<T> first(x, out), second(a, out), third(b, out);
    const OnDevice on(name, out, first.memory(), second.memory(), third.memory());
    write_into<T>(out, [&](T* memory) {
      function(memory, first, second, third, value.to<T>(), out.numel(), on.device(), on.stream());
    });
  });
}

template <Name name, auto function>
at::Tensor low_ternary(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& a,
                       const at::Tensor& b, const at::Scalar& value) {
  require_supported(name.text, keys, self);
  const InsideKernel inside;
  const auto shape = at::infer_size(at::infer_size(self.sizes(), a.sizes()), b.sizes());
  const at::Tensor out = result_like(self, shape);
  ternary_into(name.text, function, out, self, a, b, value);
  return out;
}

template <Name name, auto function>
at::Tensor& low_ternary_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                         const at::Scalar& value) {
  require_supported(name.text, keys, self);
  const InsideKernel inside;
  ternary_into(name.text, function, self, self, a, b, value);
  return self;
}

void lerp_into(const at::Tensor& out, const at::Tensor& x, const at::Tensor& end, const at::Scalar& weight) {
  take_over_thread_count();
  by_dtype(out, [&](auto zero) {
    using T = decltype(zero);
    const Values<T> first(x, out), last(end, out);
    const OnDevice on("aten::lerp", out, first.memory(), last.memory());
    write_into<T>(out, [&](T* memory) {
      lerp(memory, first, last, weight.to<T>(), out.numel(), on.device(), on.stream());
    });
  });
}

at::Tensor low_lerp(c10::DispatchKeySet keys, const at::Tensor& self, const at::Tensor& end,
                    const at::Scalar& weight) {
  require_supported("aten::lerp", keys, self);
  const InsideKernel inside;
  const at::Tensor out = result_like(self, at::infer_size(self.sizes(), end.sizes()));
  lerp_into(out, self, end, weight);
  return out;
}

at::Tensor& low_lerp_(c10::DispatchKeySet keys, at::Tensor& self, const at::Tensor& end,
                      const at::Scalar& weight) {
  require_supported("aten::lerp_", keys, self);
  const InsideKernel inside;
  lerp_into(self, self, end, weight);
  return self;
}

// The room's overloads, each as one object that a template takes.
constexpr auto kAddcmul = [](auto... a) { addcmul(a...); };
constexpr auto kAddcdiv = [](auto... a) { addcdiv(a...); };

}  // namespace

void register_elementwise(Registrar& registrar) {
  registrar.whole("add.Tensor", TORCH_FN(high_add));
  registrar.whole("add_.Tensor", TORCH_FN(high_add_));
  registrar.whole("sub.Tensor", TORCH_FN(high_sub));
  registrar.whole("sub_.Tensor", TORCH_FN(high_sub_));
  registrar.whole("mul.Tensor", TORCH_FN(high_mul));
  registrar.whole("mul_.Tensor", TORCH_FN(high_mul_));
  registrar.whole("div.Tensor", TORCH_FN(high_div));
  registrar.whole("div_.Tensor", TORCH_FN(high_div_));
  registrar.whole("div.out", TORCH_FN(high_div_out));
  registrar.low.impl("add.Tensor", TORCH_FN(low_add<1>));
  registrar.low.impl("add_.Tensor", TORCH_FN(low_add_<1>));
  registrar.low.impl("sub.Tensor", TORCH_FN(low_add<-1>));
  registrar.low.impl("sub_.Tensor", TORCH_FN(low_add_<-1>));
  registrar.compute("addcmul", TORCH_FN((low_ternary<"aten::addcmul", kAddcmul>)));
  registrar.compute("addcmul_", TORCH_FN((low_ternary_<"aten::addcmul_", kAddcmul>)));
  registrar.compute("addcdiv", TORCH_FN((low_ternary<"aten::addcdiv", kAddcdiv>)));
  registrar.compute("addcdiv_", TORCH_FN((low_ternary_<"aten::addcdiv_", kAddcdiv>)));
  registrar.compute("lerp.Scalar", TORCH_FN(low_lerp));
  registrar.compute("lerp_.Scalar", TORCH_FN(low_lerp_));
}

}  // namespace lockstep::invariant
