#pragma once
// Compares two runs and finds the first divergence and its class. A difference is a result, never an error.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/record/model.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {

/// Tolerances apply to floating-point values: a and b agree when |a - b| <= atol + rtol * max(|a|, |b|),
/// which is the same whichever run is named first. NaN agrees with NaN, an infinity with itself; integers,
/// ids and shapes stay exact.
struct CompareOptions {
  double rtol = 0;  ///< both 0: exact, bit for bit (any NaN equals any NaN)
  double atol = 0;
  std::vector<Phase>
      phases;          ///< what decides the outcome; empty: all. The other phases still serve as evidence
  bool force = false;  ///< compare although semantic settings differ
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
  state_before,      ///< parameters already differ at the first common step
  different_length,  ///< one run is a whole prefix of the other
  other_value,       ///< another value, and no batch was recorded that could show whether the data match
};
/// "same_samples_other_order", …: the name in JSON.
std::string_view divergence_class_name(DivergenceClass value);
std::string_view outcome_name(Outcome outcome);  ///< "same", "different", "trouble"

struct Divergence {
  std::int64_t step = 0, epoch = -1,
               batch = -1;  ///< epoch and batch are -1 where the step has no batch record
  Phase phase = Phase::batch;
  std::string tensor;         ///< the record's name; "ids", "samples", "epoch" for a batch's own
  std::int64_t element = -1;  ///< flat index; -1 where values were not recorded
  std::string index_text;     ///< "[3, 17]"
  std::string value_a, value_b;
  std::optional<DType> dtype;                   ///< of the two values, where there are any
  std::optional<std::uint64_t> bits_a, bits_b;  ///< zero-extended
  std::optional<std::uint64_t> ulps;            ///< integers: their difference. -0 and +0 are 0 apart
  std::string digest_a, digest_b;
  std::string detail;  ///< "digests differ; values were not recorded"; "ids 4, 7 against 7, 4"
  std::int32_t rank = 0;
  std::string inside;  ///< empty: between A and B; else "A" or "B", whose resumed segments disagree
};

/// One step's cell of the strip in the report.
enum class StepState : std::uint8_t { same = 0, different = 1, missing = 2, only_a = 3, only_b = 4 };

struct Setting {
  std::string name, a, b;
};

/// What was compared in one phase. A batch counts its ids and each of its fields.
struct PhaseTally {
  Phase phase = Phase::batch;
  std::int64_t compared = 0, different = 0;
  std::int64_t one_sided = 0;    ///< promised by both policies, recorded by one side
  std::int64_t undecided = 0;    ///< other digests under a tolerance, and no values
  std::int64_t first_step = -1;  ///< the first that differs
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
  std::string cause;  ///< by the cause rule: the first record whose inputs match and whose outputs differ
  std::vector<std::string>
      hints;  ///< seed, workers, nondeterministic op, other library version: from the two headers
  std::vector<std::string>
      trouble;  ///< why the outcome is trouble: torn log, nothing comparable, settings that differ
  std::vector<std::string> notes;  ///< what limits or qualifies the comparison and is no trouble
  std::vector<Setting> semantic_differences, placement_differences, environment_differences,
      policy_differences;
  std::vector<PhaseTally> phases;  ///< those that were met, in the order of a step
  std::int64_t last_equal_parameters =
      -1;  ///< last step before the first divergence whose parameters matched; -1: none
  CompareOptions options;
  /// At most 2,000 cells: each stands for `steps_per_cell` steps and shows the worst of them.
  std::vector<StepState> strip;
  std::int64_t steps_per_cell = 1, first_step = 0, last_step = -1;
};

/// Streams both runs once, side by side; memory does not grow with their length. Rules in compare.md.
/// Throws Error(invalid_argument) for a negative or non-finite tolerance; Error(not_found, io) as Reader
/// does.
Comparison compare_runs(const Run& a, const Run& b, const CompareOptions& options = {});

std::string to_text(const Comparison& comparison, bool color);
/// Schema in docs/formats/compare-json.md ("schema": "lockstep.compare/1").
std::string to_json(const Comparison& comparison);
/// One self-contained page: no network, no script needed to read it.
std::string to_html(const Comparison& comparison);

}  // namespace lockstep::record
