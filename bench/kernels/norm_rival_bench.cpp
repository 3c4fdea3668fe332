// LayerNorm, RMSNorm and GroupNorm, forward and backward, against LibTorch's. Both sides allocate what they
// write.

#include <c10/core/InferenceMode.h>

#include "accuracy.h"
#include "lockstep/norm/norm.h"
#include "rival.h"

namespace {

using at::Tensor;

const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

void compare_layer_norm(std::int64_t rows, std::int64_t features, int argc, char** argv) {
  const std::string shape = " " + std::to_string(rows) + " x " + std::to_string(features);
  const Tensor x = at::randn({rows, features}), dy = at::randn({rows, features});
  const Tensor gamma = at::randn({features}), beta = at::randn({features});
  const auto [y, mean, rstd] = at::native_layer_norm(x, {features}, gamma, beta, 1e-5);
  const Tensor total_gamma = at::zeros({features}), total_beta = at::zeros({features});
  if (lockstep::bench::wanted("layer_norm", argc, argv)) {
    lockstep::bench::compare(
        "layer_norm" + shape,
        [&, &m = mean] {
          const Tensor result = at::empty_like(x), middle = at::empty_like(m), root = at::empty_like(m);
          lockstep::layer_norm(
              {in(x), in(gamma), in(beta), out(result), out(middle), out(root), rows, features});
        },
        [&] { at::native_layer_norm(x, {features}, gamma, beta, 1e-5); });
    lockstep::bench::compare(
        "layer_norm backward" + shape,
        [&, &m = mean, &s = rstd] {
          const Tensor dx = at::empty_like(x);
          lockstep::layer_norm_backward({in(dy),
                                         in(x),
                                         in(m),
                                         in(s),
                                         in(gamma),
                                         out(dx),
                                         {out(total_gamma), nullptr},
                                         {out(total_beta), nullptr},
                                         {0, rows, true},
                                         features});
        },
        [&, &m = mean, &s = rstd] {
          at::native_layer_norm_backward(dy, x, {features}, m, s, gamma, beta, {true, true, true});
        });
  }
  if (lockstep::bench::wanted("rms_norm", argc, argv)) {
    const Tensor root = at::empty({rows});
    lockstep::bench::compare(
        "rms_norm" + shape,
        [&] {
          const Tensor result = at::empty_like(x), own = at::empty({rows});
          lockstep::rms_norm({in(x), in(gamma), out(result), out(own), rows, features});
        },
        [&] { at::rms_norm(x, {features}, gamma, 1e-5); });
  }
}

void compare_group_norm(std::int64_t n, std::int64_t c, std::int64_t pixels, std::int64_t groups) {
  const std::string shape = " " + std::to_string(n) + " x " + std::to_string(c) + " x " +
                            std::to_string(pixels) + " / " + std::to_string(groups);
  const Tensor x = at::randn({n, c, pixels}), dy = at::randn({n, c, pixels});
  const Tensor gamma = at::randn({c}), beta = at::randn({c});
  const auto [y, mean, rstd] = at::native_group_norm(x, gamma, beta, n, c, pixels, groups, 1e-5);
  const Tensor total_gamma = at::zeros({c}), total_beta = at::zeros({c});
  lockstep::bench::compare(
      "group_norm" + shape,
      [&, &m = mean] {
        const Tensor result = at::empty_like(x), middle = at::empty_like(m), root = at::empty_like(m);
        lockstep::group_norm(
            {in(x), in(gamma), in(beta), out(result), out(middle), out(root), n, c, pixels, groups});
      },
      [&] { at::native_group_norm(x, gamma, beta, n, c, pixels, groups, 1e-5); });
  lockstep::bench::compare(
      "group_norm backward" + shape,
      [&, &m = mean, &s = rstd] {
        const Tensor dx = at::empty_like(x);
        lockstep::group_norm_backward({in(dy),
                                       in(x),
                                       in(m),
                                       in(s),
                                       in(gamma),
                                       out(dx),
                                       {out(total_gamma), nullptr},
                                       {out(total_beta), nullptr},
                                       {0, n * pixels, true},
                                       n,
                                       c,
                                       pixels,
                                       groups});
      },
      [&, &m = mean, &s = rstd] {
        at::native_group_norm_backward(dy, x, m, s, gamma, n, c, pixels, groups, {true, true, true});
      });
}

void print_accuracy(std::int64_t rows, std::int64_t features, double offset, const std::string& name) {
  at::manual_seed(1);
  const Tensor x = at::randn({rows, features}) + offset, dy = at::randn({rows, features});
  const Tensor gamma = at::randn({features}), beta = at::randn({features});
  const auto wide = [](const Tensor& t) { return t.to(at::kDouble); };
  const auto theirs = at::native_layer_norm(x, {features}, gamma, beta, 1e-5);
  const auto exact = at::native_layer_norm(wide(x), {features}, wide(gamma), wide(beta), 1e-5);
  const auto their_gradients = at::native_layer_norm_backward(
      dy, x, {features}, std::get<1>(theirs), std::get<2>(theirs), gamma, beta, {true, true, true});
  const auto exact_gradients =
      at::native_layer_norm_backward(wide(dy), wide(x), {features}, std::get<1>(exact), std::get<2>(exact),
                                     wide(gamma), wide(beta), {true, true, true});
  const Tensor y = at::empty_like(x), mean = at::empty({rows}), rstd = at::empty({rows}),
               dx = at::empty_like(x);
  const Tensor dgamma = at::zeros({features}), dbeta = at::zeros({features});
  lockstep::layer_norm({in(x), in(gamma), in(beta), out(y), out(mean), out(rstd), rows, features});
  lockstep::layer_norm_backward({in(dy),
                                 in(x),
                                 in(mean),
                                 in(rstd),
                                 in(gamma),
                                 out(dx),
                                 {out(dgamma), nullptr},
                                 {out(dbeta), nullptr},
                                 {0, rows, true},
                                 features});
  const std::string shape = " " + std::to_string(rows) + " x " + std::to_string(features) + name;
  lockstep::bench::print_errors("layer_norm" + shape, y, std::get<0>(theirs), std::get<0>(exact));
  lockstep::bench::print_errors("layer_norm dx" + shape, dx, std::get<0>(their_gradients),
                                std::get<0>(exact_gradients));
  lockstep::bench::print_errors("layer_norm dgamma" + shape, dgamma, std::get<1>(their_gradients),
                                std::get<1>(exact_gradients));
  lockstep::bench::print_errors("layer_norm dbeta" + shape, dbeta, std::get<2>(their_gradients),
                                std::get<2>(exact_gradients));
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  for (const auto& [rows, features] :
       {std::pair<std::int64_t, std::int64_t>{2048, 384}, {4096, 768}, {32, 1024}, {64, 9000}, {8192, 64}})
    compare_layer_norm(rows, features, argc, argv);
  if (lockstep::bench::wanted("group_norm", argc, argv)) {
    compare_group_norm(64, 32, 784, 8);
    compare_group_norm(64, 64, 196, 8);
    compare_group_norm(16, 128, 1024, 32);
  }
  if (lockstep::bench::wanted("accuracy", argc, argv)) {
    print_accuracy(512, 768, 0, ", normal");
    print_accuracy(512, 768, 100, ", normal + 100");
    print_accuracy(64, 9000, 0, ", normal");
    print_accuracy(1'000'000, 32, 0, ", normal");
  }
}
