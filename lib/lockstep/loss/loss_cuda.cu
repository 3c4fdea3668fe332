#include <cstdint>

#include "lockstep/base/element_kernels_internal.h"
#include "lockstep/loss/loss_inl.h"
#include "lockstep/loss/loss_internal.h"
#include "lockstep/order/lanes_cuda_internal.h"

namespace lockstep::loss_internal {
namespace {

namespace formulas = math::internal::loss;
using internal::CudaArray;
using internal::CudaArrayOrNumber;
using internal::CudaNumber;
using internal::CudaRepeated;
using internal::map_elements;
using internal::OfFloats;

// ---- Elements

CudaArray array(const Operand& operand) { return {operand.elements}; }
CudaNumber number(const Operand& operand) { return {operand.all}; }
CudaArrayOrNumber either(const Operand& operand) { return {operand.elements, operand.all}; }
CudaRepeated repeated(const Operand& operand) { return {operand.elements, operand.period}; }

/// A call as its formulas name it: of[0] is the first operand.
struct Map {
  const Call& call;
  std::int64_t count;
  void* stream;

  template <class Formula, class... Source>
  void operator()(const char* kernel, Formula formula, Source... source) const {
    map_elements(kernel, call.result, count, stream, formula, source...);
  }
};

void bce_with_logits(const Map& map, const Operand* of) {
  const OfFloats<formulas::bce_with_logits<float>> formula;
  const CudaArray x = array(of[0]), target = array(of[1]);
  if (of[2].period > 0) return map("bce_with_logits", formula, x, target, repeated(of[2]), either(of[3]));
  map("bce_with_logits", formula, x, target, number(of[2]), either(of[3]));
}

void bce_with_logits_backward(const Map& map, const Operand* of) {
  const OfFloats<formulas::bce_with_logits_backward<float>> formula;
  const CudaArray x = array(of[0]), target = array(of[1]);
  const CudaArrayOrNumber weight = either(of[3]), g = either(of[4]);
  if (of[2].period > 0)
    return map("bce_with_logits_backward", formula, x, target, repeated(of[2]), weight, g);
  map("bce_with_logits_backward", formula, x, target, number(of[2]), weight, g);
}

// ---- Sums of rows

// Order: lanes, ascending, then the tree.
template <class Form>
__global__ void __launch_bounds__(Form::kBlockThreads) sum_rows(const float* loss,   // [rows, features]
                                                                float* rows_loss,    // [rows]
                                                                order::Slices rows)  //
{
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const auto elements =
        order::elements_of<Form>(team, rows.axis, [=](std::int64_t j) { return loss[row(j)]; });
    const auto add = [](float lane, std::int64_t, float term) { return lane + term; };
    const float sum = elements.reduce(0.0f, add, order::AddLanes());
    if (row.counts && team.rank() == 0) rows_loss[row.index] = sum;
  });
}

}  // namespace

void run_cuda(const Call& call, std::int64_t count, void* stream) {
  const Map map{call, count, stream};
  const Operand* const of = call.operands;
  switch (call.formula) {
    case Formula::mse:
      return map("mse", OfFloats<formulas::mse<float>>(), array(of[0]), array(of[1]));
    case Formula::mse_backward:
      return map("mse_backward", OfFloats<formulas::mse_backward<float>>(), array(of[0]), array(of[1]),
                 either(of[2]));
    case Formula::l1:
      return map("l1", OfFloats<formulas::l1<float>>(), array(of[0]), array(of[1]));
    case Formula::l1_backward:
      return map("l1_backward", OfFloats<formulas::l1_backward<float>>(), array(of[0]), array(of[1]),
                 either(of[2]));
    case Formula::bce_with_logits:
      return bce_with_logits(map, of);
    case Formula::bce_with_logits_backward:
      return bce_with_logits_backward(map, of);
    case Formula::margin_ranking:
      return map("margin_ranking", OfFloats<formulas::margin_ranking<float>>(), array(of[0]), array(of[1]),
                 array(of[2]), number(of[3]));
    case Formula::margin_ranking_backward:
      return map("margin_ranking_backward", OfFloats<formulas::margin_ranking_backward<float>>(),
                 array(of[0]), array(of[1]), array(of[2]), number(of[3]), either(of[4]));
  }
}

void row_losses_cuda(const float* loss, float* rows_loss, const LossExtents& extents, void* stream) {
  if (extents.rows == 0) return;
  const order::Slices rows{extents.rows, extents.features, 1};
  order::with_lane_form(rows, [&](auto form) {
    order::launch_slices(form, "row_losses", sum_rows<decltype(form)>, rows, stream, loss, rows_loss, rows);
  });
}

}  // namespace lockstep::loss_internal
