#include <ATen/ATen.h>
#include <mutex>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/variable.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/operands_internal.h"

namespace lockstep::invariant {
namespace {

using torch::autograd::AccumulateGrad;
using torch::autograd::variable_list;

constexpr std::size_t kMostPlaces = 8;

std::string describe(const at::Tensor& parameter) {
  return fmt::format("a parameter of shape [{}]", fmt::join(parameter.sizes(), ", "));
}

/// Not a part, and not transposed: a square one has the same sizes then.
bool is_whole(const Window& window, const at::Tensor& parameter) {
  return window.offset == 0 && at::IntArrayRef(window.sizes) == parameter.sizes() &&
         at::IntArrayRef(window.strides) == parameter.strides();
}

/// Zeros in the parameter's own layout, which windows count in.
at::Tensor zeros_for(const at::Tensor& parameter) {
  return at::empty_strided(parameter.sizes(), parameter.strides(), parameter.options()).zero_();
}

/// The places of parameters in backwards without an accumulator, by the parameter.
class WholeBatches {
 public:
  Places& of(const at::Tensor& parameter, int task) {
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= 2 * swept_size_) sweep();
    auto& entry = entries_[parameter.unsafeGetTensorImpl()];
    if (!entry || entry->parameter.expired()) entry = std::make_unique<Entry>(parameter);
    if (!entry->places.met_in(task))
      entry->places.clear();  // a backward that an exception ended left something
    return entry->places;
  }
  /// Null where this backward has met none.
  Places* find(const at::Tensor& parameter, int task) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(parameter.unsafeGetTensorImpl());
    if (found == entries_.end() || found->second->parameter.expired()) return nullptr;
    return found->second->places.met_in(task) ? &found->second->places : nullptr;
  }

 private:
  struct Entry {
    explicit Entry(const at::Tensor& tensor) : parameter(tensor.getIntrusivePtr()) {}
    c10::weak_intrusive_ptr<c10::TensorImpl> parameter;
    Places places;
  };

  void sweep() {
    for (auto entry = entries_.begin(); entry != entries_.end();)
      entry = entry->second->parameter.expired() ? entries_.erase(entry) : std::next(entry);
    swept_size_ = std::max<std::size_t>(64, entries_.size());
  }

  std::mutex mutex_;
  std::unordered_map<const c10::TensorImpl*, std::unique_ptr<Entry>> entries_;
  std::size_t swept_size_ = 64;
};

WholeBatches& whole_batches() {
  static auto* const all = new WholeBatches;  // backward threads may outlive values with static storage
  return *all;
}

/// The accumulation that a parameter belongs to while it is begun, which backward threads must find too.
class Owners {
 public:
  void set(const at::Tensor& parameter, const std::shared_ptr<Accumulation>& owner) {
    const std::lock_guard lock(mutex_);
    owners_[parameter.unsafeGetTensorImpl()] = owner;
  }
  void remove(const at::Tensor& parameter) {
    const std::lock_guard lock(mutex_);
    owners_.erase(parameter.unsafeGetTensorImpl());
  }
  std::shared_ptr<Accumulation> of(const at::Tensor& parameter) {
    const std::lock_guard lock(mutex_);
    const auto found = owners_.find(parameter.unsafeGetTensorImpl());
    return found == owners_.end() ? nullptr : found->second.lock();
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const c10::TensorImpl*, std::weak_ptr<Accumulation>> owners_;
};

Owners& owners() {
  static auto* const all = new Owners;
  return *all;
}

[[noreturn]] void refuse_dense(const std::string& parameter, const char* other) {
  fail(ErrorCode::unsupported,
       {"invariant mode backward", parameter,
        "a gradient that is a sum over the rows of the batch, from operations that use the parameter itself",
        fmt::format(
            "one from an operation that is not such a sum (a penalty on weights, weight_norm, a merge) {}",
            other),
        "Apply the term outside of the batch's backward, or use one backward of the whole batch for it "
        "alone"});
}

bool is_all_zero(const at::Tensor& gradient) { return !gradient.ne(0).any().item<bool>(); }

/// Runs before the parameter's AccumulateGrad node: once in a backward, after every use of the parameter, and
/// before hooks that wait for the gradient.
struct TakeSum final : torch::autograd::FunctionPreHook {
  // The node that owns this hook holds the parameter anyway.
  explicit TakeSum(at::Tensor owner) : parameter(std::move(owner)) {}

