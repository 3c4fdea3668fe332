#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/dtype.h"
#include "lockstep/record/compare_step_internal.h"

namespace lockstep::record {
namespace {

enum class Equality : std::uint8_t { equal, different, undecided };

std::size_t at(Phase phase) { return static_cast<std::size_t>(phase); }

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string index_text(std::int64_t element, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> index(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] <= 0) return {};
    index[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return shape_text(index);
}

bool holds_values(const TensorSummary& tensor) {
  if (!tensor.values) return false;
  double elements = 1;
  for (const auto extent : tensor.shape) elements *= static_cast<double>(extent);
  return elements * static_cast<double>(dtype_bytes(tensor.dtype)) ==
         static_cast<double>(tensor.values->size());
}

void set_values(Divergence* divergence, DType dtype, std::uint64_t a, std::uint64_t b) {
  divergence->dtype = dtype;
  divergence->bits_a = a, divergence->bits_b = b;
  divergence->value_a = value_text(a, dtype), divergence->value_b = value_text(b, dtype);
  divergence->ulps = distance(a, b, dtype);
}

std::string spread_text(const ValueComparison& values, DType dtype) {
  std::string text = fmt::format("{} of {} elements differ", values.different, values.elements);
  if (values.different > 1 && values.largest_distance) {
    text += fmt::format(", by up to {}{}", *values.largest_distance, is_floating_point(dtype) ? " ulp" : "");
  }
  return text;
}

std::string statistics_text(const TensorSummary& a, const TensorSummary& b) {
  if (!a.statistics || !b.statistics) return {};
  const auto& x = *a.statistics;
  const auto& y = *b.statistics;
  std::string text;
  const auto add = [&](std::string_view name, double left, double right) {
    if (left == right || (std::isnan(left) && std::isnan(right))) return;
    text += fmt::format("{}{} {} against {}", text.empty() ? "" : ", ", name, left, right);
  };
  add("mean", x.mean, y.mean);
  add("min", x.min, y.min);
  add("max", x.max, y.max);
  add("norm", x.norm, y.norm);
  if (x.nan_count != y.nan_count) text += fmt::format("; NaN {} against {}", x.nan_count, y.nan_count);
  if (x.inf_count != y.inf_count) text += fmt::format("; Inf {} against {}", x.inf_count, y.inf_count);
  return text.empty() ? "sum, mean, std, min and max are the same" : text;
}

/// Fills what the two summaries tell about their first difference; `divergence` may be null.
Equality compare_tensors(const TensorSummary& a, const TensorSummary& b, const Tolerance& tolerance,
                         Divergence* divergence) {
  Divergence unused;
  Divergence& out = divergence ? *divergence : unused;
  if (a.dtype != b.dtype || a.shape != b.shape) {
    out.detail = fmt::format("{} {} against {} {}", dtype_name(a.dtype), shape_text(a.shape),
                             dtype_name(b.dtype), shape_text(b.shape));
    return Equality::different;
  }
  if (a.digest == b.digest) return Equality::equal;
  if (!divergence && tolerance.exact()) return Equality::different;
  out.digest_a = a.digest.hex(), out.digest_b = b.digest.hex();
  if (holds_values(a) && holds_values(b)) {
    const ValueComparison values = compare_values(*a.values, *b.values, a.dtype, tolerance);
    if (values.different == 0 && !tolerance.exact()) return Equality::equal;
    if (values.different == 0) {
      out.detail = "the digests differ though the recorded values are equal: a recording contradicts itself";
      return Equality::different;
    }
    set_values(&out, a.dtype, values.first_a, values.first_b);
    out.element = values.first;
    out.index_text = index_text(values.first, a.shape);
    out.detail = spread_text(values, a.dtype);
    return Equality::different;
  }
  const std::string statistics = statistics_text(a, b);
  out.detail = statistics.empty() ? "digests differ; values were not recorded"
                                  : "digests differ; values were not recorded; " + statistics;
  if (tolerance.exact() || !is_floating_point(a.dtype)) return Equality::different;
  if (!a.statistics || !b.statistics) return Equality::undecided;
  return statistics_exclude(*a.statistics, *b.statistics, tolerance) ? Equality::different
                                                                     : Equality::undecided;
}

/// Rounding in one step moves a parameter by parts in 10^7; another initial value by far more than parts in
/// 10^3.
bool far_apart(const TensorSummary& a, const TensorSummary& b) {
  if (!a.statistics || !b.statistics) return false;
  const auto& x = *a.statistics;
  const auto& y = *b.statistics;
  return std::abs(x.norm - y.norm) > 1e-3 * std::max(x.norm, y.norm) ||
         std::abs(x.mean - y.mean) > 1e-3 * std::max(x.std, y.std);
}

/// Pairs by key; equal keys by their order. Linear, and without a table while both sides list the same keys.
template <typename T, typename Key, typename Pair, typename Single>
void align(const std::vector<T>& a, const std::vector<T>& b, Key key, Pair pair, Single single) {
  std::size_t common = 0;
  while (common < a.size() && common < b.size() && key(a[common]) == key(b[common])) {
    pair(a[common], b[common]);
    ++common;
  }
  if (common == a.size() && common == b.size()) return;
  std::unordered_map<std::string, std::vector<const T*>> rest;
  for (std::size_t i = b.size(); i-- > common;) rest[std::string(key(b[i]))].push_back(&b[i]);
  for (std::size_t i = common; i < a.size(); ++i) {
    const auto found = rest.find(std::string(key(a[i])));
    if (found == rest.end() || found->second.empty()) {
      single(a[i], true);
      continue;
    }
    pair(a[i], *found->second.back());
    found->second.pop_back();
  }
  for (std::size_t i = common; i < b.size(); ++i) {
    const auto found = rest.find(std::string(key(b[i])));
    if (found->second.empty() || found->second.back() != &b[i]) continue;
    single(b[i], false);
    found->second.pop_back();
  }
}

class StepComparer {
 public:
  StepComparer(const StepRecords& a, const StepRecords& b, const StepRules& rules)
      : a_(a), b_(b), rules_(rules) {}

