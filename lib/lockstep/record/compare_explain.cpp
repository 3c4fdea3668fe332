#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "lockstep/record/compare_explain_internal.h"

namespace lockstep::record {
namespace {

bool compared(const StepResult& step, Phase phase) {
  return step.counts[static_cast<std::size_t>(phase)].compared > 0;
}

bool only_losses_differ(const Evidence& evidence) {
  if (evidence.other_phases_different > 0) return false;
  if (evidence.tensors_equal > 0) return true;
  return std::any_of(
      evidence.losses_equal_later.begin(), evidence.losses_equal_later.end(), [&](const auto& entry) {
        const auto& names = evidence.losses_different;
        return entry.second > 0 && std::find(names.begin(), names.end(), entry.first) == names.end();
      });
}

DivergenceClass classify_batch(BatchState state) {
  switch (state) {
    case BatchState::order:
      return DivergenceClass::same_samples_other_order;
    case BatchState::samples:
      return DivergenceClass::other_samples;
    case BatchState::content:
      return DivergenceClass::same_samples_other_content;
    default:
      return DivergenceClass::other_value;
  }
}

std::string after(const Evidence& evidence) {
  if (evidence.first_common) return "Nothing was recorded before it.";
  return fmt::format("Every record before step {} that both sides have matches.",
                     evidence.last_equal_step + 1);
}

/// What is known about the state with which `step` began.
std::string state_sentence(std::int64_t step, const Evidence& evidence) {
  const std::int64_t last = evidence.last_equal_parameters;
  if (last >= 0 && last == step - 1) return fmt::format("The parameters after step {} match.", last);
  if (last >= 0) {
    return fmt::format(
        "The parameters last matched after step {}; what steps {} to {} did to them was not recorded, so a "
        "backward pass "
        "or an update there may be the origin. Record with tensors_every = 1 from step {} to narrow it down.",
        last, last + 1, step - 1, last + 1);
  }
  if (evidence.first_common) {
    return "The parameters before this step were not recorded, so other initial parameters would look the "
           "same.";
  }
  return fmt::format(
      "No parameters were recorded before this step, so a backward pass or an update before step {} may be "
      "the origin. "
      "Record with tensors_every = 1 to narrow it down.",
      step);
}

std::string batch_cause(const Divergence& first, DivergenceClass value, const Evidence& evidence) {
  const std::string& part = evidence.step.batch_part;
  switch (value) {
    case DivergenceClass::same_samples_other_order:
      return fmt::format(
          "The batch of step {} holds the same samples in another order, so the sampler is the first thing "
          "that differs. {}",
          first.step, after(evidence));
    case DivergenceClass::other_samples:
      return fmt::format(
          "The batch of step {} holds other samples, so the sampler (seed, epoch, batch size, ranks) is the "
          "first thing "
          "that differs. {}",
          first.step, after(evidence));
    case DivergenceClass::same_samples_other_content:
      return fmt::format(
          "The batch of step {} holds the same samples in the same order, but other bytes in '{}': a data "
          "file, decoding "
          "or an augmentation is the first thing that differs. {}",
          first.step, part, after(evidence));
    default:
      return fmt::format("The data of step {} match, but they are counted as another {}. {}", first.step,
                         part, after(evidence));
  }
}

std::string forward_cause(const Divergence& first, const Evidence& evidence) {
  const bool state_known =
      evidence.last_equal_parameters >= 0 && evidence.last_equal_parameters == first.step - 1;
  std::string text = fmt::format(
      fmt::runtime(evidence.step.batch == BatchState::equal ? "The batch of step {} matches and "
                                                            : "The batch of step {} was not recorded; "),
      first.step);
  text +=
      fmt::format("{} '{}' differs: ", first.phase == Phase::named ? "the tensor" : "the loss", first.tensor);
  if (first.phase == Phase::loss) {
    text +=
        state_known ? "the forward pass is the suspect." : "it is in the forward pass that it shows first.";
  } else {
    text += "the operation that makes it is ";
    text += state_known ? "the suspect" : "where it shows first";
    const std::string& before = evidence.step.last_equal_named;
    text += before.empty() ? "." : fmt::format(" ('{}' before it matches).", before);
  }
  return text + " " + state_sentence(first.step, evidence);
}

std::string gradient_cause(const Divergence& first, const Evidence& evidence) {
  const bool loss_known = compared(evidence.step, Phase::loss);
  std::string text = loss_known
                         ? fmt::format(
                               "The loss of step {} matches and the gradient of '{}' differs: the "
                               "backward pass is the suspect.",
                               first.step, first.tensor)
                         : fmt::format(
                               "The gradient of '{}' differs at step {} and no loss was recorded there: "
                               "the forward or the backward pass is the suspect.",
                               first.tensor, first.step);
  const std::string& last = evidence.step.last_gradient;
  if (!last.empty() && last != first.tensor) {
    text += fmt::format(" Backward reaches '{}' before the others that differ: look there first.", last);
  }
  return text + " " + state_sentence(first.step, evidence);
}

std::string update_cause(const Divergence& first, const Evidence& evidence) {
  const char* what = first.phase == Phase::optimizer ? "optimizer state" : "updated parameter";
  const std::string text = compared(evidence.step, Phase::gradient)
                               ? fmt::format(
                                     "The gradients of step {} match and the {} '{}' differs: the "
                                     "optimizer's update is the suspect.",
                                     first.step, what, first.tensor)
                               : fmt::format(
                                     "The {} '{}' differs after step {} and no gradients were recorded "
                                     "there: the backward pass or "
                                     "the optimizer's update is the suspect.",
                                     what, first.tensor, first.step);
  return text + " " + state_sentence(first.step, evidence);
}

std::string only_loss_cause(const Divergence& first, const Evidence& evidence) {
  return fmt::format(
      "Only the value reported as '{}' differs; {} from step {} on match, so training itself went the same "
      "way: "
      "how this value is computed or reported is the suspect.",
      first.tensor,
      evidence.tensors_equal > 0
          ? fmt::format("{} gradients, optimizer states and parameters", evidence.tensors_equal)
          : std::string("the other losses"),
      first.step);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool mentions(const std::string& name, std::initializer_list<const char*> words) {
  const std::string text = lower(name);
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != text.npos; });
}

bool is_off(const std::string& value) {
  const std::string text = lower(value);
  return text == "0" || text == "false" || text == "off" || text == "no";
}

bool is_on(const std::string& value) {
  const std::string text = lower(value);
  return text == "1" || text == "true" || text == "on" || text == "yes";
}

std::string pair_text(const Setting& setting) {
  return fmt::format("{}: {} against {}", setting.name, setting.a, setting.b);
}

bool about_data(DivergenceClass value) {
  return value == DivergenceClass::same_samples_other_order || value == DivergenceClass::other_samples ||
         value == DivergenceClass::same_samples_other_content;
}

void semantic_hints(const Comparison& comparison, std::vector<std::string>* hints) {
  for (const auto& setting : comparison.semantic_differences) {
    const bool seed = mentions(setting.name, {"seed"});
    hints->push_back(pair_text(setting) +
                     (seed ? ". Another seed draws another order, other augmentations and other "
                             "initial parameters: this alone explains it"
                           : ". This setting decides what is computed"));
  }
}

void placement_hints(const Comparison& comparison, std::vector<std::string>* hints) {
  for (const auto& setting : comparison.placement_differences) {
    std::string why = "This must not change a result; here it may have";
    if (mentions(setting.name, {"worker", "prefetch"})) {
      why = about_data(comparison.divergence_class)
                ? "Data that depend on it come from worker-local random state or from taking batches as they "
                  "arrive"
                : "Workers deliver data; the batches match, so look further first";
    } else if (mentions(setting.name, {"thread"})) {
      why = "A sum over threads rounds in another order";
    } else if (mentions(setting.name, {"micro", "accum"})) {
      why = "Gradients summed over other micro-batches round in another order";
    } else if (mentions(setting.name, {"device"})) {
      why = "Another device computes with other kernels";
    } else if (mentions(setting.name, {"world", "rank"})) {
      why = "Sums over another number of ranks round in another order";
    }
    hints->push_back(pair_text(setting) + ". " + why);
  }
}

/// Why a setting of the environment may matter; empty for those that explain nothing.
std::string environment_reason(const Setting& setting) {
  if (setting.name.starts_with("env.LOCKSTEP_")) return {};
  if (mentions(setting.name, {"rounding", "flush_to_zero"})) return "The processor rounds in another way";
  if (mentions(setting.name, {"ld_preload", "ld_library"})) return "Other libraries may have been loaded";
  if (mentions(setting.name, {"commit", "git"})) return "The programs were built from other sources";
  if (mentions(setting.name, {"tf32"})) return "TF32 rounds the inputs of matrix products to 10 bits";
  if (mentions(setting.name, {"deterministic"})) return "Only one side asked for deterministic operations";
  if (mentions(setting.name, {"benchmark"}))
    return "cuDNN's benchmark mode may choose another algorithm in each run";
  if (mentions(setting.name, {"cublas_workspace"}))
    return "Without a fixed workspace cuBLAS may choose other kernels";
  if (mentions(setting.name, {"autocast", "precision"})) return "Other precision, other values";
  if (mentions(setting.name, {"thread", "cpu.count"})) return "A sum over threads rounds in another order";
  if (mentions(setting.name, {"instruction", "capability"})) return "Libraries choose other kernels for it";
  if (mentions(setting.name, {"cpu", "gpu", "device"})) return "Libraries choose kernels by the hardware";
  if (mentions(setting.name, {"torch", "cuda", "cudnn", "cublas", "nccl", "mkl", "driver", "library",
                              "version", "compiler", "flags", "lockstep"})) {
    return "Another version may round in another order";
  }
  return {};
}

void environment_hints(const Comparison& comparison, std::vector<std::string>* hints) {
  for (const auto& setting : comparison.environment_differences) {
    const std::string reason = environment_reason(setting);
    if (!reason.empty()) hints->push_back(pair_text(setting) + ". " + reason);
  }
}

/// Switches that are the same on both sides and still allow a run to differ from itself.
void switch_hints(const Comparison& comparison, std::vector<std::string>* hints) {
  const auto& a = comparison.info_a->environment;
  const auto& b = comparison.info_b->environment;
  for (const auto& [name, value] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second != value) continue;
    if (mentions(name, {"deterministic"}) && is_off(value)) {
      hints->push_back(
          fmt::format("{} is {} in both runs: an operation that is not deterministic is likely. Switch it on "
                      "to have torch name it",
                      name, value));
    }
    if (mentions(name, {"benchmark"}) && is_on(value)) {
      hints->push_back(
          fmt::format("{} is {} in both runs: it may choose another algorithm each time", name, value));
    }
  }
}