  variable_list operator()(const variable_list& gradients) override {
    const InsideKernel inside;
    const at::NoGradGuard no_grad;
    const int task = torch::autograd::get_current_graph_task_id();
    Places* const places = whole_batches().find(parameter, task);
    const auto owner = owners().of(parameter);
    if (gradients[0].defined() && (owner || places != nullptr))
      refuse_dense(describe(parameter), owner ? "while a GradientAccumulator is open" : "beside one that is");
    if (owner) return {at::Tensor()};
    if (places == nullptr) return gradients;
    if (parameter.grad().defined() && !is_all_zero(parameter.grad()))
      fail(
          ErrorCode::invalid_argument,
          {"invariant mode backward", describe(parameter), "no gradient from before", "one that is not zero",
           "Call zero_grad() first; to add up micro-batches use GradientAccumulator, which keeps the order"});
    parameter.mutable_grad() = places->sum(parameter);
    places->clear();
    return {at::Tensor()};
  }

  at::Tensor parameter;
};

bool is_prepared(const torch::autograd::Node& node) {
  auto& hooks = const_cast<torch::autograd::Node&>(node).pre_hooks();
  return std::any_of(hooks.begin(), hooks.end(),
                     [](const auto& hook) { return dynamic_cast<TakeSum*>(hook.get()) != nullptr; });
}

/// The AccumulateGrad node behind an input when its gradient may be kept from autograd; else null: someone
/// wants to see the gradient itself.
AccumulateGrad* keeper(const torch::autograd::Node& node, std::size_t input) {
  if (at::GradMode::is_enabled()) return nullptr;  // create_graph: the gradient is part of a graph
  auto* const accumulate = dynamic_cast<AccumulateGrad*>(node.next_edge(input).function.get());
  if (accumulate == nullptr || !is_prepared(*accumulate)) return nullptr;
  if (!torch::autograd::impl::hooks(accumulate->variable).empty()) return nullptr;
  const auto* const executed = torch::autograd::get_current_graph_task_exec_info();
  if (executed != nullptr && !executed->empty()) {
    const auto found = executed->find(accumulate);
    if (found == executed->end() || !found->second.needed_ || found->second.captures_) return nullptr;
  }
  return accumulate;
}

Places& places_of(const at::Tensor& parameter, const MicroBatchPtr& micro_batch, int task,
                  std::string& name) {
  name = describe(parameter);
  if (!micro_batch) {
    if (owners().of(parameter))
      fail(ErrorCode::invalid_argument,
           {"invariant mode backward", name, "a forward inside micro_batch() of the open GradientAccumulator",
            "one outside of it", "Open the micro-batch before the forward, or call finish() first"});
    return whole_batches().of(parameter, task);
  }
  const auto accumulation = micro_batch->accumulation.lock();
  if (!accumulation || micro_batch->ended)
    fail(ErrorCode::invalid_argument, {"invariant mode backward",
                                       "micro-batch",
                                       "backward() inside the scope of its "
                                       "forward",
                                       "one after the scope has ended",
                                       {}});
  int backward = -1;
  if (!micro_batch->backward_task.compare_exchange_strong(backward, task) && backward != task)
    fail(ErrorCode::invalid_argument, {"invariant mode backward", "micro-batch", "one backward()",
                                       "a second one", "Add the losses and call backward() once"});
  Accumulation::Entry* const entry = accumulation->find(parameter);
  if (entry == nullptr)
    fail(ErrorCode::invalid_argument,
         {"invariant mode backward", name, "a parameter of the open GradientAccumulator", "another one",
          "Give it all parameters that need a gradient"});
  name = entry->name;
  return entry->places;
}

thread_local MicroBatchPtr t_micro_batch;

}  // namespace

void set_owner(const at::Tensor& parameter, const std::shared_ptr<Accumulation>& owner) {
  owner ? owners().set(parameter, owner) : owners().remove(parameter);
}

std::shared_ptr<Accumulation> owner_of(const at::Tensor& parameter) { return owners().of(parameter); }

Parameter resolve_parameter(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.requires_grad()) return {};
  const auto window = [&](std::int64_t offset) {
    return Window{tensor.sizes().vec(), tensor.strides().vec(), offset};
  };
  if (tensor.is_leaf()) return {tensor, window(0)};
  if (!tensor.is_view()) return {};
  const at::Tensor base{tensor._base()};
  if (!base.is_leaf() || !base.requires_grad() || base.scalar_type() != tensor.scalar_type()) return {};
  return {base, window(tensor.storage_offset() - base.storage_offset())};
}

Place& Places::next(PlaceKind kind, int task, const Window& window, const at::TensorOptions& sums,
                    const std::string& parameter) {
  if (task_ != task) visits_.clear();
  task_ = task;
  Place& place = places_[{kind, visits_[kind]++}];
  if (places_.size() > kMostPlaces)
    fail(ErrorCode::unsupported,
         {"invariant mode backward", parameter, fmt::format("at most {} uses in one forward", kMostPlaces),
          "one more", "Each use has an accumulator of its own; apply the module to one concatenated input"});
  if (!place.total.defined()) {
    place.window = window;
    place.total = at::zeros(window.sizes, sums);
  } else if (place.window.sizes != window.sizes || place.window.offset != window.offset) {
    fail(ErrorCode::unsupported, {"invariant mode backward",
                                  parameter,
                                  "the same uses in every micro-batch",
                                  "a use of another part of it",
                                  {}});
  }
  return place;
}

