#pragma once
// Words that the text and the HTML report share.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lockstep/record/compare.h"

namespace lockstep::record {

/// "same samples in another order"
std::string_view class_title(DivergenceClass value);

/// "Every one of 1,000 steps is the same, bit for bit": one sentence under the outcome.
std::string headline(const Comparison& comparison);

/// 12345678 as "12,345,678".
std::string grouped(std::int64_t number);
/// "1 step", "2,000 steps".
std::string counted(std::int64_t number, std::string_view noun);

/// UTC, "2026-01-31 09:05:07 UTC"; "not recorded" for 0.
std::string time_text(std::int64_t ns);

/// "0.48291  0x3ef73f12", "sample 7": as a person wants to read it.
std::string value_with_bits(const std::string& value, const std::optional<std::uint64_t>& bits,
                            const std::optional<DType>& dtype);
/// "1 ulp", "3 apart", empty when there is none.
std::string distance_text(const Divergence& divergence);

/// The rows of "first divergence": name, value.
std::vector<std::pair<std::string, std::string>> divergence_rows(const Divergence& divergence);

std::string_view state_name(StepState state);

}  // namespace lockstep::record