  StepResult run() {
    batches();
    losses();
    tensors();
    return std::move(result_);
  }

 private:
  Divergence at_phase(Phase phase, const std::string& tensor) const {
    Divergence divergence;
    divergence.step = a_.step;
    if (a_.batch) divergence.epoch = a_.batch->epoch, divergence.batch = a_.batch->index;
    divergence.phase = phase;
    divergence.tensor = tensor;
    return divergence;
  }

  void count(Phase phase, Equality equality, Divergence divergence) {
    auto& counts = result_.counts[at(phase)];
    ++counts.compared;
    if (equality == Equality::undecided) {
      ++counts.undecided;
      if (result_.undecided.empty() && rules_.judged[at(phase)]) {
        result_.undecided = fmt::format("{} '{}'", phase_name(phase), divergence.tensor);
      }
    }
    if (equality != Equality::different) return;
    ++counts.different;
    if (!rules_.judged[at(phase)]) return;
    if (!result_.first || phase < result_.first->phase) result_.first = std::move(divergence);
  }

  void one_sided(Phase phase, const std::string& name, bool in_a) {
    ++result_.counts[at(phase)].one_sided;
    if (!result_.one_sided.empty() || !rules_.judged[at(phase)]) return;
    result_.one_sided = fmt::format("{} '{}' in {} only", phase_name(phase), name, in_a ? "A" : "B");
  }

  void batch_number(const std::string& name, std::int64_t a, std::int64_t b, BatchState state) {
    if (a == b) return;
    Divergence divergence = at_phase(Phase::batch, name);
    set_values(&divergence, DType::int64, static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b));
    divergence.detail = fmt::format("{} {} against {}", name, a, b);
    count(Phase::batch, Equality::different, std::move(divergence));
    decide(state, name);
  }

  void decide(BatchState state, const std::string& part) {
    if (result_.batch != BatchState::equal && result_.batch != BatchState::undecided) return;
    result_.batch = state;
    result_.batch_part = part;
  }

  /// False where a program gave no ids: their digest is then that of nothing, and proves nothing about the
  /// samples.
  bool ids_known() const {
    const BatchRecord& batch = *a_.batch;
    if (batch.ids) return !batch.ids->empty();
    const auto nothing = [&](std::int64_t count) {
      return batch.ids_digest == fingerprint::finish({}, DType::int64, Shape{count});
    };
    return batch.samples <= 0 || !(nothing(0) || nothing(batch.samples));
  }

  void ids() {
    const BatchRecord& a = *a_.batch;
    const BatchRecord& b = *b_.batch;
    Divergence divergence = at_phase(Phase::batch, "ids");
    if (a.ids_digest == b.ids_digest) {
      count(Phase::batch, Equality::equal, std::move(divergence));
      return;
    }
    const bool reordered = a.ids_unordered == b.ids_unordered;
    divergence.digest_a = a.ids_digest.hex(), divergence.digest_b = b.ids_digest.hex();
    divergence.detail = reordered ? "the same ids in another order" : "other ids";
    if (a.ids && b.ids) locate_id(*a.ids, *b.ids, &divergence);
    count(Phase::batch, Equality::different, std::move(divergence));
    decide(reordered ? BatchState::order : BatchState::samples, "ids");
  }

  static void locate_id(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b,
                        Divergence* divergence) {
    const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    if (x == a.end() || y == b.end()) return;
    divergence->element = x - a.begin();
    divergence->index_text = fmt::format("[{}]", divergence->element);
    set_values(divergence, DType::int64, static_cast<std::uint64_t>(*x), static_cast<std::uint64_t>(*y));
    divergence->ulps.reset();
    const auto some = [](auto first, auto last) {
      const auto shown = std::min<std::ptrdiff_t>(last - first, 4);
      return fmt::format("{}{}", fmt::join(first, first + shown, ", "), last - first > shown ? ", …" : "");
    };
    divergence->detail += fmt::format("; ids {} against {}", some(x, a.end()), some(y, b.end()));
  }

