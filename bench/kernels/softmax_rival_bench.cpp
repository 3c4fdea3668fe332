// softmax against LibTorch's kernels. usage: softmax_rival_bench [part of a name]

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

void shape(const AxisExtents& extents, int argc, char** argv) {
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
