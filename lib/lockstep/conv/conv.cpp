#include "lockstep/conv/conv.h"

#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/fold_plan_internal.h"

namespace lockstep {
namespace {

/// The checks of one call, in the words of its operation.
class Check {
 public:
  Check(const char* operation, const ConvGeometry& geometry) : operation_(operation), g_(geometry) {
    extent("samples", g_.samples);
    extent("in_channels", g_.in_channels);
    extent("out_channels", g_.out_channels);
    groups();
    axis("h", g_.in_h, g_.kernel_h, g_.stride_h, g_.pad_h, g_.dilation_h);
    axis("w", g_.in_w, g_.kernel_w, g_.stride_w, g_.pad_w, g_.dilation_w);
  }

  void memory(const char* name, const void* data, std::int64_t elements) const {
    internal::check_memory(operation_, name, data, elements);
  }
  template <class T>
  void fold(const char* name, const BasicConvFold<T>& fold, const order::FoldSpan& span,
            std::int64_t elements) const {
    if (fold.total == nullptr || fold.open != nullptr || elements == 0 || !order::needs_open_partial(span))
      return;
    refuse(std::string(name) + ".open", "memory, since the span's cuts leave a chunk open", "a null pointer");
  }
  void span(const order::FoldSpan& span) const {
    extent("span.first_row", span.first_row);
    const std::int64_t rows = g_.samples * g_.out_pixels();
    if (span.rows != rows)
      refuse("span.rows", "samples · output pixels, " + std::to_string(rows), std::to_string(span.rows));
  }
  template <class T>
  void device(Device device) const {
    internal::check_device_of<T>(operation_, device);
  }
  void scratch(const void* scratch, std::int64_t elements) const {
    internal::check_memory(operation_, "scratch", scratch, elements);
  }

  std::int64_t x_elements() const { return g_.samples * g_.in_channels * g_.in_h * g_.in_w; }
  std::int64_t weight_elements() const { return g_.out_channels * g_.taps(); }
  std::int64_t y_elements() const { return g_.samples * g_.out_channels * g_.out_pixels(); }

 private:
  void extent(const std::string& name, std::int64_t value, std::int64_t least = 0) const {
    internal::check_extent(operation_, name.c_str(), value, least);
  }
  void groups() const {
    extent("groups", g_.groups, 1);
    if (g_.in_channels % g_.groups == 0 && g_.out_channels % g_.groups == 0) return;
    refuse("groups",
           "a divisor of " + std::to_string(g_.in_channels) + " input and " +
               std::to_string(g_.out_channels) + " output channels",
           std::to_string(g_.groups));
  }
  void axis(const std::string& name, std::int64_t image, std::int64_t kernel, std::int64_t stride,
            std::int64_t pad, std::int64_t dilation) const {
    extent("in_" + name, image, 1);
    extent("kernel_" + name, kernel, 1);
    extent("stride_" + name, stride, 1);
    extent("pad_" + name, pad);
    extent("dilation_" + name, dilation, 1);
    const std::int64_t span = dilation * (kernel - 1) + 1;
    if (span > image + 2 * pad)
      refuse("kernel_" + name, "a kernel that fits the padded image of " + std::to_string(image + 2 * pad),
             "one of " + std::to_string(span) + " with its dilation");
  }
  [[noreturn]] void refuse(std::string what, std::string expected, std::string got) const {
    internal::refuse(operation_, std::move(what), std::move(expected), std::move(got));
  }

  const char* operation_;
  const ConvGeometry& g_;
};

// Each call checked, then computed.
namespace checked {

template <class T>
void conv(const BasicConv<T>& call, Device device, void* stream) {
  const Check check("conv", call.geometry);
  check.memory("x", call.x, check.x_elements());
  check.memory("weight", call.weight, check.weight_elements());
  check.memory("y", call.y, check.y_elements());
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return conv_internal::conv_cuda(call, stream);
  }
  conv_internal::conv_cpu(call);
}

template <class T>
void conv_input_gradient(const BasicConvInputGradient<T>& call, Device device, void* stream) {
  const Check check("conv_input_gradient", call.geometry);
  check.memory("dy", call.dy, check.y_elements());
  check.memory("weight", call.weight, check.weight_elements());
  check.memory("dx", call.dx, check.x_elements());
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return conv_internal::input_gradient_cuda(call, stream);
  }
  conv_internal::input_gradient_cpu(call);
}

template <class T>
void conv_weight_gradient(const BasicConvWeightGradient<T>& call, Device device, void* stream) {
  const Check check("conv_weight_gradient", call.geometry);
  check.span(call.span);
  check.memory("dy", call.dy, check.y_elements());
  if (call.dweight.total != nullptr) check.memory("x", call.x, check.x_elements());
  check.fold("dweight", call.dweight, call.span, check.weight_elements());
  check.fold("dbias", call.dbias, call.span, call.geometry.out_channels);
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) {
      if (call.dweight.total != nullptr || call.dbias.total != nullptr)
        check.scratch(call.scratch, conv_internal::fold_scratch_elements(call.geometry, call.span));
      return conv_internal::weight_gradient_cuda(call, stream);
    }
  }
  conv_internal::weight_gradient_cpu(call);
}

}  // namespace checked

}  // namespace

std::int64_t conv_weight_gradient_scratch_elements(const ConvGeometry& geometry,
                                                   const order::FoldSpan& span) {
  Check("conv_weight_gradient_scratch_elements", geometry).span(span);
  return conv_internal::fold_scratch_elements(geometry, span);
}

void conv(const Conv& call, Device device, void* stream) { checked::conv(call, device, stream); }
void conv_input_gradient(const ConvInputGradient& call, Device device, void* stream) {
  checked::conv_input_gradient(call, device, stream);
}
void conv_weight_gradient(const ConvWeightGradient& call, Device device, void* stream) {
  checked::conv_weight_gradient(call, device, stream);
}

void conv(const Conv64& call, Device device, void* stream) { checked::conv(call, device, stream); }
void conv_input_gradient(const ConvInputGradient64& call, Device device, void* stream) {
  checked::conv_input_gradient(call, device, stream);
}
void conv_weight_gradient(const ConvWeightGradient64& call, Device device, void* stream) {
  checked::conv_weight_gradient(call, device, stream);
}

}  // namespace lockstep
