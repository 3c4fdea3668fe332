#include <cmath>
#include <limits>

#include "lockstep/order/lanes_cuda_internal.h"
#include "lockstep/reduce/reduce_inl.h"
#include "lockstep/reduce/reduce_internal.h"

namespace lockstep::reduce {
namespace {

LOCKSTEP_HOST_DEVICE order::Slices slices_of(const ReduceShape& shape) {
  return {shape.outer, shape.axis, shape.inner};
}

struct AddTerm {
  __device__ float operator()(float lane, std::int64_t, float x) const { return lane + x; }
};

// Order: the sum by lanes, ascending, of x; for a variance then that of (x - mean)², one fma a term.
template <class Form, bool is_variance>
__global__ void __launch_bounds__(Form::kBlockThreads) sum_slices(SumCall call) {
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, slices_of(call.shape), [&](const order::Slice<Team>& slice) {
    const auto elements =
        order::elements_of<Form>(team, call.shape.axis, [=](std::int64_t j) { return call.x[slice(j)]; });
    const bool writes = slice.counts && team.rank() == 0;
    float sum = elements.reduce(0.0f, AddTerm(), order::AddLanes());
    if constexpr (is_variance) {
      const float mean = sum / static_cast<float>(call.shape.axis);
      const auto add = [=](float lane, std::int64_t, float x) { return add_square(lane, x, mean); };
      sum = elements.reduce(0.0f, add, order::AddLanes());
      if (writes && call.mean != nullptr) call.mean[slice.index] = mean;
    }
    if (writes) call.y[slice.index] = sum / call.divisor;
  });
}

constexpr std::int64_t kNoIndex = std::numeric_limits<std::int64_t>::max();

struct Choice {
  float value;
  std::int64_t index;
};

__device__ Choice from_thread(const Choice& choice, int distance) {
  return {order::from_thread(choice.value, distance), __shfl_xor_sync(0xffffffffu, choice.index, distance)};
}

template <bool smallest>
struct FirstChoice {
  __device__ Choice operator()(const Choice& a, const Choice& b) const {
    return comes_first(b.value, b.index, a.value, a.index, smallest) ? b : a;
  }
};

// Order: any, since which element it is does not depend on it.
template <class Form, bool smallest>
__global__ void __launch_bounds__(Form::kBlockThreads) select_slices(SelectCall call) {
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<Choice> memory;
  const Team team(memory);
  order::for_each_slice(team, slices_of(call.shape), [&](const order::Slice<Team>& slice) {
    const auto elements =
        order::elements_of<Form>(team, call.shape.axis, [=](std::int64_t j) { return call.x[slice(j)]; });
    const FirstChoice<smallest> first;
    Choice best{smallest ? HUGE_VALF : -HUGE_VALF, kNoIndex};
    elements.for_each([&](std::int64_t j, float x) { best = first(best, {x, j}); });
    best = team.tree(best, first);
    if (!slice.counts || team.rank() != 0) return;
    if (call.y != nullptr) call.y[slice.index] = best.value;
    if (call.index != nullptr) call.index[slice.index] = best.index;
  });
}

// ---- Gradients: what an element gets, by the numbers of its slice

struct SumGradient {
  static constexpr bool kReadsX = false;
  const float* dy;
  float divisor;

  struct OfSlice {
    float value;
    __device__ float operator()(std::int64_t, float) const { return value; }
  };
  __device__ OfSlice of_slice(std::int64_t index, std::int64_t) const { return {dy[index] / divisor}; }
};

struct VarianceGradient {
  static constexpr bool kReadsX = true;
  const float* dy;
  const float* mean;
  float factor;

  struct OfSlice {
    float dy, mean, factor;
    __device__ float operator()(std::int64_t, float x) const {
      return variance_gradient(dy, x, mean, factor);
    }
  };
  __device__ OfSlice of_slice(std::int64_t index, std::int64_t) const {
    return {dy[index], mean[index], factor};
  }
};

/// The host has not read the index: where it lies outside the axis, the slice is NaN.
struct SelectGradient {
  static constexpr bool kReadsX = false;
  const float* dy;
  const std::int64_t* index;

  struct OfSlice {
    float dy, rest;
    std::int64_t index;
    __device__ float operator()(std::int64_t j, float) const { return j == index ? dy : rest; }
  };
  __device__ OfSlice of_slice(std::int64_t slice, std::int64_t axis) const {
    const bool is_inside = index[slice] >= 0 && index[slice] < axis;
    return {dy[slice], is_inside ? 0.0f : nanf(""), index[slice]};
  }
};

// Each element alone.
template <class Form, class Gradient>
__global__ void __launch_bounds__(Form::kBlockThreads)
    gradient_slices(Gradient gradient,     //
                    const float* x,        // [outer, axis, inner], where the gradient reads it
                    float* dx,             // [outer, axis, inner]
                    order::Slices slices)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, slices, [&](const order::Slice<Team>& slice) {
    const auto elements = order::elements_of<Form>(
        team, slices.axis, [=](std::int64_t j) { return Gradient::kReadsX ? x[slice(j)] : 0.0f; });
    if (!slice.counts) return;
    const auto value = gradient.of_slice(slice.index, slices.axis);
    elements.for_each([&](std::int64_t j, float of_x) { dx[slice(j)] = value(j, of_x); });
  });
}

template <bool is_variance>
void sums(const SumCall& call, void* stream) {
  const order::Slices slices = slices_of(call.shape);
  if (slices.count() == 0) return;
  order::with_lane_form(slices, [&](auto form) {
    order::launch_slices(form, "reduce: sum_slices", sum_slices<decltype(form), is_variance>, slices, stream,
                         call);
  });
}

template <bool smallest>
void select(const SelectCall& call, void* stream) {
  const order::Slices slices = slices_of(call.shape);
  if (slices.count() == 0) return;
  order::with_lane_form(slices, [&](auto form) {
    order::launch_slices(form, "reduce: select_slices", select_slices<decltype(form), smallest>, slices,
                         stream, call);
  });
}

template <class Gradient>
void spread(const Gradient& gradient, const float* x, float* dx, const ReduceShape& shape, void* stream) {
  const order::Slices slices = slices_of(shape);
  if (slices.count() == 0 || slices.axis == 0) return;
  order::with_lane_form(slices, [&](auto form) {
    order::launch_slices(form, "reduce: gradient_slices", gradient_slices<decltype(form), Gradient>, slices,
                         stream, gradient, x, dx, slices);
  });
}

}  // namespace

void sum_cuda(const float* x, float* y, const ReduceShape& shape, float divisor, void* stream) {
  sums<false>({x, y, nullptr, shape, divisor}, stream);
}

void variance_cuda(const float* x, float* y, float* mean, const ReduceShape& shape, float divisor,
                   void* stream) {
  sums<true>({x, y, mean, shape, divisor}, stream);
}

void select_cuda(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, bool smallest,
                 void* stream) {
  (smallest ? select<true> : select<false>)({x, y, index, shape, smallest}, stream);
}

void sum_backward_cuda(const float* dy, float* dx, const ReduceShape& shape, float divisor, void* stream) {
  spread(SumGradient{dy, divisor}, nullptr, dx, shape, stream);
}

void variance_backward_cuda(const float* dy, const float* x, const float* mean, float* dx,
                            const ReduceShape& shape, float factor, void* stream) {
  spread(VarianceGradient{dy, mean, factor}, x, dx, shape, stream);
}

void select_backward_cuda(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape,
                          void* stream) {
  spread(SelectGradient{dy, index}, nullptr, dx, shape, stream);
}

}  // namespace lockstep::reduce
