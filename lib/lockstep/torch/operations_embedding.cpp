// Embedding: a node of ours, since the gradient of its table is a fold over rows.

#include <ATen/ATen.h>
#include <cstddef>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/embedding/embedding.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/embedding_node_internal.h"
#include "lockstep/torch/node_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/sample_order_internal.h"

namespace lockstep::invariant {
namespace {

/// Position ids of shape [1, T] stand for one row a sample: the sum over samples would happen in autograd's
/// order before the node sees it.
void require_rows_of_samples(const at::Tensor& index, const MicroBatchPtr& micro_batch) {
  if (!micro_batch || index.dim() == 0 || index.size(0) == micro_batch->samples) return;
  if (index.dim() == 1 && index.numel() % micro_batch->samples == 0) return;
  if (!micro_batch->lengths.empty()) return;
  fail(ErrorCode::unsupported, {"aten::embedding", "indices", "one row of them a sample of the micro-batch",
                                "indices that are shared by all samples",
                                "Expand them to [samples, …] first (position_ids.expand(samples, -1)), so "
                                "that the table's gradient is a sum "
                                "over rows"});
}

at::Tensor embed(const at::Tensor& table, const at::Tensor& indices, std::int64_t padding);

class LockstepEmbeddingBackward final : public Node {
 public:
  std::string name() const override { return "LockstepEmbeddingBackward"; }
  void release_variables() override { index_ = at::Tensor(); }

  void save(const at::Tensor& table, at::Tensor index, std::int64_t padding) {
    table_ = SavedVariable(table, false);
    vocabulary_ = table.size(0);
    dim_ = table.size(1);
    index_ = std::move(index);
    padding_ = padding;
    micro_batch_ = open_micro_batch();
  }

  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined() || !task_should_compute_output(0)) return variable_list(1);
    refuse_create_graph(*this, "Leave the mode for a double backward through an embedding");
    require_rows_of_samples(index_, micro_batch_);
    const Computation computation;
    LOCKSTEP_COUNT_CALL("embedding backward");
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor table = table_.unpack();
    FoldTarget target(*this, 0, PlaceKind::embedding, window_of(table), index_.numel(), micro_batch_,
                      table.options());
    OnDevice on("embedding backward", dy, index_, table);
    auto* const scratch = on.scratch<std::byte>(scratch_bytes(on, target.span()));
    by_dtype(dy, [&](auto zero) {
      using T = decltype(zero);
      embedding_backward(
          BasicEmbeddingBackward<T>{dy.const_data_ptr<T>(), index_.const_data_ptr<std::int64_t>(),
                                    vocabulary_, dim_, padding_, target.span(), target.total_data<T>(),
                                    target.open<T>(embedding_open_elements(vocabulary_, dim_)), scratch},
          on.device(), on.stream());
    });
    return {target.returned(table)};
  }

  at::Tensor for_each_sample(at::IntArrayRef shape) const {
    return embed(table_.unpack(), index_.expand(shape.slice(0, shape.size() - 1)), padding_);
  }

 private:
  std::int64_t scratch_bytes(const OnDevice& on, const order::FoldSpan& span) const {
    return on.is_cuda() ? embedding_backward_scratch_bytes(vocabulary_, dim_, span) : 0;
  }

  SavedVariable table_;
  at::Tensor index_;
  std::int64_t vocabulary_ = 0, dim_ = 0, padding_ = -1;
  MicroBatchPtr micro_batch_;
};

at::Tensor look_up(const at::Tensor& table, const at::Tensor& index) {
  std::vector<std::int64_t> sizes = index.sizes().vec();
  sizes.push_back(table.size(1));
  const at::Tensor dense = table.contiguous(), y = at::empty(sizes, table.options());
  const OnDevice on("aten::embedding", dense, index);
  by_dtype(table, [&](auto zero) {
    using T = decltype(zero);
    embedding(BasicEmbedding<T>{dense.const_data_ptr<T>(), index.const_data_ptr<std::int64_t>(),
                                y.mutable_data_ptr<T>(), table.size(0), table.size(1), index.numel()},
              on.device(), on.stream());
  });
  return y;
}

at::Tensor embed(const at::Tensor& table, const at::Tensor& indices, std::int64_t padding) {
  LOCKSTEP_COUNT_CALL("aten::embedding");
  at::Tensor y, index;
  {
    const Computation computation;
    index = indices.to(at::kLong).contiguous();
    y = look_up(table, index);
  }
  if (!needs_node(table)) return y;
  // Held until the edge holds it.
  const auto table_node = prepare_parameter(table);
  const auto node = make_node<LockstepEmbeddingBackward>(table);
  node->save(table, std::move(index), padding);
  torch::autograd::set_history(y, node);
  return y;
}

at::Tensor high_embedding(c10::DispatchKeySet keys, const at::Tensor& table, const at::Tensor& indices,
                          c10::SymInt padding, bool scale_by_frequency, bool sparse) {
  require_supported("aten::embedding", keys, table);
  if (table.dim() != 2)
    fail(ErrorCode::invalid_argument,
         {"aten::embedding", "weight", "2 axes", fmt::to_string(table.dim()), {}});
  if (sparse || scale_by_frequency)
    fail(ErrorCode::unsupported, {"aten::embedding", "options", "a dense gradient, not scaled by frequency",
                                  sparse ? "sparse" : "scale_grad_by_freq", "Make the Embedding without it"});
  if (const std::int64_t axis = sample_axis_of("aten::embedding", indices); axis != 0)
    return in_sample_order(indices, axis, [&](const at::Tensor& t) {
      return high_embedding(keys, table, t, padding, scale_by_frequency, sparse);
    });
  return embed(table, indices, padding.expect_int());
}

}  // namespace

at::Tensor embedding_for_each_sample(const at::Tensor& operand, at::IntArrayRef shape) {
  const auto dim = static_cast<std::size_t>(operand.dim());
  const at::IntArrayRef sample =
      operand.sizes().slice(dim == shape.size() && dim > 0 && operand.size(0) == 1 ? 1 : 0);
  const bool is_broadcast = shape.size() > 1 && shape[0] > 1 && sample == shape.slice(1);
  if (!is_broadcast || !operand.requires_grad() || operand._version() != 0) return {};
  const auto* const node = dynamic_cast<const LockstepEmbeddingBackward*>(operand.grad_fn().get());
  return node == nullptr ? at::Tensor() : node->for_each_sample(shape);
}

void register_embedding(Registrar& registrar) { registrar.whole("embedding", TORCH_FN(high_embedding)); }

}  // namespace lockstep::invariant
