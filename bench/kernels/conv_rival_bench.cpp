// Convolution, forward and both gradients, against LibTorch's (oneDNN). Both sides allocate what they write.

#include <c10/core/InferenceMode.h>

#include "accuracy.h"
#include "lockstep/conv/conv.h"
#include "rival.h"

namespace {

using at::Tensor;

const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

struct Case {
  std::string name;
  lockstep::ConvGeometry g;

  std::vector<std::int64_t> stride() const { return {g.stride_h, g.stride_w}; }
  std::vector<std::int64_t> pad() const { return {g.pad_h, g.pad_w}; }
  std::vector<std::int64_t> dilation() const { return {g.dilation_h, g.dilation_w}; }
  double flops() const {
    return 2.0 * static_cast<double>(g.samples * g.out_channels * g.out_pixels()) *
           static_cast<double>(g.taps());
  }
};

struct Arrays {
  explicit Arrays(const Case& c)
      : x(at::randn({c.g.samples, c.g.in_channels, c.g.in_h, c.g.in_w})),
        weight(at::randn({c.g.out_channels, c.g.in_channels / c.g.groups, c.g.kernel_h, c.g.kernel_w})),
        bias(at::randn({c.g.out_channels})),
        dy(at::randn({c.g.samples, c.g.out_channels, c.g.out_h(), c.g.out_w()})) {}
  Tensor x, weight, bias, dy;
};

Tensor forward(const Case& c, const Arrays& a) {
  const Tensor y = at::empty_like(a.dy);
  lockstep::conv({in(a.x), in(a.weight), in(a.bias), out(y), c.g});
  return y;
}

Tensor input_gradient(const Case& c, const Arrays& a) {
  const Tensor dx = at::empty_like(a.x);
  lockstep::conv_input_gradient({in(a.dy), in(a.weight), out(dx), c.g});
  return dx;
}

std::pair<Tensor, Tensor> weight_gradient(const Case& c, const Arrays& a) {
  const Tensor dweight = at::zeros_like(a.weight), dbias = at::zeros_like(a.bias);
  lockstep::conv_weight_gradient({in(a.dy),
                                  in(a.x),
                                  {out(dweight), nullptr},
                                  {out(dbias), nullptr},
                                  {0, c.g.samples * c.g.out_pixels(), true},
                                  c.g});
  return {dweight, dbias};
}

Tensor rival_forward(const Case& c, const Arrays& a) {
  return at::convolution(a.x, a.weight, a.bias, c.stride(), c.pad(), c.dilation(), false, {0, 0}, c.g.groups);
}

std::tuple<Tensor, Tensor, Tensor> rival_backward(const Case& c, const Arrays& a, bool dx, bool dweight) {
  return at::convolution_backward(a.dy, a.x, a.weight, {{c.g.out_channels}}, c.stride(), c.pad(),
                                  c.dilation(), false, {0, 0}, c.g.groups, {dx, dweight, dweight});
}

void compare(const Case& c, bool needs_dx) {
  const Arrays a(c);
  lockstep::bench::compare(
      c.name + " forward", [&] { forward(c, a); }, [&] { rival_forward(c, a); }, c.flops());
  if (needs_dx)
    lockstep::bench::compare(
        c.name + " dx", [&] { input_gradient(c, a); }, [&] { rival_backward(c, a, true, false); }, c.flops());
  lockstep::bench::compare(
      c.name + " dweight, dbias", [&] { weight_gradient(c, a); }, [&] { rival_backward(c, a, false, true); },
      c.flops());
  lockstep::bench::compare(
      c.name + " forward + backward",
      [&] {
        forward(c, a);
        if (needs_dx) input_gradient(c, a);
        weight_gradient(c, a);
      },
      [&] {
        rival_forward(c, a);
        rival_backward(c, a, needs_dx, true);
      },
      c.flops() * (needs_dx ? 3 : 2));
}

void print_accuracy(const Case& c) {
  at::manual_seed(1);
  const Arrays a(c);
  Arrays exact(a);
  for (Tensor* t : {&exact.x, &exact.weight, &exact.bias, &exact.dy}) *t = t->to(at::kDouble);
  const auto theirs = rival_backward(c, a, true, true), truth = rival_backward(c, exact, true, true);
  const auto [dweight, dbias] = weight_gradient(c, a);
  lockstep::bench::print_errors(c.name + " y", forward(c, a), rival_forward(c, a), rival_forward(c, exact));
  lockstep::bench::print_errors(c.name + " dx", input_gradient(c, a), std::get<0>(theirs),
                                std::get<0>(truth));
  lockstep::bench::print_errors(c.name + " dweight", dweight, std::get<1>(theirs), std::get<1>(truth));
  lockstep::bench::print_errors(c.name + " dbias", dbias, std::get<2>(theirs), std::get<2>(truth));
}

lockstep::ConvGeometry plane(std::int64_t samples, std::int64_t channels, std::int64_t size,
                             std::int64_t filters, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                             std::int64_t groups = 1) {
  return {samples, channels, size, size, filters, kernel, kernel, stride, stride, pad, pad, 1, 1, groups};
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const std::vector<Case> cases{
      {"cnn conv1 64 x 1 x 28, 16 of 3", plane(64, 1, 28, 16, 3, 1, 1)},
      {"cnn conv2 64 x 16 x 14, 32 of 3", plane(64, 16, 14, 32, 3, 1, 1)},
      {"16 x 64 x 28, 64 of 3", plane(16, 64, 28, 64, 3, 1, 1)},
      {"16 x 64 x 28, 128 of 3, stride 2", plane(16, 64, 28, 128, 3, 2, 1)},
      {"16 x 256 x 14, 64 of 1", plane(16, 256, 14, 64, 1, 1, 0)},
      {"16 x 64 x 28, depthwise 3", plane(16, 64, 28, 64, 3, 1, 1, 64)},
      {"1d 16 x 64 x 500, 64 of 5", {16, 64, 1, 500, 64, 1, 5, 1, 1, 0, 2, 1, 1, 1}},
  };
  for (const Case& c : cases)
    if (lockstep::bench::wanted(c.name, argc, argv)) compare(c, c.g.in_channels > 1);
  if (argc > 1 && std::string(argv[1]) == "accuracy") {
    print_accuracy({"4 x 16 x 14, 32 of 3", plane(4, 16, 14, 32, 3, 1, 1)});
    print_accuracy({"64 x 16 x 14, 32 of 3", plane(64, 16, 14, 32, 3, 1, 1)});
    print_accuracy({"2 x 256 x 14, 64 of 3", plane(2, 256, 14, 64, 3, 1, 1)});
    print_accuracy({"400 x 1 x 50, 4 of 3", plane(400, 1, 50, 4, 3, 1, 1)});
  }
}
