#pragma once
// Compares two runs and finds the first divergence and its class. A difference is a result, never an error.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/record/model.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {

struct CompareOptions {
  double rtol = 0;  ///< both 0: exact, bit for bit (any NaN equals any NaN)
  double atol = 0;
  std::vector<Phase> phases;  ///< empty: all
  bool force = false;         ///< compare although semantic settings differ
};

enum class Outcome : std::uint8_t { same = 0, different = 1, trouble = 2 };  ///< also the exit code

/// Why the runs differ, from the evidence of the first divergent step on.
enum class DivergenceClass : std::uint8_t {
  none,
  same_samples_other_order,
  other_samples,
  same_samples_other_content,  ///< same ids, other bytes: data or augmentation
  same_data_other_value,       ///< equal batch, other loss, gradient or parameter
  only_loss,
  state_before,                ///< parameters already differ at the first common step
  different_length,            ///< one run is a whole prefix of the other
};

struct Divergence {
  std::int64_t step = 0, epoch = 0, batch = 0;
  Phase phase = Phase::batch;
  std::string tensor;
  std::int64_t element = -1;  ///< flat index; -1 where values were not recorded
  std::string index_text;     ///< "[3, 17]"
  std::string value_a, value_b;
  std::optional<std::uint64_t> ulps;
  std::string detail;         ///< "digest …, …"; "ids 4, 7 against 7, 4"
};

/// One step's cell of the strip in the report.
enum class StepState : std::uint8_t { same = 0, different = 1, missing = 2, only_a = 3, only_b = 4 };

struct Setting {
  std::string name, a, b;
};

struct Comparison {
  Outcome outcome = Outcome::trouble;
  std::string file_a, file_b;  ///< as people named them
  std::optional<RunInfo> info_a, info_b;
  std::string verdict_a, verdict_b;
  std::int64_t steps_compared = 0, steps_different = 0;
  std::int64_t records_compared = 0;
  std::optional<Divergence> first;
  DivergenceClass divergence_class = DivergenceClass::none;
  std::string cause;               ///< by the cause rule: the first record whose inputs match and whose outputs differ
  std::vector<std::string> hints;  ///< seed, workers, nondeterministic op, other library version: from the two headers
  std::vector<std::string> trouble;  ///< why the outcome is trouble: torn log, nothing comparable, settings that differ
  std::vector<Setting> semantic_differences, placement_differences, environment_differences;
  /// At most 2,000 cells: each stands for `steps_per_cell` steps and shows the worst of them.
  std::vector<StepState> strip;
  std::int64_t steps_per_cell = 1, first_step = 0;
};

/// Streams both runs once, side by side; memory does not grow with their length.
Comparison compare_runs(const Run& a, const Run& b, const CompareOptions& options = {});

std::string to_text(const Comparison& comparison, bool color);
/// Schema in docs/formats/compare-json.md ("schema": "lockstep.compare/1").
std::string to_json(const Comparison& comparison);
/// One self-contained page: no network, no script needed to read it.
std::string to_html(const Comparison& comparison);

}  // namespace lockstep::record
