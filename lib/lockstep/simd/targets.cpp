#include "lockstep/simd/targets.h"

#include <cstdint>
#include <cstdlib>

#include "lockstep/base/error.h"
#include "lockstep/simd/simd_internal.h"

namespace lockstep::simd {
namespace {

constexpr const char* kScalar = "SCALAR";

// All files of vector forms are compiled with the same flags, so this one's targets are everybody's. The
// lowest bit is the best target.
constexpr std::int64_t kCompiled = HWY_TARGETS & ~HWY_SCALAR;

std::string list_of_names() {
  std::string text;
  for (const std::string& name : instruction_sets()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// A name of Highway's whose machine has it, but which holds no fma, is a wish for the scalar form.
std::int64_t target_named(std::string_view name) {
  if (name == kScalar) return HWY_SCALAR;
  for (std::int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    if (name == hwy::TargetName(target)) return (target & kCompiled) != 0 ? target : HWY_SCALAR;
  }
  fail(ErrorCode::invalid_argument, {"instruction set",
                                     "name (environment variable LOCKSTEP_ISA)",
                                     "one that this machine has: " + list_of_names(),
                                     std::string(name),
                                     {}});
}

const char*& active_name() {
  static const char* name = kScalar;
  return name;
}

hwy::ChosenTarget& choice() {
  static hwy::ChosenTarget chosen;
  return chosen;
}

void choose(std::string_view name) {
  const std::int64_t target = target_named(name);
  choice().Update(target);
  active_name() = target == HWY_SCALAR ? kScalar : hwy::TargetName(target);
}

bool choose_at_first_use() {
  const char* const wanted = std::getenv("LOCKSTEP_ISA");
  choose(wanted != nullptr && *wanted != '\0' ? std::string(wanted) : instruction_sets().front());
  return true;
}

void ensure_chosen() {
  static const bool chosen = choose_at_first_use();
  (void)chosen;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (std::int64_t rest = hwy::SupportedTargets() & kCompiled; rest != 0; rest &= rest - 1)
    names.emplace_back(hwy::TargetName(rest & -rest));
  names.emplace_back(kScalar);
  return names;
}

std::string_view active_instruction_set() {
  ensure_chosen();
  return active_name();
}

void force_instruction_set(std::string_view name) {
  ensure_chosen();
  choose(name);
}

const hwy::ChosenTarget& chosen_target() {
  ensure_chosen();
  return choice();
}

}  // namespace lockstep::simd