void recording_hints(const Comparison& comparison, std::vector<std::string>* hints) {
  const Divergence& first = *comparison.first;
  const bool located = first.element >= 0 || first.bits_a.has_value();
  if (!located && !first.digest_a.empty()) {
    hints->push_back(
        fmt::format("The element was not recorded. Repeat both runs up to step {} with tensor_values on "
                    "(batch fields: full_batches above {}) to see it",
                    first.step, first.step));
  }
}

}  // namespace

DivergenceClass classify(const Divergence& first, const Evidence& evidence) {
  if (evidence.step.batch != BatchState::absent && evidence.step.batch != BatchState::equal &&
      evidence.step.batch != BatchState::undecided) {
    return classify_batch(evidence.step.batch);
  }
  if (first.phase == Phase::loss && only_losses_differ(evidence)) return DivergenceClass::only_loss;
  if (evidence.initial_state && first.phase >= Phase::optimizer) return DivergenceClass::state_before;
  if (evidence.first_common && evidence.step.parameters_far_apart) return DivergenceClass::state_before;
  return evidence.step.batch == BatchState::equal ? DivergenceClass::same_data_other_value
                                                  : DivergenceClass::other_value;
}

std::string explain_cause(const Divergence& first, DivergenceClass value, const Evidence& evidence) {
  if (value == DivergenceClass::only_loss) return only_loss_cause(first, evidence);
  if (value == DivergenceClass::state_before) {
    return fmt::format(
        "The runs begin from other states: at step {}, the first that both recorded, the parameters already "
        "differ by more "
        "than rounding. Initialisation, the checkpoint that was loaded or the seed is the first thing that "
        "differs.",
        first.step);
  }
  if (first.phase == Phase::batch || about_data(value)) return batch_cause(first, value, evidence);
  if (first.phase <= Phase::loss) return forward_cause(first, evidence);
  if (first.phase == Phase::gradient) return gradient_cause(first, evidence);
  return update_cause(first, evidence);
}

