#pragma once
// Where gradients that are folds over rows are kept: an accumulator a place, and what a backward node needs
// to write into one (contracts, section 4).

#include <ATen/core/Tensor.h>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <torch/csrc/autograd/function.h>

#include "lockstep/order/fold.h"

namespace lockstep::invariant {

/// Kinds of operation. A parameter's places are added in ascending order of (kind, how many times this
/// backward has met the parameter before): do not change the numbers, they decide bits.
enum class PlaceKind : int { matmul = 0, bias = 1, embedding = 2, scale = 3, broadcast = 4, convolution = 5 };

/// The part of a parameter's memory that an operation used, as strides over its elements.
struct Window {
  std::vector<std::int64_t> sizes, strides;
  std::int64_t offset = 0;
};

/// The parameter behind a tensor that an operation got: the tensor itself, or the leaf that it is a view of.
struct Parameter {
  at::Tensor base;  ///< undefined when the tensor is not a leaf that needs a gradient, nor a view of one
  Window window;    ///< of the tensor in `base`
};
Parameter resolve_parameter(const at::Tensor& tensor);

/// One accumulator, contiguous, of the window's shape, on the parameter's device: float64 for plain sums,
/// else of the parameter's type.
struct Place {
  Window window;
  at::Tensor total, open;  ///< open: undefined until a cut leaves a chunk unfinished
  std::int64_t rows = 0;   ///< added so far
};

/// The places of one parameter.
class Places {
 public:
  /// The place of this visit in the backward `task`. Throws Error(unsupported) for more than 8 of a kind.
  Place& next(PlaceKind kind, int task, const Window& window, const at::TensorOptions& sums,
              const std::string& parameter);
  bool met_in(int task) const { return task_ == task && !places_.empty(); }
  bool empty() const { return places_.empty(); }
  void clear();
  /// The gradient: all places, each rounded to the parameter's type, added in order.
  at::Tensor sum(const at::Tensor& parameter);
  /// Bytes held.
  std::int64_t bytes() const;

 private:
  int task_ = -1;
  std::map<PlaceKind, int> visits_;  ///< in this backward
  std::map<std::pair<PlaceKind, int>, Place> places_;
};

class Accumulation;

/// The part of the global batch that goes through one forward and one backward.
struct MicroBatch {
  std::weak_ptr<Accumulation> accumulation;
  std::int64_t first_sample = 0, samples = 0, global_samples = 0;
  std::vector<std::int64_t> lengths;  ///< rows of each sample where they differ; else empty
  std::int64_t first_row = 0;         ///< the rows of the samples before, where lengths are given
  bool ended = false;
  std::atomic<int> backward_task = -1;  ///< each device has a thread of its own
  int loss_visits = 0;

  bool last() const { return first_sample + samples == global_samples; }
  /// Where lengths are given.
  std::int64_t rows() const { return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}); }
};
using MicroBatchPtr = std::shared_ptr<MicroBatch>;

/// The micro-batch that is open in this thread; null outside of an accumulator.
const MicroBatchPtr& open_micro_batch();
/// Returns what was open before.
MicroBatchPtr set_open_micro_batch(MicroBatchPtr micro_batch);

/// Throws Error(invalid_argument) where the rows of `input`, which are all its axes but the last, cannot be
/// those of the micro-batch in sample-major order. No micro-batch: nothing.
void require_sample_major(const char* operation, const MicroBatchPtr& micro_batch, const at::Tensor& input);

/// While an accumulation is begun it owns its parameters' gradients; null ends that.
void set_owner(const at::Tensor& parameter, const std::shared_ptr<Accumulation>& owner);
std::shared_ptr<Accumulation> owner_of(const at::Tensor& parameter);

/// Prepares the parameter's AccumulateGrad node to take the sum of its places at the end of a backward. Hold
/// the result until a graph refers to that node. Null for what is no leaf that needs a gradient.
std::shared_ptr<torch::autograd::Node> prepare_parameter(const at::Tensor& parameter);

/// What the backward of a node folds one parameter's gradient into.
class FoldTarget {
 public:
  /// For input `input` of `node`, which now runs: `rows` rows of `micro_batch` (null: of the whole batch).
  /// `sums` is what the room folds in, and where: the gradient's device.
  /// Throws Error(invalid_argument, unsupported) where the gradient cannot be kept in order.
  FoldTarget(const torch::autograd::Node& node, std::size_t input, PlaceKind kind, const Window& window,
             std::int64_t rows, const MicroBatchPtr& micro_batch, const at::TensorOptions& sums);
  /// place_ may point into the object itself.
  FoldTarget(FoldTarget&& other) noexcept
      : place_(other.place_ == &other.own_ ? &own_ : other.place_),
        own_(std::move(other.own_)),
        span_(other.span_),
        kept_(other.kept_) {}

  at::Tensor& total() { return place_->total; }
  template <class T>
  T* total_data() {
    return place_->total.mutable_data_ptr<T>();
  }
  /// Memory of the open partial, null where none is needed: as many elements as total has, or `elements`.
  template <class T>
  T* open(std::int64_t elements = -1) {
    return order::needs_open_partial(span_) ? with_open(elements).mutable_data_ptr<T>() : nullptr;
  }
  const order::FoldSpan& span() const { return span_; }
  /// What the node returns for the input, `base`: nothing when the gradient is kept, else the gradient.
  at::Tensor returned(const at::Tensor& base);

 private:
  at::Tensor& with_open(std::int64_t elements);

  Place* place_;
  Place own_;  ///< when the gradient is not kept
  order::FoldSpan span_;
  bool kept_;
};

/// A loss's sum over the rows of the global batch, with the number of targets (or the weight) counted so far:
/// float64, on the loss's device.
struct LossPlace {
  at::Tensor sums;  ///< the total, and the partial of a chunk that is open
  at::Tensor counted;
  std::int64_t rows = 0;
  bool is_mean = false;  ///< over the count of the global batch; else a sum
};

/// What an accumulator holds between begin() and finish().
class Accumulation {
 public:
  struct Entry {
    at::Tensor parameter;
    std::string name;
    Places places;
    std::shared_ptr<torch::autograd::Node> accumulate_grad;  ///< the parameter itself holds it weakly
  };

  std::vector<Entry> entries;
  std::map<const c10::TensorImpl*, std::size_t> index;
  std::int64_t global_samples = 0, next_sample = 0;
  std::int64_t next_row = 0;  ///< where every micro-batch gave lengths
  at::Tensor draws;           ///< LibTorch's generator as the first micro-batch met it
  double count = 0;           ///< 0: not given
  at::Tensor derived_count;   ///< from the first micro-batch's loss, where it was not given: a float64 scalar
  std::vector<LossPlace> losses;
  bool begun = false;

  Entry* find(const at::Tensor& parameter);
};

}  // namespace lockstep::invariant