  void field(const TensorSummary& a, const TensorSummary& b) {
    Divergence divergence = at_phase(Phase::batch, a.name);
    const Equality equality = compare_tensors(a, b, rules_.tolerance, &divergence);
    const bool reordered = a.unordered && b.unordered && *a.unordered == *b.unordered;
    if (equality == Equality::different && reordered) {
      divergence.detail = "the same rows in another order; " + divergence.detail;
    }
    count(Phase::batch, equality, std::move(divergence));
    if (equality == Equality::undecided) decide(BatchState::undecided, a.name);
    if (equality != Equality::different) return;
    if (reordered && !ids_known()) {
      decide(BatchState::order, a.name);
    } else {
      decide(ids_known() ? BatchState::content : BatchState::samples, a.name);
    }
  }

  void batches() {
    if (!a_.batch && !b_.batch) return;
    if (!a_.batch || !b_.batch) {
      one_sided(Phase::batch, "batch", a_.batch.has_value());
      return;
    }
    result_.batch = BatchState::equal;
    batch_number("samples", a_.batch->samples, b_.batch->samples, BatchState::samples);
    ids();
    align(
        a_.batch->fields, b_.batch->fields, [](const TensorSummary& x) -> std::string_view { return x.name; },
        [&](const TensorSummary& x, const TensorSummary& y) { field(x, y); },
        [&](const TensorSummary& x, bool in_a) { one_sided(Phase::batch, x.name, in_a); });
    batch_number("epoch", a_.batch->epoch, b_.batch->epoch, BatchState::position);
    batch_number("index", a_.batch->index, b_.batch->index, BatchState::position);
  }

  void loss(const LossRecord& a, const LossRecord& b) {
    Divergence divergence = at_phase(Phase::loss, a.name);
    if (a.dtype != b.dtype) {
      divergence.value_a = a.text, divergence.value_b = b.text;
      divergence.detail = fmt::format("{} against {}", dtype_name(a.dtype), dtype_name(b.dtype));
      count(Phase::loss, Equality::different, std::move(divergence));
      result_.different_losses.push_back(a.name);
      return;
    }
    const bool equal = a.bits == b.bits || agree(a.bits, b.bits, a.dtype, rules_.tolerance);
    if (!equal) set_values(&divergence, a.dtype, a.bits, b.bits);
    count(Phase::loss, equal ? Equality::equal : Equality::different, std::move(divergence));
    (equal ? result_.equal_losses : result_.different_losses).push_back(a.name);
  }

  void losses() {
    align(
        a_.losses, b_.losses, [](const LossRecord& x) -> std::string_view { return x.name; },
        [&](const LossRecord& x, const LossRecord& y) { loss(x, y); },
        [&](const LossRecord& x, bool in_a) { one_sided(Phase::loss, x.name, in_a); });
  }

  void tensor(const TensorRecord& a, const TensorRecord& b) {
    Divergence divergence = at_phase(a.phase, a.tensor.name);
    const Equality equality = compare_tensors(a.tensor, b.tensor, rules_.tolerance, &divergence);
    count(a.phase, equality, std::move(divergence));
    const bool different = equality == Equality::different;
    if (a.phase == Phase::gradient && different) result_.last_gradient = a.tensor.name;
    if (a.phase == Phase::parameter && different && far_apart(a.tensor, b.tensor))
      result_.parameters_far_apart = true;
    if (a.phase == Phase::named && !different && result_.counts[at(Phase::named)].different == 0) {
      result_.last_equal_named = a.tensor.name;
    }
  }

  void tensors() {
    const auto key = [](const TensorRecord& x) {
      return std::string(1, static_cast<char>('0' + static_cast<int>(x.phase))) + x.tensor.name;
    };
    align(
        a_.tensors, b_.tensors, key, [&](const TensorRecord& x, const TensorRecord& y) { tensor(x, y); },
        [&](const TensorRecord& x, bool in_a) {
          const Policy& other = in_a ? rules_.policy_b : rules_.policy_a;
          const bool always =
              x.phase == Phase::named && rules_.policy_a.tensors_every == rules_.policy_b.tensors_every;
          if (always || other.promises_tensors(x.step)) one_sided(x.phase, x.tensor.name, in_a);
        });
  }

  const StepRecords& a_;
  const StepRecords& b_;
  const StepRules& rules_;
  StepResult result_;
};

}  // namespace

Policy policy_of(const RunInfo& info) {
  Policy policy;
  const auto found = info.policy.find("tensors_every");
  if (found == info.policy.end()) return policy;
  const std::string& text = found->second;
  std::from_chars(text.data(), text.data() + text.size(), policy.tensors_every);
  return policy;
}

bool StepResult::different(const StepRules& rules) const {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (rules.judged[i] && counts[i].different > 0) return true;
  }
  return false;
}

bool StepResult::incomplete(const StepRules& rules) const {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (rules.judged[i] && (counts[i].one_sided > 0 || counts[i].undecided > 0)) return true;
  }
  return false;
}

StepResult compare_step(const StepRecords& a, const StepRecords& b, const StepRules& rules) {
  return StepComparer(a, b, rules).run();
}

}  // namespace lockstep::record