std::vector<std::string> explain_hints(const Comparison& comparison) {
  std::vector<std::string> hints;
  if (!comparison.first || comparison.divergence_class == DivergenceClass::different_length) return hints;
  semantic_hints(comparison, &hints);
  placement_hints(comparison, &hints);
  environment_hints(comparison, &hints);
  if (comparison.info_a && comparison.info_b) switch_hints(comparison, &hints);
  if (hints.empty() && about_data(comparison.divergence_class)) {
    hints.push_back(
        "The two headers tell no difference that explains it. Random state that is not part of the seed, "
        "files that "
        "changed between the runs, or batches taken as workers finish them would look like this");
  } else if (hints.empty()) {
    hints.push_back(
        "The two headers tell no difference that explains it. An operation that is not deterministic, a race "
        "or memory "
        "that was read before it was written would look like this; run the same command again to see whether "
        "it repeats");
  }
  recording_hints(comparison, &hints);
  return hints;
}

std::vector<Setting> setting_differences(const std::map<std::string, std::string>& a,
                                         const std::map<std::string, std::string>& b) {
  constexpr const char* kAbsent = "(not recorded)";
  std::vector<Setting> result;
  for (const auto& [name, value] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      result.push_back({name, value, kAbsent});
    } else if (other->second != value) {
      result.push_back({name, value, other->second});
    }
  }
  for (const auto& [name, value] : b) {
    if (!a.contains(name)) result.push_back({name, kAbsent, value});
  }
  std::sort(result.begin(), result.end(), [](const Setting& x, const Setting& y) { return x.name < y.name; });
  return result;
}

}  // namespace lockstep::record
