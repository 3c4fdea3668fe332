// The reference, with threads over samples.

#include "lockstep/base/float_mode.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/conv_ref.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::conv_internal {
namespace {

ConvGeometry some(ConvGeometry g, std::int64_t samples) {
  g.samples = samples;
  return g;
}

}  // namespace

void conv_cpu(const Conv& call) {
  const ConvGeometry& g = call.geometry;
  parallel::for_each_range(g.samples, 1, [&](std::int64_t begin, std::int64_t end) {
    conv_ref<float>(call.x + begin * g.in_channels * g.in_h * g.in_w, call.weight, call.bias,
                    call.y + begin * g.out_channels * g.out_pixels(), some(g, end - begin));
  });
}

void input_gradient_cpu(const ConvInputGradient& call) {
  const ConvGeometry& g = call.geometry;
  parallel::for_each_range(g.samples, 1, [&](std::int64_t begin, std::int64_t end) {
    conv_input_gradient_ref<float>(call.dy + begin * g.out_channels * g.out_pixels(), call.weight,
                                   call.dx + begin * g.in_channels * g.in_h * g.in_w, some(g, end - begin));
  });
}

void weight_gradient_cpu(const ConvWeightGradient& call) {
  const FloatMode mode;
  conv_weight_gradient_ref<float>(call.dy, call.x, call.dweight.total, call.dweight.open, call.dbias.total,
                                  call.dbias.open, call.span, call.geometry);
}

}  // namespace lockstep::conv_internal
