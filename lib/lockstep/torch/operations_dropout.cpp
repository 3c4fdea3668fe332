// Dropout: whether an element is kept depends on a key that the forward draws from LibTorch's generator and
// on the element's global row and place in it, so not on what else the batch holds. The mask is not kept:
// backward draws it again.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <fmt/format.h>

#include "lockstep/dropout/dropout.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/sample_order_internal.h"

namespace lockstep::invariant {
namespace {

constexpr const char* kName = "aten::dropout";

/// The seed of one call. LibTorch's generator is a Mersenne Twister, whose words every CPU has.
std::uint64_t draw_key() {
  auto* const generator =
      at::get_generator_or_default<at::CPUGeneratorImpl>(std::nullopt, at::detail::getDefaultCPUGenerator());
  const std::lock_guard lock(generator->mutex_);
  return generator->random64();
}

/// The global index of the first of a tensor's `rows`, which are its leading axis.
std::int64_t first_row(const MicroBatchPtr& micro_batch, std::int64_t rows) {
  if (!micro_batch || micro_batch->samples == 0) return 0;
  const bool packed = !micro_batch->lengths.empty() && rows == micro_batch->rows();
  const bool a_row_a_sample = rows == micro_batch->samples;
  if (packed && (!a_row_a_sample || micro_batch->first_row == micro_batch->first_sample))
    return micro_batch->first_row;
  if (!packed && (micro_batch->lengths.empty() ? rows % micro_batch->samples == 0 : a_row_a_sample))
    return micro_batch->first_sample * (rows / micro_batch->samples);
  fail(ErrorCode::invalid_argument,
       {kName, "input",
        fmt::format("the {} samples of the micro-batch along its first axis", micro_batch->samples),
        fmt::format("a first axis of {}{}", rows, packed ? ", which may be samples or packed rows" : ""),
        "Put the sample axis first (batch_first)"});
}

struct Draws {
  double p = 0;
  DropoutDraw draw;

  at::Tensor apply(const at::Tensor& tensor) const {
    const at::Tensor x = tensor.contiguous(), y = at::empty(x.sizes(), x.options().requires_grad(false));
    const std::int64_t rows = x.dim() == 0 ? 1 : x.size(0);
    const OnDevice on(kName, x);
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      dropout(x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), rows, rows == 0 ? 0 : x.numel() / rows, p, draw,
              on.device(), on.stream());
    });
    return y;
  }
};

at::Tensor with_gradient(const at::Tensor& x, const Draws& draws);

// A call is linear in its input, so its gradient is the same call on dy, and may be recorded again.
class LockstepDropoutBackward final : public Node {
 public:
  std::string name() const override { return "LockstepDropoutBackward"; }
  void save(const Draws& draws) { draws_ = draws; }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined()) return variable_list(1);
    LOCKSTEP_COUNT_CALL("dropout backward");
    return {with_gradient(gradients[0], draws_)};
  }

 private:
  Draws draws_;
};

at::Tensor with_gradient(const at::Tensor& x, const Draws& draws) {
  at::Tensor y;
  {
    const Computation computation;
    y = draws.apply(x);
  }
  if (!needs_node(x)) return y;
  const auto node = make_node<LockstepDropoutBackward>(x);
  node->save(draws);
  torch::autograd::set_history(y, node);
  return y;
}

Draws draws_for(const at::Tensor& x, double p) {
  Draws draws{p, {}};
  draws.draw.first_sample = first_row(open_micro_batch(), x.dim() == 0 ? 1 : x.size(0));
  draws.draw.seed = draw_key();
  return draws;
}

bool drops(const char* name, c10::DispatchKeySet keys, const at::Tensor& x, double p, bool train) {
  if (!(p >= 0 && p <= 1))
    fail(ErrorCode::invalid_argument, {name, "p", "a probability, 0 to 1", fmt::to_string(p), {}});
  if (!train || p == 0 || x.numel() == 0) return false;
  require_supported(name, keys, x);
  return true;
}

at::Tensor dropped(const char* name, const at::Tensor& x, double p) {
  const auto drop = [&](const at::Tensor& t) { return with_gradient(t, draws_for(t, p)); };
  const std::int64_t axis = sample_axis_of(name, x);
  return axis == 0 ? drop(x) : in_sample_order(x, axis, drop);
}

at::Tensor high_dropout(c10::DispatchKeySet keys, const at::Tensor& input, double p, bool train) {
  if (!drops(kName, keys, input, p, train)) return input;
  LOCKSTEP_COUNT_CALL(kName);
  return dropped(kName, input, p);
}

at::Tensor& high_dropout_(c10::DispatchKeySet keys, at::Tensor& self, double p, bool train) {
  if (!drops("aten::dropout_", keys, self, p, train)) return self;
  LOCKSTEP_COUNT_CALL("aten::dropout_");
  return self.copy_(dropped("aten::dropout_", self, p));
}

/// A factor for each channel of each sample: x is [N, C, ...].
at::Tensor channel_factors(const at::Tensor& x, double p) {
  if (x.dim() < 2)
    fail(ErrorCode::invalid_argument, {"aten::feature_dropout",
                                       "input",
                                       "2 axes or more: samples and channels",
                                       fmt::to_string(x.dim()),
                                       {}});
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes[0] = x.size(0);
  sizes[1] = x.size(1);
  const Draws draws = draws_for(x, p);
  const Computation computation;
  return draws.apply(at::ones(sizes, x.options().requires_grad(false)));
}

at::Tensor high_feature_dropout(c10::DispatchKeySet keys, const at::Tensor& input, double p, bool train) {
  if (!drops("aten::feature_dropout", keys, input, p, train)) return input;
  LOCKSTEP_COUNT_CALL("aten::feature_dropout");
  return at::mul(input, channel_factors(input, p));
}

at::Tensor& high_feature_dropout_(c10::DispatchKeySet keys, at::Tensor& self, double p, bool train) {
  if (!drops("aten::feature_dropout_", keys, self, p, train)) return self;
  LOCKSTEP_COUNT_CALL("aten::feature_dropout_");
  return self.mul_(channel_factors(self, p));
}

}  // namespace

void register_dropout(Registrar& registrar) {
  registrar.whole("dropout", TORCH_FN(high_dropout));
  registrar.whole("dropout_", TORCH_FN(high_dropout_));
  registrar.whole("feature_dropout", TORCH_FN(high_feature_dropout));
  registrar.whole("feature_dropout_", TORCH_FN(high_feature_dropout_));
}

}  // namespace lockstep::invariant
