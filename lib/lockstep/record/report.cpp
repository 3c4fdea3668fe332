#include <ctime>

#include <fmt/format.h>

#include "lockstep/record/compare_values_internal.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {

std::string_view class_title(DivergenceClass value) {
  switch (value) {
    case DivergenceClass::none:
      return "no divergence";
    case DivergenceClass::same_samples_other_order:
      return "the same samples in another order";
    case DivergenceClass::other_samples:
      return "other samples";
    case DivergenceClass::same_samples_other_content:
      return "the same samples with other content";
    case DivergenceClass::same_data_other_value:
      return "the same data, another value";
    case DivergenceClass::only_loss:
      return "only a reported loss";
    case DivergenceClass::state_before:
      return "another state to begin with";
    case DivergenceClass::different_length:
      return "another length, the same as far as both go";
    case DivergenceClass::other_value:
      return "another value; whether the data match was not recorded";
  }
  return "";
}

std::string grouped(std::int64_t number) {
  std::string digits = fmt::format("{}", number);
  const std::size_t sign = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string counted(std::int64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(number), noun, number == 1 ? "" : "s");
}

std::string time_text(std::int64_t ns) {
  if (ns <= 0) return "not recorded";
  const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm parts{};
  if (!gmtime_r(&seconds, &parts)) return "not recorded";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string headline(const Comparison& comparison) {
  const bool exact = comparison.options.rtol == 0 && comparison.options.atol == 0;
  const std::string how =
      exact ? "bit for bit"
            : fmt::format("within rtol {} and atol {}", comparison.options.rtol, comparison.options.atol);
  switch (comparison.outcome) {
    case Outcome::same:
      return fmt::format("{} compared, every record the same {}", counted(comparison.steps_compared, "step"),
                         how);
    case Outcome::trouble:
      if (!comparison.semantic_differences.empty() && !comparison.options.force) {
        return "not compared: settings that decide the result differ";
      }
      if (comparison.steps_compared == 0) return "nothing was compared";
      return fmt::format("no difference in {}, but the evidence is not complete",
                         counted(comparison.steps_compared, "compared step"));
    case Outcome::different:
      break;
  }
  if (comparison.divergence_class == DivergenceClass::different_length) return comparison.first->detail;
  if (!comparison.first->inside.empty()) {
    return fmt::format("run {} differs from itself at step {}", comparison.first->inside,
                       grouped(comparison.first->step));
  }
  return fmt::format("first at step {}: {}", grouped(comparison.first->step),
                     class_title(comparison.divergence_class));
}

std::string value_with_bits(const std::string& value, const std::optional<std::uint64_t>& bits,
                            const std::optional<DType>& dtype) {
  if (!bits || !dtype || !is_floating_point(*dtype)) return value;
  return fmt::format("{}  {}", value, bits_text(*bits, *dtype));
}

std::string distance_text(const Divergence& divergence) {
  if (!divergence.ulps || !divergence.dtype) return {};
  return is_floating_point(*divergence.dtype) ? fmt::format("{} ulp", *divergence.ulps)
                                              : fmt::format("{} apart", *divergence.ulps);
}

std::vector<std::pair<std::string, std::string>> divergence_rows(const Divergence& divergence) {
  std::vector<std::pair<std::string, std::string>> rows;
  const auto add = [&](std::string name, std::string value) {
    if (!value.empty()) rows.emplace_back(std::move(name), std::move(value));
  };
  std::string where = grouped(divergence.step);
  if (divergence.epoch >= 0)
    where += fmt::format("  (epoch {}, batch {})", divergence.epoch, grouped(divergence.batch));
  add("step", where);
  if (divergence.rank > 0) add("rank", fmt::format("{}", divergence.rank));
  if (divergence.tensor.empty()) {
    add("detail", divergence.detail);
    return rows;
  }
  add("phase", std::string(phase_name(divergence.phase)));
  add(divergence.phase == Phase::batch  ? "field"
      : divergence.phase == Phase::loss ? "name"
                                        : "tensor",
      divergence.tensor);
  if (divergence.element >= 0) {
    add("element", divergence.index_text.empty() ? grouped(divergence.element) : divergence.index_text);
  }
  const bool inside = !divergence.inside.empty();
  add(inside ? "earlier" : "A", value_with_bits(divergence.value_a, divergence.bits_a, divergence.dtype));
  add(inside ? "later" : "B", value_with_bits(divergence.value_b, divergence.bits_b, divergence.dtype));
  add("distance", distance_text(divergence));
  add(inside ? "digest, earlier" : "digest A", divergence.digest_a);
  add(inside ? "digest, later" : "digest B", divergence.digest_b);
  add("detail", divergence.detail);
  return rows;
}

std::string_view state_name(StepState state) {
  switch (state) {
    case StepState::same:
      return "same";
    case StepState::different:
      return "different";
    case StepState::missing:
      return "evidence missing";
    case StepState::only_a:
      return "in A only";
    case StepState::only_b:
      return "in B only";
  }
  return "";
}

}  // namespace lockstep::record
