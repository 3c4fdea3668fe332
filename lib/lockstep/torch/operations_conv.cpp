// Convolutions: a node of ours, since the gradients of weight and bias are folds over output pixels.

#include <ATen/ATen.h>
#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/conv/conv.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::invariant {
namespace {

constexpr const char* kName = "aten::convolution";

std::vector<std::int64_t> values_of(c10::SymIntArrayRef list) { return C10_AS_INTARRAYREF_SLOW(list).vec(); }

struct Settings {
  std::vector<std::int64_t> stride, pad, dilation;
  std::int64_t groups = 1;
};

/// Of [N, C, W] or [N, C, H, W]; a setting may be given once for both axes.
ConvGeometry geometry_of(const at::Tensor& x, const at::Tensor& weight, const Settings& s) {
  const bool is_plane = x.dim() == 4;
  const auto h = [&](const std::vector<std::int64_t>& list, std::int64_t line) {
    return is_plane ? list.front() : line;
  };
  ConvGeometry g;
  g.samples = x.size(0);
  g.in_channels = x.size(1);
  g.in_h = is_plane ? x.size(2) : 1;
  g.in_w = x.size(-1);
  g.out_channels = weight.size(0);
  g.kernel_h = is_plane ? weight.size(2) : 1;
  g.kernel_w = weight.size(-1);
  g.stride_h = h(s.stride, 1), g.stride_w = s.stride.back();
  g.pad_h = h(s.pad, 0), g.pad_w = s.pad.back();
  g.dilation_h = h(s.dilation, 1), g.dilation_w = s.dilation.back();
  g.groups = s.groups;
  return g;
}

[[noreturn]] void refuse_shapes(const std::string& expected, const std::string& got) {
  fail(ErrorCode::invalid_argument, {kName, "shapes", expected, got, {}});
}

void require_shapes(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    const Settings& s) {
  if (x.dim() < 3 || x.dim() > 4)
    fail(ErrorCode::unsupported,
         {kName, "input", "one or two dimensions behind samples and channels", shape_text(x),
          "Convolutions of volumes have no invariant kernels: leave the mode around them"});
  if (weight.dim() != x.dim())
    refuse_shapes(fmt::format("a weight of {} axes, as the input has", x.dim()),
                  fmt::format("[{}]", fmt::join(weight.sizes(), ", ")));
  if (s.groups < 1 || x.size(1) != weight.size(1) * s.groups)
    refuse_shapes(fmt::format("an input of {} channels in {} groups", weight.size(1) * s.groups, s.groups),
                  fmt::format("[{}]", fmt::join(x.sizes(), ", ")));
  require_strides(kName, s.stride);
  if (bias.defined() && (bias.dim() != 1 || bias.size(0) != weight.size(0)))
    refuse_shapes(fmt::format("a bias of {} elements", weight.size(0)),
                  fmt::format("[{}]", fmt::join(bias.sizes(), ", ")));
}

void refuse_transposed() {
  fail(ErrorCode::unsupported,
       {kName, "transposed", "a convolution", "a transposed one (ConvTranspose1d, ConvTranspose2d)",
        "It has no invariant kernels: take an upsampling by interpolation or by repeat_interleave and a "
        "convolution, or leave the mode around it"});
}

class LockstepConvolutionBackward final : public Node {
 public:
  std::string name() const override { return "LockstepConvolutionBackward"; }
  void release_variables() override {
    x_.reset_data();
    weight_.reset_data();
  }

  void save(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& g) {
    x_ = SavedVariable(x, false);
    weight_ = SavedVariable(weight, false);
    has_bias_ = bias.defined();
    if (has_bias_) bias_ = SavedVariable(bias, false);
    geometry_ = g;
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    refuse_create_graph(*this, "Leave the mode for a double backward through a convolution");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("convolution backward");
    const at::Tensor dy = gradients[0].contiguous(), weight = weight_.unpack();
    variable_list results(3);
    if (task_should_compute_output(0)) results[0] = input_gradient(dy, weight);
    fold_parameters(dy, weight, results);
    return results;
  }

