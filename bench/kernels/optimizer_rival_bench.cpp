// Optimizer steps, the norm of all gradients and clipping, against LibTorch's: its fused kernels, its norm of
// lists.

#include <c10/core/InferenceMode.h>

#include "accuracy.h"
#include "lockstep/optimizer/optimizer.h"
#include "rival.h"

namespace {

using at::Tensor;

float* data(const Tensor& t) { return t.mutable_data_ptr<float>(); }

std::vector<Tensor> tensors(std::int64_t count, std::int64_t elements, bool random) {
  std::vector<Tensor> list;
  for (std::int64_t i = 0; i < count; ++i)
    list.push_back(random ? at::randn({elements}) : at::zeros({elements}));
  return list;
}

void compare_steps(std::int64_t count, std::int64_t elements) {
  const std::string shape = " " + std::to_string(count) + " x " + std::to_string(elements);
  const auto parameters = tensors(count, elements, true), gradients = tensors(count, elements, true);
  const auto first = tensors(count, elements, false), second = tensors(count, elements, false);
  std::vector<Tensor> steps;
  for (std::int64_t i = 0; i < count; ++i) steps.push_back(at::ones({}));
  std::vector<lockstep::AdamParameter> adam;
  std::vector<lockstep::SgdParameter> sgd;
  std::vector<std::span<const float>> spans;
  std::vector<std::span<float>> writable;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    adam.push_back(
        {data(parameters[i]), data(gradients[i]), data(first[i]), data(second[i]), nullptr, elements});
    sgd.push_back({data(parameters[i]), data(gradients[i]), data(first[i]), elements});
    spans.emplace_back(data(gradients[i]), static_cast<std::size_t>(elements));
    writable.emplace_back(data(gradients[i]), static_cast<std::size_t>(elements));
  }
  lockstep::AdamOptions adamw;
  adamw.weight_decay = 0.1;
  adamw.decoupled_weight_decay = true;
  lockstep::bench::compare(
      "adamw" + shape, [&] { lockstep::adam(adam, adamw, 1000); },
      [&] {
        at::_fused_adamw_(parameters, gradients, first, second, {}, steps, 1e-3, 0.9, 0.999, 0.1, 1e-8, false,
                          false);
      });
  lockstep::bench::compare(
      "sgd momentum" + shape,
      [&] {
        lockstep::sgd(sgd, {1e-3, 0.9});
      },
      [&] { at::_fused_sgd_(parameters, gradients, first, 0.0, 0.9, 1e-3, 0.0, false, false, false); });
  lockstep::bench::compare(
      "gradient norm" + shape, [&] { lockstep::gradient_norm(spans); },
      [&] { at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))); });
  lockstep::bench::compare(
      "clip" + shape, [&] { lockstep::clip_gradient_norm(writable, 1e9f); },
      [&] {
        const Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
        at::_foreach_mul_(gradients, at::clamp_max(1e9 / (norm + 1e-6), 1.0));
      });
}

void print_norm_accuracy(std::int64_t elements) {
  at::manual_seed(1);
  const Tensor gradient = at::randn({elements});
  const std::span<const float> span(data(gradient), static_cast<std::size_t>(elements));
  lockstep::bench::print_errors(
      "gradient norm of " + std::to_string(elements), at::scalar_tensor(lockstep::gradient_norm({&span, 1})),
      at::linalg_vector_norm(gradient), at::linalg_vector_norm(gradient.to(at::kDouble)));
}

/// 100 AdamW steps of normal gradients.
void print_adam_accuracy() {
  at::manual_seed(1);
  const std::int64_t n = 100'000;
  std::vector<Tensor> parameter{at::randn({n})}, mean{at::zeros({n})}, square{at::zeros({n})},
      step{at::zeros({})};
  const auto wide = [](const std::vector<Tensor>& list) {
    return std::vector<Tensor>{list[0].to(at::kDouble)};
  };
  const auto wide_parameter = wide(parameter), wide_mean = wide(mean), wide_square = wide(square);
  const std::vector<Tensor> wide_step{at::zeros({})};
  const Tensor own = parameter[0].clone(), own_mean = at::zeros({n}), own_square = at::zeros({n});
  lockstep::AdamOptions options;
  options.weight_decay = 0.1;
  options.decoupled_weight_decay = true;
  for (std::int64_t t = 1; t <= 100; ++t) {
    const std::vector<Tensor> gradient{at::randn({n})};
    const lockstep::AdamParameter one{data(own),        data(gradient[0]), data(own_mean),
                                      data(own_square), nullptr,           n};
    lockstep::adam({&one, 1}, options, t);
    step[0].add_(1);
    wide_step[0].add_(1);
    at::_fused_adamw_(parameter, gradient, mean, square, {}, step, 1e-3, 0.9, 0.999, 0.1, 1e-8, false, false);
    at::_fused_adamw_(wide_parameter, wide(gradient), wide_mean, wide_square, {}, wide_step, 1e-3, 0.9, 0.999,
                      0.1, 1e-8, false, false);
  }
  lockstep::bench::print_errors("adamw, parameter after 100 steps", own, parameter[0], wide_parameter[0]);
  lockstep::bench::print_errors("adamw, square after 100 steps", own_square, square[0], wide_square[0]);
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  if (lockstep::bench::wanted("accuracy", argc, argv)) {
    for (const std::int64_t elements : {1000, 100'000, 10'000'000}) print_norm_accuracy(elements);
    print_adam_accuracy();
  }
  if (!lockstep::bench::wanted("speed", argc, argv)) return 0;
  compare_steps(50, 1000);
  compare_steps(20, 147'456);
  compare_steps(4, 2'359'296);
}
