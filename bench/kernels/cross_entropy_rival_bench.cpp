// cross_entropy, fused, against LibTorch's log_softmax and nll_loss. usage: cross_entropy_rival_bench [part
// of a name]

#include <c10/core/InferenceMode.h>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include "lockstep/cross_entropy/cross_entropy.h"
#include "lockstep/row_sum/row_sum.h"
#include "rival.h"

namespace {

using lockstep::bench::wanted;

struct Problem {
  Problem(std::int64_t rows, std::int64_t classes)
      : logits(at::randn({rows, classes})),
        targets(at::randint(classes, {rows}, at::kLong)),
        loss(at::empty({rows})),
        row_max(at::empty({rows})),
        row_log_sum(at::empty({rows})),
        gradient(at::empty_like(logits)),
        log_probabilities(at::empty_like(logits)),
        log_gradient(at::empty_like(logits)),
        their_gradient(at::empty_like(logits)),
        one(at::ones({})),
        of{targets.data_ptr<std::int64_t>(), rows, classes} {}

  void our_forward() {
    lockstep::cross_entropy(logits.data_ptr<float>(), of, loss.data_ptr<float>(), row_max.data_ptr<float>(),
                            row_log_sum.data_ptr<float>());
    double total = 0;
    lockstep::row_sum_fold(loss.data_ptr<float>(), 1, 1, {0, of.rows, true}, &total, nullptr);
    mean = static_cast<float>(total) / static_cast<float>(of.rows);
  }
  void our_backward() {
    lockstep::cross_entropy_backward(logits.data_ptr<float>(), of, row_max.data_ptr<float>(),
                                     row_log_sum.data_ptr<float>(), {nullptr, lockstep::loss_scale(of.rows)},
                                     gradient.data_ptr<float>());
  }
  void their_forward() {
    at::_log_softmax_out(log_probabilities, logits, 1, false);
    std::tie(their_loss, weight) =
        at::nll_loss_forward(log_probabilities, targets, {}, at::Reduction::Mean, -100);
  }
  void their_backward() {
    at::nll_loss_backward_out(log_gradient, one, log_probabilities, targets, {}, at::Reduction::Mean, -100,
                              weight);
    at::_log_softmax_backward_data_out(their_gradient, log_gradient, log_probabilities, 1, at::kFloat);
  }

  at::Tensor logits, targets, loss, row_max, row_log_sum, gradient;
  at::Tensor log_probabilities, log_gradient, their_gradient, one, their_loss, weight;
  lockstep::ClassTargets of;
  float mean = 0;
};

/// Relative errors of the mean loss and of the gradient, of both, against LibTorch in double.
void print_errors(std::int64_t rows, std::int64_t classes) {
  Problem p(rows, classes);
  p.our_forward();
  p.our_backward();
  p.their_forward();
  p.their_backward();
  const at::Tensor y = at::log_softmax(p.logits.to(at::kDouble), 1);
  const auto [loss, weight] = at::nll_loss_forward(y, p.targets, {}, at::Reduction::Mean, -100);
  const at::Tensor dy =
      at::nll_loss_backward(at::ones({}, at::kDouble), y, p.targets, {}, at::Reduction::Mean, -100, weight);
  const at::Tensor dx = at::_log_softmax_backward_data(dy, y, 1, at::kDouble);
  const auto loss_error = [&](double of) { return std::abs(of / loss.item<double>() - 1); };
  const auto error = [&](const at::Tensor& of) {
    return ((of.to(at::kDouble) - dx).norm() / dx.norm()).item<double>();
  };
  std::printf("%lldx%lld  loss: error %.2e  LibTorch %.2e  gradient: error %.2e  LibTorch %.2e\n",
              static_cast<long long>(rows), static_cast<long long>(classes), loss_error(p.mean),
              loss_error(p.their_loss.item<float>()), error(p.gradient), error(p.their_gradient));
}

void shape(std::int64_t rows, std::int64_t classes, int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "errors") return print_errors(rows, classes);
  Problem p(rows, classes);
  const std::string size = std::to_string(rows) + "x" + std::to_string(classes);
  if (wanted("forward " + size, argc, argv))
    lockstep::bench::compare(
        "forward " + size, [&] { p.our_forward(); }, [&] { p.their_forward(); });
  p.our_forward();
  p.their_forward();
  if (wanted("backward " + size, argc, argv))
    lockstep::bench::compare(
        "backward " + size, [&] { p.our_backward(); }, [&] { p.their_backward(); });
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  shape(64, 10, argc, argv);
  shape(4096, 10, argc, argv);
  shape(1024, 1000, argc, argv);
  shape(512, 50257, argc, argv);
  if (argc > 1 && std::string(argv[1]) == "errors") print_errors(1 << 20, 10);
  return 0;
}
