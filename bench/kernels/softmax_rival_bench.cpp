// softmax against LibTorch's kernels. usage: softmax_rival_bench [part of a name | errors]

#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <string>

#include "lockstep/softmax/softmax.h"
#include "rival.h"

namespace {

using lockstep::AxisExtents;
using lockstep::bench::wanted;

struct Tensors {
  explicit Tensors(const AxisExtents& of)
      : extents(of),
        // LibTorch has another kernel for the last axis, so it must be the last
        x(of.inner == 1 ? at::randn({of.outer, of.axis}) : at::randn({of.outer, of.axis, of.inner})),
        dy(at::randn_like(x)),
        y(at::softmax(x, 1)),
        log_y(at::log_softmax(x, 1)),
        ours(at::empty_like(x)),
        theirs(at::empty_like(x)) {}
  static const float* of(const at::Tensor& t) { return t.data_ptr<float>(); }
  float* out() { return ours.data_ptr<float>(); }

  AxisExtents extents;
  at::Tensor x, dy, y, log_y, ours, theirs;
};

std::string text(const char* name, const AxisExtents& of) {
  return std::string(name) + " " + std::to_string(of.outer) + "x" + std::to_string(of.axis) + "x" +
         std::to_string(of.inner);
}

template <class Ours, class Theirs>
void compare(const std::string& name, int argc, char** argv, Ours ours, Theirs theirs) {
  if (wanted(name, argc, argv)) lockstep::bench::compare(name, ours, theirs);
}

/// Relative L2 error of both against LibTorch's own kernels in double, at the fp32 values that backward is
/// given.
void print_errors(const AxisExtents& extents) {
  Tensors t(extents);
  const at::Tensor x = t.x.to(at::kDouble), dy = t.dy.to(at::kDouble);
  const auto line = [&](const char* name, const at::Tensor& theirs, const at::Tensor& exact) {
    const auto error = [&](const at::Tensor& of) {
      return ((of.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
    };
    std::printf("%-44s    error %.2e  LibTorch %.2e\n", text(name, extents).c_str(), error(t.ours),
                error(theirs));
  };
  lockstep::softmax(t.of(t.x), t.out(), extents);
  line("softmax", t.y, at::softmax(x, 1));
  lockstep::log_softmax(t.of(t.x), t.out(), extents);
  line("log_softmax", t.log_y, at::log_softmax(x, 1));
  lockstep::softmax_backward(t.of(t.dy), t.of(t.y), t.out(), extents);
  line("softmax_backward", at::_softmax_backward_data(t.dy, t.y, 1, at::kFloat),
       at::_softmax_backward_data(dy, t.y.to(at::kDouble), 1, at::kDouble));
  lockstep::log_softmax_backward(t.of(t.dy), t.of(t.log_y), t.out(), extents);
  line("log_softmax_backward", at::_log_softmax_backward_data(t.dy, t.log_y, 1, at::kFloat),
       at::_log_softmax_backward_data(dy, t.log_y.to(at::kDouble), 1, at::kDouble));
}

void shape(const AxisExtents& extents, int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "errors") return print_errors(extents);
  Tensors t(extents);
  compare(
      text("softmax", extents), argc, argv, [&] { lockstep::softmax(t.of(t.x), t.out(), extents); },
      [&] { at::_softmax_out(t.theirs, t.x, 1, false); });
  compare(
      text("softmax_backward", extents), argc, argv,
      [&] { lockstep::softmax_backward(t.of(t.dy), t.of(t.y), t.out(), extents); },
      [&] { at::_softmax_backward_data_out(t.theirs, t.dy, t.y, 1, at::kFloat); });
  compare(
      text("log_softmax", extents), argc, argv, [&] { lockstep::log_softmax(t.of(t.x), t.out(), extents); },
      [&] { at::_log_softmax_out(t.theirs, t.x, 1, false); });
  compare(
      text("log_softmax_backward", extents), argc, argv,
      [&] { lockstep::log_softmax_backward(t.of(t.dy), t.of(t.log_y), t.out(), extents); },
      [&] { at::_log_softmax_backward_data_out(t.theirs, t.dy, t.log_y, 1, at::kFloat); });
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const AxisExtents shapes[] = {{64, 10, 1},     {4096, 64, 1},  {12288, 256, 1}, {1024, 1024, 1},
                                {256, 50257, 1}, {16, 256, 256}, {8, 1000, 49},   {64, 21, 4096}};
  for (const AxisExtents& extents : shapes) shape(extents, argc, argv);
  return 0;
}
