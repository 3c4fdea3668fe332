#include <cmath>
#include <type_traits>

#include "lockstep/order/lanes_cuda_internal.h"
#include "lockstep/softmax/softmax_inl.h"
#include "lockstep/softmax/softmax_internal.h"

namespace lockstep::softmax_internal {
namespace {

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }  // a NaN is passed over
};

// Order: the largest element in any; the sum by lanes of exp(x - m), ascending; each element alone.
template <class Form, Kind kind>
__global__ void __launch_bounds__(Form::kBlockThreads) softmax_slices(const float* x,  // [outer, axis, inner]
                                                                      float* y,        // as x
                                                                      order::Slices slices)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, slices, [&](const order::Slice<Team>& slice) {
    const auto elements =
        order::elements_of<Form>(team, slices.axis, [=](std::int64_t j) { return x[slice(j)]; });
    order::prefetch_next<Form>(team, slice, slices, x);
    float m = -HUGE_VALF;
    elements.for_each([&](std::int64_t, float value) { m = fmaxf(value, m); });
    m = team.tree(m, Larger());
    const auto term = [=](float value) { return exponential_term(value, m); };
    if constexpr (kind == Kind::softmax) {
      const auto add = [](float lane, std::int64_t, float term) { return lane + term; };
      const auto terms = elements.mapped(term);
      const float sum = terms.reduce(0.0f, add, order::AddLanes());
      if (!slice.counts) return;
      terms.for_each([&](std::int64_t j, float term) { y[slice(j)] = term / sum; });
    } else {
      const auto add = [=](float lane, std::int64_t, float value) { return lane + term(value); };
      const float logarithm = math::log(elements.reduce(0.0f, add, order::AddLanes()));
      if (!slice.counts) return;
      elements.for_each(
          [&](std::int64_t j, float value) { y[slice(j)] = log_probability(value, m, logarithm); });
    }
  });
}

struct Gradient {
  float dy, y;
};

/// Elements that are not in registers keep dy alone, all that log-softmax's sum needs; y is read once.
template <class Form, Kind kind>
constexpr bool kKeepsDyAlone = Form::kHeld <= 0 && kind == Kind::log_softmax;

// Order: the sum by lanes of dy (log-softmax), or of dy · y with one fma a term, ascending; each element
// alone.
template <class Form, Kind kind>
__global__ void __launch_bounds__(Form::kBlockThreads)
    softmax_backward_slices(const float* dy,       // [outer, axis, inner]
                            const float* y,        // as dy
                            float* dx,             // as dy
                            order::Slices slices)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, slices, [&](const order::Slice<Team>& slice) {
    const auto of_dy = [=](std::int64_t j) { return dy[slice(j)]; };
    const auto of_y = [=](std::int64_t j) { return y[slice(j)]; };
    if constexpr (kKeepsDyAlone<Form, kind>) {
      const auto elements = order::elements_of<Form>(team, slices.axis, of_dy);
      order::prefetch_next<Form>(team, slice, slices, dy);
      const auto step = [](float lane, std::int64_t, float value) { return lane + value; };
      const float sum = elements.reduce(0.0f, step, order::AddLanes());
      if (!slice.counts) return;
      elements.for_each(of_y, [&](std::int64_t j, float own, float of) {
        dx[slice(j)] = log_softmax_gradient(own, of, sum);
      });
    } else {
      const auto elements = order::elements_of<Form>(team, slices.axis, [=](std::int64_t j) {
        return Gradient{of_dy(j), of_y(j)};
      });
      const auto step = [](float lane, std::int64_t, const Gradient& of) {
        return kind == Kind::softmax ? std::fma(of.dy, of.y, lane) : lane + of.dy;
      };
      const float sum = elements.reduce(0.0f, step, order::AddLanes());
      if (!slice.counts) return;
      elements.for_each([&](std::int64_t j, const Gradient& of) {
        dx[slice(j)] = kind == Kind::softmax ? softmax_gradient(of.dy, of.y, sum)
                                             : log_softmax_gradient(of.dy, of.y, sum);
      });
    }
  });
}

order::Slices slices_of(const AxisExtents& extents) { return {extents.outer, extents.axis, extents.inner}; }

template <Kind kind>
void forward(const float* x, float* y, const order::Slices& slices, void* stream) {
  order::with_lane_form<float>(slices, [&](auto form) {
    order::launch_slices(form, "softmax: softmax_slices", softmax_slices<decltype(form), kind>, slices,
                         stream, x, y, slices);
  });
}

template <Kind kind>
void backward(const float* dy, const float* y, float* dx, const order::Slices& slices, void* stream) {
  using Kept = std::conditional_t<kind == Kind::softmax, Gradient, float>;
  order::with_lane_form<Kept>(slices, [&](auto form) {
    order::launch_slices(form, "softmax: softmax_backward_slices",
                         softmax_backward_slices<decltype(form), kind>, slices, stream, dy, y, dx, slices);
  });
}

}  // namespace

void forward_cuda(Kind kind, const float* x, float* y, const AxisExtents& extents, void* stream) {
  const auto form = kind == Kind::softmax ? forward<Kind::softmax> : forward<Kind::log_softmax>;
  form(x, y, slices_of(extents), stream);
}

void backward_cuda(Kind kind, const float* dy, const float* y, float* dx, const AxisExtents& extents,
                   void* stream) {
  const auto form = kind == Kind::softmax ? backward<Kind::softmax> : backward<Kind::log_softmax>;
  form(dy, y, dx, slices_of(extents), stream);
}

}  // namespace lockstep::softmax_internal
