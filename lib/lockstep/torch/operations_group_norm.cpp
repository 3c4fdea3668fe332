// GroupNorm (and InstanceNorm, which is one group a channel): a node of ours, since the gradients of their
// weights are folds over pixels. BatchNorm, whose statistic is the batch, is refused here.

#include <ATen/ATen.h>
#include <cstddef>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/norm/norm.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/operands_internal.h"
#include "lockstep/torch/square_root_internal.h"

namespace lockstep::invariant {
namespace {

at::Tensor dense_or_undefined(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.contiguous() : tensor;
}

struct Extents {
  std::int64_t samples = 0, channels = 0, pixels = 0, groups = 1;

  std::int64_t rows() const { return samples * pixels; }
};

/// What the forward leaves for the backward: [samples, groups] each.
struct Statistics {
  at::Tensor mean, rstd;
};

class LockstepGroupNormBackward final : public Node {
 public:
  std::string name() const override { return "LockstepGroupNormBackward"; }
  void release_variables() override {
    x_.reset_data();
    gamma_.reset_data();
    statistics_ = {};
  }

  void save(const Extents& extents, Statistics statistics, const at::Tensor& x, const at::Tensor& gamma,
            const at::Tensor& beta) {
    extents_ = extents;
    statistics_ = std::move(statistics);
    x_ = SavedVariable(x, false);
    has_gamma_ = gamma.defined();
    has_beta_ = beta.defined();
    if (has_gamma_) gamma_ = SavedVariable(gamma, false);
    if (has_beta_) beta_ = SavedVariable(beta, false);
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(3);
    refuse_create_graph(*this, "Leave the mode for a double backward through a norm");
    const Computation computation;
    LOCKSTEP_COUNT_CALL("group_norm backward");
    const at::Tensor dy = gradients[0].contiguous(), x = x_.unpack().contiguous();
    const at::Tensor gamma = has_gamma_ ? gamma_.unpack() : at::Tensor(), scale = dense_or_undefined(gamma);
    variable_list results(3);
    if (task_should_compute_output(0)) results[0] = at::empty(x.sizes(), x.options().requires_grad(false));
    std::optional<FoldTarget> dgamma, dbeta;
    const at::Tensor beta = has_beta_ ? beta_.unpack() : at::Tensor();
    if (has_gamma_ && task_should_compute_output(1)) dgamma.emplace(target(1, PlaceKind::scale, gamma));
    if (has_beta_ && task_should_compute_output(2)) dbeta.emplace(target(2, PlaceKind::bias, beta));
    const order::FoldSpan span = dgamma  ? dgamma->span()
                                 : dbeta ? dbeta->span()
                                         : order::FoldSpan{0, extents_.rows(), true};
    OnDevice on("group_norm backward", dy, x, scale);
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      group_norm_backward(
          BasicGroupNormBackward<T>{
              dy.const_data_ptr<T>(), x.const_data_ptr<T>(), statistics_.mean.const_data_ptr<T>(),
              statistics_.rstd.const_data_ptr<T>(), data_or_null<T>(scale),
              results[0].defined() ? results[0].mutable_data_ptr<T>() : nullptr,
              memory_of<BasicNormFold, T>(dgamma), memory_of<BasicNormFold, T>(dbeta), span, extents_.samples,
              extents_.channels, extents_.pixels, extents_.groups,
              on.scratch<std::byte>(norm_backward_scratch_bytes(extents_.channels, span))},
          on.device(), on.stream());
    });
    if (dgamma) results[1] = dgamma->returned(gamma);
    if (dbeta) results[2] = dbeta->returned(beta);
    return results;
  }

 private:
  FoldTarget target(std::size_t input, PlaceKind kind, const at::Tensor& parameter) {
    return {*this, input, kind, window_of(parameter), extents_.rows(), micro_batch_, parameter.options()};
  }

  SavedVariable x_, gamma_, beta_;
  Extents extents_;
  Statistics statistics_;
  bool has_gamma_ = false, has_beta_ = false;
  MicroBatchPtr micro_batch_;
};

void require_channels(const char* name, const at::Tensor& parameter, std::int64_t channels) {
  require_elements(name, "weight", parameter, channels, "a channel");
}

at::Tensor normalise(const char* name, const at::Tensor& x, std::int64_t groups, const at::Tensor& gamma,
                     const at::Tensor& beta, double eps) {
  if (x.dim() < 2)
    fail(ErrorCode::invalid_argument, {name, "input", "[samples, channels, …]", shape_text(x), {}});
  Extents e{x.size(0), x.size(1), 1, groups};
  for (std::int64_t axis = 2; axis < x.dim(); ++axis) e.pixels *= x.size(axis);
  require_channels(name, gamma, e.channels);
  require_channels(name, beta, e.channels);
  Statistics statistics;
  at::Tensor y;
  {
    const Computation computation;
    const at::Tensor image = x.contiguous(), scale = dense_or_undefined(gamma),
                     shift = dense_or_undefined(beta);
    y = at::empty(image.sizes(), image.options());
    statistics = {at::empty({e.samples, groups}, image.options()),
                  at::empty({e.samples, groups}, image.options())};
    const OnDevice on(name, image, scale, shift);
    by_dtype(image, [&](auto zero) {
      using T = decltype(zero);
      group_norm(BasicGroupNorm<T>{image.const_data_ptr<T>(), data_or_null<T>(scale), data_or_null<T>(shift),
                                   y.mutable_data_ptr<T>(), statistics.mean.mutable_data_ptr<T>(),
                                   statistics.rstd.mutable_data_ptr<T>(), e.samples, e.channels, e.pixels,
                                   groups, eps},
                 on.device(), on.stream());
    });
  }
  if (!needs_node(x, gamma, beta)) return y;
  require_sample_major(name, open_micro_batch(), x);
  // Held until the edges hold them.
  const auto gamma_node = prepare_parameter(gamma);
  const auto beta_node = prepare_parameter(beta);
  const auto node = make_node<LockstepGroupNormBackward>(x, gamma, beta);
  node->save(e, std::move(statistics), x, gamma, beta);
  torch::autograd::set_history(y, node);
  return y;
}

