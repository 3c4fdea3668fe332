// activation against LibTorch's elementwise kernels. usage: activation_rival_bench [part of a name | errors]

#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <string>

#include "lockstep/activation/activation.h"
#include "rival.h"

namespace {

using lockstep::GeluForm;
using lockstep::bench::wanted;

constexpr std::int64_t kSizes[] = {64 * 512, 8 * 256 * 1536, 16 << 20};

struct Tensors {
  explicit Tensors(std::int64_t n)
      : count(n), x(at::randn({n})), dy(at::randn({n})), ours(at::empty({n})), theirs(at::empty({n})) {}
  const float* in() const { return x.data_ptr<float>(); }
  const float* upstream() const { return dy.data_ptr<float>(); }
  float* out() { return ours.data_ptr<float>(); }

  std::int64_t count;
  at::Tensor x, dy, ours, theirs;
};

/// Relative L2 error of both against LibTorch's own kernel in double.
template <class Ours, class Theirs>
void print_errors(const std::string& name, Ours ours, Theirs theirs) {
  Tensors t(1 << 20);
  t.x.mul_(3);
  Tensors wide(0);
  wide.x = t.x.to(at::kDouble);
  wide.dy = t.dy.to(at::kDouble);
  wide.theirs = at::empty_like(wide.x);
  ours(t);
  theirs(t);
  theirs(wide);
  const auto error = [&](const at::Tensor& of) {
    return ((of.to(at::kDouble) - wide.theirs).norm() / wide.theirs.norm()).item<double>();
  };
  std::printf("%-44s    error %.2e  LibTorch %.2e\n", name.c_str(), error(t.ours), error(t.theirs));
}

template <class Ours, class Theirs>
void compare(const std::string& name, int argc, char** argv, Ours ours, Theirs theirs) {
  if (argc > 1 && std::string(argv[1]) == "errors") return print_errors(name, ours, theirs);
  if (!wanted(name, argc, argv)) return;
  for (const std::int64_t size : kSizes) {
    Tensors t(size);
    lockstep::bench::compare(
        name + " " + std::to_string(size), [&] { ours(t); }, [&] { theirs(t); });
  }
}

void smooth(int argc, char** argv) {
  compare(
      "silu", argc, argv, [](Tensors& t) { lockstep::silu(t.in(), t.out(), t.count); },
      [](Tensors& t) { at::silu_out(t.theirs, t.x); });
  compare(
      "silu_backward", argc, argv,
      [](Tensors& t) { lockstep::silu_backward(t.upstream(), t.in(), t.out(), t.count); },
      [](Tensors& t) { at::silu_backward_out(t.theirs, t.dy, t.x); });
  compare(
      "softplus", argc, argv, [](Tensors& t) { lockstep::softplus(t.in(), t.out(), t.count); },
      [](Tensors& t) { at::softplus_out(t.theirs, t.x); });
  compare(
      "softplus_backward", argc, argv,
      [](Tensors& t) { lockstep::softplus_backward(t.upstream(), t.in(), t.out(), t.count); },
      [](Tensors& t) { at::softplus_backward_out(t.theirs, t.dy, t.x, 1, 20); });
}

void gelu(int argc, char** argv) {
  compare(
      "gelu", argc, argv, [](Tensors& t) { lockstep::gelu(t.in(), t.out(), t.count, GeluForm::erf); },
      [](Tensors& t) { at::gelu_out(t.theirs, t.x, "none"); });
  compare(
      "gelu_backward", argc, argv,
      [](Tensors& t) { lockstep::gelu_backward(t.upstream(), t.in(), t.out(), t.count, GeluForm::erf); },
      [](Tensors& t) { at::gelu_backward_out(t.theirs, t.dy, t.x, "none"); });
  compare(
      "gelu_tanh", argc, argv, [](Tensors& t) { lockstep::gelu(t.in(), t.out(), t.count, GeluForm::tanh); },
      [](Tensors& t) { at::gelu_out(t.theirs, t.x, "tanh"); });
  compare(
      "gelu_tanh_backward", argc, argv,
      [](Tensors& t) { lockstep::gelu_backward(t.upstream(), t.in(), t.out(), t.count, GeluForm::tanh); },
      [](Tensors& t) { at::gelu_backward_out(t.theirs, t.dy, t.x, "tanh"); });
}

void plain(int argc, char** argv) {
  compare(
      "relu", argc, argv, [](Tensors& t) { lockstep::relu(t.in(), t.out(), t.count); },
      [](Tensors& t) { at::clamp_min_out(t.theirs, t.x, 0); });
  compare(
      "relu_backward", argc, argv,
      [](Tensors& t) { lockstep::relu_backward(t.upstream(), t.in(), t.out(), t.count); },
      [](Tensors& t) { at::threshold_backward_out(t.theirs, t.dy, t.x, 0); });
  compare(
      "sigmoid", argc, argv, [](Tensors& t) { lockstep::sigmoid(t.in(), t.out(), t.count); },
      [](Tensors& t) { at::sigmoid_out(t.theirs, t.x); });
  compare(
      "sigmoid_backward", argc, argv,
      [](Tensors& t) { lockstep::sigmoid_backward(t.upstream(), t.in(), t.out(), t.count); },
      [](Tensors& t) { at::sigmoid_backward_out(t.theirs, t.dy, t.x); });
  compare(
      "tanh", argc, argv, [](Tensors& t) { lockstep::tanh(t.in(), t.out(), t.count); },
      [](Tensors& t) { at::tanh_out(t.theirs, t.x); });
  compare(
      "tanh_backward", argc, argv,
      [](Tensors& t) { lockstep::tanh_backward(t.upstream(), t.in(), t.out(), t.count); },
      [](Tensors& t) { at::tanh_backward_out(t.theirs, t.dy, t.x); });
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  plain(argc, argv);
  smooth(argc, argv);
  gelu(argc, argv);
  return 0;
}
