#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <hwy/targets.h>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/kernel_internal.h"

namespace lockstep::fingerprint::internal {
namespace {

// The lowest bit is the best target.
std::int64_t usable_targets() {
  return hwy::SupportedTargets() & compiled_targets() & ~(HWY_SCALAR | HWY_EMU128);
}

std::vector<const char*> make_names() {
  std::vector<const char*> names;
  for (std::int64_t rest = usable_targets(); rest != 0; rest &= rest - 1)
    names.push_back(hwy::TargetName(rest & -rest));
  names.push_back("SCALAR");
  names.push_back(nullptr);
  return names;
}

Kernel choose() {
  const char* const wanted = std::getenv("LOCKSTEP_ISA");
  return kernel_named(wanted != nullptr && *wanted != '\0' ? wanted : kernel_names()[0]);
}

Kernel& chosen_kernel() {
  static Kernel chosen = choose();
  return chosen;
}

}  // namespace

Canon canon_of(DType dtype) {
  switch (dtype) {
    case DType::float16:
      return Canon::float16;
    case DType::bfloat16:
      return Canon::bfloat16;
    case DType::float32:
      return Canon::float32;
    case DType::float64:
      return Canon::float64;
    default:
      return Canon::none;
  }
}

const char* const* kernel_names() {
  static const std::vector<const char*> names = make_names();
  return names.data();
}

Kernel kernel_named(const char* name) {
  const std::string_view wanted(name);
  if (wanted == "SCALAR") return {};
  for (std::int64_t rest = usable_targets(); rest != 0; rest &= rest - 1) {
    if (wanted == hwy::TargetName(rest & -rest)) return kernel_of_target(rest & -rest);
  }
  std::string offered;
  for (const char* const* known = kernel_names(); *known != nullptr; ++known) {
    offered += (offered.empty() ? "" : ", ") + std::string(*known);
  }
  fail(ErrorCode::invalid_argument, {"digest",
                                     "instruction set (environment variable LOCKSTEP_ISA)",
                                     "one that this machine has: " + offered,
                                     std::string(wanted),
                                     {}});
}

const Kernel& kernel() { return chosen_kernel(); }

void force_kernel(const Kernel& forced) { chosen_kernel() = forced; }

}  // namespace lockstep::fingerprint::internal