void Places::clear() {
  task_ = -1;
  visits_.clear();
  places_.clear();
}

at::Tensor Places::sum(const at::Tensor& parameter) {
  at::Tensor sum;
  for (auto& [key, place] : places_) {
    if (!sum.defined() && is_whole(place.window, parameter) && parameter.is_contiguous()) {
      sum = place.total.to(parameter.scalar_type());
      continue;
    }
    if (!sum.defined()) sum = zeros_for(parameter);
    sum.as_strided(place.window.sizes, place.window.strides, place.window.offset)
        .add_(place.total.to(parameter.scalar_type()));
  }
  return sum;
}

std::int64_t Places::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [key, place] : places_) {
    bytes += static_cast<std::int64_t>(place.total.nbytes());
    if (place.open.defined()) bytes += static_cast<std::int64_t>(place.open.nbytes());
  }
  return bytes;
}

const MicroBatchPtr& open_micro_batch() { return t_micro_batch; }

MicroBatchPtr set_open_micro_batch(MicroBatchPtr micro_batch) {
  return std::exchange(t_micro_batch, std::move(micro_batch));
}

void require_sample_major(const char* operation, const MicroBatchPtr& micro_batch, const at::Tensor& input) {
  if (!micro_batch || micro_batch->samples == 0) return;
  const std::int64_t samples = micro_batch->samples;
  const std::int64_t rows = input.numel() / std::max<std::int64_t>(1, input.size(-1));
  if (!micro_batch->lengths.empty()) return;
  const bool fits = input.dim() > 2 ? input.size(0) == samples : rows % samples == 0;
  if (fits) return;
  fail(ErrorCode::invalid_argument,
       {operation, "input",
        fmt::format("the {} samples of the micro-batch as its first axis, or rows in sample order", samples),
        shape_text(input),
        "Put the sample axis first (batch_first); give micro_batch() the lengths of samples that differ in "
        "length"});
}

std::shared_ptr<torch::autograd::Node> prepare_parameter(const at::Tensor& parameter) {
  if (!parameter.defined() || !parameter.is_leaf() || !parameter.requires_grad()) return nullptr;
  auto node = torch::autograd::impl::grad_accumulator(parameter);
  if (node == nullptr) return nullptr;  // a view of a parameter, made without gradients
  if (!is_prepared(*node)) node->add_pre_hook(std::make_unique<TakeSum>(parameter));
  return node;
}

FoldTarget::FoldTarget(const torch::autograd::Node& node, std::size_t input, PlaceKind kind,
                       const Window& window, std::int64_t rows, const MicroBatchPtr& micro_batch,
                       const at::TensorOptions& sums)
    : place_(&own_), kept_(false) {
  const int task = torch::autograd::get_current_graph_task_id();
  if (const AccumulateGrad* const accumulate = keeper(node, input)) {
    kept_ = true;
    std::string name;
    Places& places = places_of(accumulate->variable, micro_batch, task, name);
    place_ = &places.next(kind, task, window, sums, name);
  } else {
    if (micro_batch)
      fail(ErrorCode::unsupported,
           {"invariant mode backward",
            fmt::format("gradient of an operand of shape [{}]", fmt::join(window.sizes, ", ")),
            "a parameter of the GradientAccumulator without tensor hooks, in a plain backward()",
            "a computed tensor, a hooked one, or autograd.grad",
            "Its sum over the whole batch cannot be cut into micro-batches: use one backward of the whole "
            "batch"});
    own_.window = window;
    own_.total = at::zeros(window.sizes, sums);
  }
  span_ = {place_->rows, rows, !micro_batch || micro_batch->last()};
  place_->rows += rows;
}

at::Tensor& FoldTarget::with_open(std::int64_t elements) {
  if (!place_->open.defined())
    place_->open = at::zeros({elements < 0 ? place_->total.numel() : elements}, place_->total.options());
  return place_->open;
}

at::Tensor FoldTarget::returned(const at::Tensor& base) {
  if (kept_) return {};
  if (is_whole(own_.window, base)) return own_.total.to(base.scalar_type());
  const at::Tensor gradient = zeros_for(base);
  gradient.as_strided(own_.window.sizes, own_.window.strides, own_.window.offset).copy_(own_.total);
  return gradient;
}

Accumulation::Entry* Accumulation::find(const at::Tensor& parameter) {
  const auto found = index.find(parameter.unsafeGetTensorImpl());
  return found == index.end() ? nullptr : &entries[found->second];
}

}  // namespace lockstep::invariant
