#include "lockstep/record/model.h"

#include <array>
#include <utility>

#include "lockstep/base/error.h"

namespace lockstep::record {
namespace {

constexpr std::array<std::pair<Phase, std::string_view>, 6> kPhases{{{Phase::batch, "batch"},
                                                                     {Phase::named, "named"},
                                                                     {Phase::loss, "loss"},
                                                                     {Phase::gradient, "gradient"},
                                                                     {Phase::optimizer, "optimizer"},
                                                                     {Phase::parameter, "parameter"}}};

}  // namespace

std::string_view phase_name(Phase phase) {
  for (const auto& [known, name] : kPhases) {
    if (known == phase) return name;
  }
  fail(ErrorCode::corruption, {"phase", "number", "1 to 6", std::to_string(static_cast<int>(phase)), {}});
}

Phase parse_phase(std::string_view name) {
  for (const auto& [phase, known] : kPhases) {
    if (known == name) return phase;
  }
  fail(ErrorCode::invalid_argument,
       {"phase", "name", "batch, named, loss, gradient, optimizer or parameter", std::string(name), {}});
}

}  // namespace lockstep::record