 private:
  at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
    const at::Tensor x = x_.unpack(), dense = weight.contiguous();
    const at::Tensor dx = at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::Contiguous));
    const OnDevice on("convolution backward", dy, dense);
    by_dtype(dy, [&](auto zero) {
      using T = decltype(zero);
      conv_input_gradient(BasicConvInputGradient<T>{dy.const_data_ptr<T>(), dense.const_data_ptr<T>(),
                                                    dx.mutable_data_ptr<T>(), geometry_},
                          on.device(), on.stream());
    });
    return dx;
  }

  void fold_parameters(const at::Tensor& dy, const at::Tensor& weight, variable_list& results) {
    const std::int64_t rows = geometry_.samples * geometry_.out_pixels();
    const at::Tensor bias = has_bias_ ? bias_.unpack() : at::Tensor();
    std::optional<FoldTarget> dweight, dbias;
    if (task_should_compute_output(1))
      dweight.emplace(*this, 1, PlaceKind::convolution, window_of(weight), rows, micro_batch_,
                      weight.options());
    if (has_bias_ && task_should_compute_output(2))
      dbias.emplace(*this, 2, PlaceKind::bias, window_of(bias), rows, micro_batch_, bias.options());
    if (!dweight && !dbias) return;
    const at::Tensor x = dweight ? x_.unpack().contiguous() : at::Tensor();
    const order::FoldSpan span = dweight ? dweight->span() : dbias->span();
    OnDevice on("convolution backward", dy, x);
    by_dtype(dy, [&](auto zero) {
      using T = decltype(zero);
      const std::int64_t scratch = on.is_cuda() ? conv_weight_gradient_scratch_elements(geometry_, span) : 0;
      conv_weight_gradient(
          BasicConvWeightGradient<T>{dy.const_data_ptr<T>(), data_or_null<T>(x),
                                     memory_of<BasicConvFold, T>(dweight), memory_of<BasicConvFold, T>(dbias),
                                     span, geometry_, on.scratch<T>(scratch)},
          on.device(), on.stream());
    });
    if (dweight) results[1] = dweight->returned(weight);
    if (dbias) results[2] = dbias->returned(bias);
  }

  SavedVariable x_, weight_, bias_;
  ConvGeometry geometry_;
  bool has_bias_ = false;
  MicroBatchPtr micro_batch_;
};

at::Tensor forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   const ConvGeometry& g) {
  const Computation computation;
  const at::Tensor image = x.contiguous(), filters = weight.contiguous();
  const at::Tensor offsets = bias.defined() ? bias.contiguous() : bias;
  std::vector<std::int64_t> sizes{g.samples, g.out_channels};
  if (x.dim() == 4) sizes.push_back(std::max<std::int64_t>(0, g.out_h()));
  sizes.push_back(std::max<std::int64_t>(0, g.out_w()));
  const at::Tensor y = at::empty(sizes, image.options());
  const OnDevice on(kName, image, filters, offsets);
  by_dtype(image, [&](auto zero) {
    using T = decltype(zero);
    conv(BasicConv<T>{image.const_data_ptr<T>(), filters.const_data_ptr<T>(), data_or_null<T>(offsets),
                      y.mutable_data_ptr<T>(), g},
         on.device(), on.stream());
  });
  return y;
}

at::Tensor high_convolution(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& given_bias, c10::SymIntArrayRef stride,
                            c10::SymIntArrayRef pad, c10::SymIntArrayRef dilation, bool transposed,
                            c10::SymIntArrayRef, c10::SymInt groups) {
  for (const at::Tensor* t : {&x, &weight}) require_supported(kName, keys, *t);
  if (transposed) refuse_transposed();
  LOCKSTEP_COUNT_CALL(kName);
  const at::Tensor bias = given_bias.value_or(at::Tensor());
  const Settings settings{values_of(stride), values_of(pad), values_of(dilation), groups.expect_int()};
  require_shapes(x, weight, bias, settings);
  const ConvGeometry g = geometry_of(x, weight, settings);
  const at::Tensor y = forward(x, weight, bias, g);
  if (!needs_node(x, weight, bias)) return y;
  require_sample_major(kName, open_micro_batch(), x);
  // Held until the edges hold them.
  const auto weight_node = prepare_parameter(weight);
  const auto bias_node = prepare_parameter(bias);
  const auto node = make_node<LockstepConvolutionBackward>(x, weight, bias);
  node->save(x, weight, bias, g);
  torch::autograd::set_history(y, node);
  return y;
}

/// What a traced module calls.
at::Tensor high_underscored(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                            c10::SymIntArrayRef pad, c10::SymIntArrayRef dilation, bool transposed,
                            c10::SymIntArrayRef output_pad, c10::SymInt groups, bool, bool, bool, bool) {
  return high_convolution(keys, x, weight, bias, stride, pad, dilation, transposed, output_pad,
                          std::move(groups));
}

}  // namespace

void register_convolutions(Registrar& registrar) {
  registrar.whole("convolution", TORCH_FN(high_convolution));
  registrar.whole("_convolution", TORCH_FN(high_underscored));
}

}  // namespace lockstep::invariant