at::Tensor high_group_norm(c10::DispatchKeySet keys, const at::Tensor& x, std::int64_t groups,
                           const std::optional<at::Tensor>& gamma, const std::optional<at::Tensor>& beta,
                           double eps, bool) {
  require_supported("aten::group_norm", keys, x);
  LOCKSTEP_COUNT_CALL("aten::group_norm");
  return normalise("aten::group_norm", x, groups, gamma.value_or(at::Tensor()), beta.value_or(at::Tensor()),
                   eps);
}

[[noreturn]] void refuse_running_statistics(const char* name) {
  fail(ErrorCode::unsupported, {name, "running statistics", "statistics of each sample alone",
                                "running ones, whose updates depend on how the batch is cut",
                                "Make the InstanceNorm without track_running_stats"});
}

at::Tensor high_instance_norm(c10::DispatchKeySet keys, const at::Tensor& x,
                              const std::optional<at::Tensor>& gamma, const std::optional<at::Tensor>& beta,
                              const std::optional<at::Tensor>& mean,
                              const std::optional<at::Tensor>& variance, bool use_input_stats, double,
                              double eps, bool) {
  constexpr const char* kName = "aten::instance_norm";
  require_supported(kName, keys, x);
  const auto is_given = [](const std::optional<at::Tensor>& tensor) { return tensor && tensor->defined(); };
  if (!use_input_stats || is_given(mean) || is_given(variance)) refuse_running_statistics(kName);
  LOCKSTEP_COUNT_CALL(kName);
  return normalise(kName, x, x.dim() > 1 ? x.size(1) : 1, gamma.value_or(at::Tensor()),
                   beta.value_or(at::Tensor()), eps);
}

[[noreturn]] void refuse_batch_statistics() {
  fail(ErrorCode::unsupported,
       {"aten::batch_norm", "training", "a norm whose statistics belong to one sample",
        "BatchNorm, whose statistics are those of the whole batch: a sample's result depends on the others, "
        "and "
        "on how the batch is cut",
        "Replace it by torch::nn::GroupNorm (GroupNorm(32, channels) is usual), or freeze it with eval()"});
}

/// With the running statistics each pixel stands alone: single operations, one rounding each.
at::Tensor with_running_statistics(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                                   const at::Tensor& mean, const at::Tensor& variance, double eps) {
  if (needs_node(x, gamma, beta))
    fail(
        ErrorCode::unsupported,
        {"aten::batch_norm", "gradient", "evaluation without gradients", "a frozen BatchNorm that needs them",
         "Use NoGradGuard, fold it into the convolution before it, or replace it by torch::nn::GroupNorm"});
  const Computation computation;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
  shape[1] = x.size(1);
  const at::Tensor rstd = square_root(variance + eps).reciprocal();
  at::Tensor y = (x - mean.view(shape)).mul_(rstd.view(shape));
  if (gamma.defined()) y.mul_(gamma.view(shape));
  if (beta.defined()) y.add_(beta.view(shape));
  return y;
}

at::Tensor high_batch_norm(c10::DispatchKeySet keys, const at::Tensor& x,
                           const std::optional<at::Tensor>& gamma, const std::optional<at::Tensor>& beta,
                           const std::optional<at::Tensor>& mean, const std::optional<at::Tensor>& variance,
                           bool training, double, double eps, bool) {
  require_supported("aten::batch_norm", keys, x);
  if (training || !mean || !variance || !mean->defined() || !variance->defined()) refuse_batch_statistics();
  if (x.dim() < 2)
    fail(ErrorCode::invalid_argument,
         {"aten::batch_norm", "input", "[samples, channels, …]", fmt::to_string(x.dim()) + " axes", {}});
  for (const at::Tensor& other : {gamma.value_or(x), beta.value_or(x), *mean, *variance})
    if (other.defined() && other.scalar_type() != x.scalar_type())
      fail(ErrorCode::invalid_argument, {"aten::batch_norm",
                                         "dtype",
                                         c10::toString(x.scalar_type()),
                                         c10::toString(other.scalar_type()),
                                         {}});
  LOCKSTEP_COUNT_CALL("aten::batch_norm");
  return with_running_statistics(x, gamma.value_or(at::Tensor()), beta.value_or(at::Tensor()), *mean,
                                 *variance, eps);
}

}  // namespace

void register_group_norms(Registrar& registrar) {
  registrar.whole("group_norm", TORCH_FN(high_group_norm));
  registrar.whole("instance_norm", TORCH_FN(high_instance_norm));
  registrar.whole("batch_norm", TORCH_FN(high_batch_norm));
}

}  // namespace lockstep::invariant
