#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/record/compare_internal.h"
#include "lockstep/record/compare_strip_internal.h"
#include "lockstep/record/compare_values_internal.h"

namespace lockstep::record {
namespace {

/// A recording in memory.
struct Tape {
  RunInfo info;
  std::vector<Record> records;
  std::vector<std::size_t> gaps;  ///< before these records frames are lost
  bool ended = true;
  std::string reason = "closed";
};

class TapeSource : public RecordSource {
 public:
  explicit TapeSource(const Tape& tape) : tape_(tape) {}
  std::optional<Record> next() override {
    if (at_ < tape_.records.size()) return tape_.records[at_++];
    if (!tape_.ended || end_given_) return std::nullopt;
    end_given_ = true;
    EndRecord end;
    end.reason = tape_.reason;
    return end;
  }
  bool gap_before() const override {
    return !end_given_ && std::find(tape_.gaps.begin(), tape_.gaps.end(), at_ - 1) != tape_.gaps.end();
  }
  Check check() const override {
    Check check;
    check.verdict = !tape_.gaps.empty() ? Verdict::damaged_middle
                    : tape_.ended       ? Verdict::complete
                                        : Verdict::torn_tail;
    return check;
  }

 private:
  Tape tape_;
  std::size_t at_ = 0;
  bool end_given_ = false;
};

RunSource run_of(const std::vector<Tape>& tapes) {
  RunSource source;
  source.label = "memory";
  for (const auto& tape : tapes) {
    source.ranks[tape.info.rank].push_back({tape.info, "segment" + std::to_string(tape.info.segment),
                                            [tape] { return std::make_unique<TapeSource>(tape); }});
  }
  return source;
}

Comparison compared(const Tape& a, const Tape& b, const CompareOptions& options = {}) {
  return compare_sources(run_of({a}), run_of({b}), options);
}

TensorSummary summary_of(const std::string& name, const std::vector<float>& values, bool keep_values = true) {
  const auto rows = static_cast<std::int64_t>(values.size());
  const ConstView view{values.data(), DType::float32, {rows, 1}};
  TensorSummary summary;
  summary.name = name;
  summary.shape = {rows, 1};
  summary.digest = fingerprint::digest(view);
  summary.unordered =
      fingerprint::finish(fingerprint::digest_samples_unordered(view), DType::float32, {rows, 1});
  summary.statistics = fingerprint::statistics(view);
  if (keep_values)
    summary.values = std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size());
  return summary;
}

BatchRecord batch_of(std::int64_t step, std::vector<std::int64_t> ids) {
  const auto count = static_cast<std::int64_t>(ids.size());
  const ConstView view{ids.data(), DType::int64, {count}};
  BatchRecord batch;
  batch.step = step, batch.index = step, batch.samples = count;
  batch.ids_digest = fingerprint::digest(view);
  batch.ids_unordered =
      fingerprint::finish(fingerprint::digest_samples_unordered(view), DType::int64, {count});
  std::vector<float> data;
  for (const auto id : ids) data.push_back(static_cast<float>(id) * 0.5f);
  batch.fields.push_back(summary_of("data", data));
  batch.ids = std::move(ids);
  return batch;
}

LossRecord loss_of(std::int64_t step, float value, const std::string& name = "loss") {
  LossRecord loss;
  loss.step = step, loss.name = name;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  loss.bits = bits;
  return loss;
}

TensorRecord tensor_of(std::int64_t step, Phase phase, const std::string& name, std::vector<float> values,
                       bool keep_values = true) {
  return {step, phase, summary_of(name, values, keep_values)};
}

std::vector<Record> step_of_run(std::int64_t step) {
  const auto x = static_cast<float>(step);
  return {batch_of(step, {4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3}),
          loss_of(step, 1.0f / (1 + x)),
          tensor_of(step, Phase::gradient, "first", {x, x + 1, x + 2}),
          tensor_of(step, Phase::gradient, "second", {x + 3, x + 4}),
          tensor_of(step, Phase::parameter, "first", {x * 2, x * 3, x * 4}),
          tensor_of(step, Phase::parameter, "second", {x * 5, x * 6})};
}

Tape tape_of(std::int64_t from, std::int64_t to) {
  Tape tape;
  tape.info.run_id = std::string(32, 'a');
  tape.info.semantic["seed"] = "1";
  tape.info.placement["workers"] = "0";
  tape.info.policy["tensors_every"] = "1";
  tape.info.first_step = from;
  for (std::int64_t step = from; step < to; ++step) {
    for (auto& record : step_of_run(step)) tape.records.push_back(std::move(record));
  }
  return tape;
}

Tape other_tape(std::int64_t from, std::int64_t to) {
  Tape tape = tape_of(from, to);
  tape.info.run_id = std::string(32, 'b');
  return tape;
}

constexpr std::size_t kRecordsAStep = 6;
template <typename T>
T& record_at(Tape& tape, std::int64_t step, std::size_t index) {
  return std::get<T>(tape.records[static_cast<std::size_t>(step) * kRecordsAStep + index]);
}

TEST(Compare, EqualRunsAreTheSame) {
  const Comparison result = compared(tape_of(0, 10), other_tape(0, 10));
  EXPECT_EQ(result.outcome, Outcome::same) << to_text(result, false);
  EXPECT_EQ(result.steps_compared, 10);
  EXPECT_EQ(result.records_compared, 10 * 7);
  EXPECT_EQ(result.strip, std::vector<StepState>(10, StepState::same));
  EXPECT_EQ(result.verdict_a, "complete");
}

TEST(Compare, AnotherOrderIsSeenThoughStatisticsAreEqual) {
  Tape b = other_tape(0, 6);
  record_at<BatchRecord>(b, 3, 0) = batch_of(3, {13, 12, 14, 15});
  const Tape a = tape_of(0, 6);
  const auto& field_a = std::get<BatchRecord>(a.records[3 * kRecordsAStep]).fields[0];
  const auto& field_b = record_at<BatchRecord>(b, 3, 0).fields[0];
  // The wrong twin: a comparison of sum, mean, std, min and max calls these two batches equal.
  EXPECT_EQ(field_a.statistics->sum, field_b.statistics->sum);
  EXPECT_EQ(field_a.statistics->std, field_b.statistics->std);
  EXPECT_EQ(field_a.statistics->min, field_b.statistics->min);
  EXPECT_EQ(field_a.statistics->max, field_b.statistics->max);
  EXPECT_NE(field_a.digest, field_b.digest);
  const Comparison result = compared(a, b);
  ASSERT_EQ(result.outcome, Outcome::different);
  EXPECT_EQ(result.divergence_class, DivergenceClass::same_samples_other_order);
  EXPECT_EQ(result.first->step, 3);
  EXPECT_EQ(result.first->tensor, "ids");
  EXPECT_EQ(result.first->element, 0);
  EXPECT_EQ(result.first->value_a, "12");
  EXPECT_EQ(result.first->value_b, "13");
}

TEST(Compare, OtherSamplesAndOtherContentAreToldApart) {
  Tape b = other_tape(0, 6);
  record_at<BatchRecord>(b, 2, 0) = batch_of(2, {8, 9, 10, 99});
  EXPECT_EQ(compared(tape_of(0, 6), b).divergence_class, DivergenceClass::other_samples);
  Tape c = other_tape(0, 6);
  record_at<BatchRecord>(c, 2, 0).fields[0] = summary_of("data", {4, 4.5f, 5.25f, 5.5f});
  const Comparison result = compared(tape_of(0, 6), c);
  EXPECT_EQ(result.divergence_class, DivergenceClass::same_samples_other_content);
  EXPECT_EQ(result.first->index_text, "[2, 0]");
  EXPECT_EQ(result.first->value_a, "5");
  EXPECT_EQ(result.first->value_b, "5.25");
}

TEST(Compare, TheFirstInTheOrderOfAStepIsNamed) {
  Tape b = other_tape(0, 8);
  record_at<TensorRecord>(b, 5, 4) = tensor_of(5, Phase::parameter, "first", {0, 0, 0});
  record_at<TensorRecord>(b, 5, 3) = tensor_of(5, Phase::gradient, "second", {8, 0});
  record_at<TensorRecord>(b, 5, 2) = tensor_of(5, Phase::gradient, "first", {5, 6, 0});
  const Comparison result = compared(tape_of(0, 8), b);
  ASSERT_EQ(result.outcome, Outcome::different);
  EXPECT_EQ(result.divergence_class, DivergenceClass::same_data_other_value);
  EXPECT_EQ(result.first->phase, Phase::gradient);
  EXPECT_EQ(result.first->tensor, "first");
  EXPECT_EQ(result.first->element, 2);
  EXPECT_EQ(result.last_equal_parameters, 4);
  EXPECT_NE(result.cause.find("backward pass is the suspect"), std::string::npos) << result.cause;
  EXPECT_NE(result.cause.find("'second' before the others"), std::string::npos) << result.cause;
}

TEST(Compare, OnlyTheLossNeedsProofThatTrainingWentTheSameWay) {
  Tape b = other_tape(0, 8);
  record_at<LossRecord>(b, 5, 1) = loss_of(5, 7);
  EXPECT_EQ(compared(tape_of(0, 8), b).divergence_class, DivergenceClass::only_loss);
  Tape bare_a = tape_of(0, 8), bare_b = b;
  for (auto* tape : {&bare_a, &bare_b}) {
    std::erase_if(tape->records,
                  [](const Record& record) { return std::holds_alternative<TensorRecord>(record); });
    tape->info.policy["tensors_every"] = "0";
  }
  EXPECT_EQ(compared(bare_a, bare_b).divergence_class, DivergenceClass::same_data_other_value);
}

TEST(Compare, WithoutBatchesTheClassSaysThatItDoesNotKnow) {
  Tape a = tape_of(0, 4), b = other_tape(0, 4);
  record_at<TensorRecord>(b, 2, 2) = tensor_of(2, Phase::gradient, "first", {0, 0, 1});
  for (auto* tape : {&a, &b}) {
    std::erase_if(tape->records,
                  [](const Record& record) { return std::holds_alternative<BatchRecord>(record); });
  }
  EXPECT_EQ(compared(a, b).divergence_class, DivergenceClass::other_value);
}

TEST(Compare, OtherStateToBeginWith) {
  Tape b = other_tape(0, 4);
  for (std::int64_t step = 0; step < 4; ++step) {
    record_at<LossRecord>(b, step, 1) = loss_of(step, 3);
    record_at<TensorRecord>(b, step, 4) = tensor_of(step, Phase::parameter, "first", {9, 9, 9});
  }
  EXPECT_EQ(compared(tape_of(0, 4), b).divergence_class, DivergenceClass::state_before);
}

TEST(Compare, ATornTailIsTroubleAndNeverTheSame) {
  Tape b = other_tape(0, 7);
  b.ended = false;
  const Comparison result = compared(tape_of(0, 10), b);
  EXPECT_EQ(result.outcome, Outcome::trouble);
  EXPECT_EQ(result.verdict_b, "torn tail");
  EXPECT_EQ(result.strip.back(), StepState::only_a);
  Tape whole_but_unended = other_tape(0, 10);
  whole_but_unended.ended = false;
  EXPECT_EQ(compared(tape_of(0, 10), whole_but_unended).outcome, Outcome::trouble);
}

TEST(Compare, ADifferenceBeforeTheTearStays) {
  Tape b = other_tape(0, 7);
  b.ended = false;
  record_at<LossRecord>(b, 3, 1) = loss_of(3, 9);
  EXPECT_EQ(compared(tape_of(0, 10), b).outcome, Outcome::different);
}

TEST(Compare, LostFramesAreTrouble) {
  Tape b = other_tape(0, 10);
  b.records.erase(b.records.begin() + 27, b.records.begin() + 29);
  b.gaps = {27};
  const Comparison result = compared(tape_of(0, 10), b);
  EXPECT_EQ(result.outcome, Outcome::trouble);
  EXPECT_EQ(result.verdict_b, "damaged middle");
  EXPECT_EQ(result.strip[4], StepState::missing);
}

TEST(Compare, AnotherLengthIsADifferenceWhenBothAreComplete) {
  const Comparison result = compared(tape_of(0, 10), other_tape(0, 8));
  EXPECT_EQ(result.outcome, Outcome::different);
  EXPECT_EQ(result.divergence_class, DivergenceClass::different_length);
  EXPECT_EQ(result.first->step, 8);
  Tape interrupted = other_tape(0, 8);
  interrupted.reason = "interrupted";
  EXPECT_EQ(compared(tape_of(0, 10), interrupted).outcome, Outcome::trouble);
}

TEST(Compare, WhatAPolicyDoesNotPromiseIsNotMissing) {
  Tape b = other_tape(0, 10);
  b.info.policy["tensors_every"] = "5";
  std::erase_if(b.records, [](const Record& record) {
    const auto* tensor = std::get_if<TensorRecord>(&record);
    return tensor && tensor->step % 5 != 0;
  });
  const Comparison result = compared(tape_of(0, 10), b);
  EXPECT_EQ(result.outcome, Outcome::same) << to_text(result, false);
  EXPECT_EQ(result.records_compared, 10 * 3 + 2 * 4);
  std::erase_if(b.records, [](const Record& record) {
    const auto* tensor = std::get_if<TensorRecord>(&record);
    return tensor && tensor->step == 5;
  });
  EXPECT_EQ(compared(tape_of(0, 10), b).outcome, Outcome::trouble);
}

TEST(Compare, OtherSemanticSettingsAreRefusedUnlessForced) {
  Tape b = other_tape(0, 4);
  b.info.semantic["seed"] = "2";
  const Comparison refused = compared(tape_of(0, 4), b);
  EXPECT_EQ(refused.outcome, Outcome::trouble);
  EXPECT_NE(refused.trouble.front().find("seed (1 against 2)"), std::string::npos);
  EXPECT_NE(refused.trouble.front().find("--force"), std::string::npos);
  CompareOptions force;
  force.force = true;
  EXPECT_EQ(compared(tape_of(0, 4), b, force).outcome, Outcome::same);
}

TEST(Compare, PlacementIsShownAndCompared) {
  Tape b = other_tape(0, 4);
  b.info.placement["workers"] = "4";
  const Comparison result = compared(tape_of(0, 4), b);
  EXPECT_EQ(result.outcome, Outcome::same);
  ASSERT_EQ(result.placement_differences.size(), 1u);
  EXPECT_EQ(result.placement_differences[0].b, "4");
}

TEST(Compare, PhasesLimitTheOutcomeAndNotTheEvidence) {
  Tape b = other_tape(0, 4);
  record_at<BatchRecord>(b, 1, 0) = batch_of(1, {5, 4, 6, 7});
  record_at<LossRecord>(b, 1, 1) = loss_of(1, 8);
  CompareOptions options;
  options.phases = {Phase::parameter};
  EXPECT_EQ(compared(tape_of(0, 4), b, options).outcome, Outcome::same);
  options.phases = {Phase::loss};
  const Comparison result = compared(tape_of(0, 4), b, options);
  EXPECT_EQ(result.first->phase, Phase::loss);
  EXPECT_EQ(result.divergence_class, DivergenceClass::same_samples_other_order);
}

TEST(Compare, NothingToCompareIsTrouble) {
  EXPECT_EQ(compared(tape_of(0, 0), other_tape(0, 0)).outcome, Outcome::trouble);
  EXPECT_EQ(compare_sources(RunSource{}, run_of({tape_of(0, 2)}), {}).outcome, Outcome::trouble);
}

Tape segment(std::int64_t number, std::int64_t from, std::int64_t to, bool ended) {
  Tape tape = tape_of(from, to);
  tape.info.segment = static_cast<std::int32_t>(number);
  tape.ended = ended;
  return tape;
}

TEST(CompareSegments, AResumedRunEqualsOneThatWasNotBroken) {
  const auto resumed = run_of({segment(0, 0, 7, false), segment(1, 5, 12, false), segment(2, 5, 20, true)});
  const Comparison result = compare_sources(resumed, run_of({other_tape(0, 20)}), {});
  EXPECT_EQ(result.outcome, Outcome::same) << to_text(result, false);
  EXPECT_EQ(result.steps_compared, 20);
}

TEST(CompareSegments, AnOverlapThatDisagreesIsADivergenceInsideTheRun) {
  Tape late = segment(1, 5, 20, true), early = segment(0, 0, 8, false);
  record_at<LossRecord>(early, 6, 1) = loss_of(6, 5);
  const Comparison result = compare_sources(run_of({early, late}), run_of({other_tape(0, 20)}), {});
  EXPECT_EQ(result.outcome, Outcome::different);
  EXPECT_EQ(result.first->inside, "A");
  EXPECT_EQ(result.first->step, 6);
  EXPECT_NE(result.cause.find("differs from itself"), std::string::npos);
}

TEST(CompareSegments, AHoleBetweenSegmentsIsTrouble) {
  const auto broken = run_of({segment(0, 0, 4, false), segment(1, 6, 20, true)});
  EXPECT_EQ(compare_sources(broken, run_of({other_tape(0, 20)}), {}).outcome, Outcome::trouble);
  const auto lacking = run_of({segment(0, 0, 8, false), segment(2, 5, 20, true)});
  EXPECT_EQ(compare_sources(lacking, run_of({other_tape(0, 20)}), {}).outcome, Outcome::trouble);
}

Tape of_rank(Tape tape, std::int32_t rank, std::int32_t world) {
  tape.info.rank = rank, tape.info.world_size = world;
  return tape;
}

TEST(CompareRanks, ARankThatDiffersIsNamedAndOneThatIsMissingIsTrouble) {
  const auto a = run_of({of_rank(tape_of(0, 4), 0, 2), of_rank(tape_of(0, 4), 1, 2)});
  Tape wrong = of_rank(other_tape(0, 4), 1, 2);
  record_at<LossRecord>(wrong, 2, 1) = loss_of(2, 5);
  const Comparison result = compare_sources(a, run_of({of_rank(other_tape(0, 4), 0, 2), wrong}), {});
  EXPECT_EQ(result.outcome, Outcome::different);
  EXPECT_EQ(result.first->rank, 1);
  EXPECT_EQ(compare_sources(a, run_of({of_rank(other_tape(0, 4), 0, 2)}), {}).outcome, Outcome::trouble);
}

TEST(CompareRanks, OtherWorldSizesCompareWhatAllRanksShare) {
  const auto two = run_of({of_rank(tape_of(0, 4), 0, 2), of_rank(tape_of(0, 4), 1, 2)});
  EXPECT_EQ(compare_sources(two, run_of({other_tape(0, 4)}), {}).outcome, Outcome::trouble);
  CompareOptions options;
  options.phases = {Phase::gradient, Phase::parameter};
  EXPECT_EQ(compare_sources(two, run_of({other_tape(0, 4)}), options).outcome, Outcome::same);
}

TEST(CompareTolerance, ValuesDecideAndStatisticsNeverProveEquality) {
  Tape b = other_tape(0, 4);
  record_at<LossRecord>(b, 2, 1) = loss_of(2, 1.0f / 3 + 1e-7f);
  record_at<TensorRecord>(b, 2, 2) = tensor_of(2, Phase::gradient, "first", {2, 3.0000002f, 4});
  EXPECT_EQ(compared(tape_of(0, 4), b).outcome, Outcome::different);
  CompareOptions options;
  options.rtol = 1e-6;
  EXPECT_EQ(compared(tape_of(0, 4), b, options).outcome, Outcome::same);
  EXPECT_EQ(compared(b, tape_of(0, 4), options).outcome, Outcome::same);
  Tape a = tape_of(0, 4);
  record_at<TensorRecord>(a, 2, 2) = tensor_of(2, Phase::gradient, "first", {2, 3, 4}, false);
  record_at<TensorRecord>(b, 2, 2) = tensor_of(2, Phase::gradient, "first", {3, 2, 4}, false);
  const Comparison undecided = compared(a, b, options);
  EXPECT_EQ(undecided.outcome, Outcome::trouble);
  EXPECT_NE(undecided.trouble.front().find("tensor_values"), std::string::npos);
  record_at<TensorRecord>(b, 2, 2) = tensor_of(2, Phase::gradient, "first", {3, 2, 5}, false);
  EXPECT_EQ(compared(a, b, options).outcome, Outcome::different);
}

TEST(CompareTolerance, ANegativeOneIsRefused) {
  CompareOptions options;
  options.rtol = -1;
  try {
    compared(tape_of(0, 1), other_tape(0, 1), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
}

TEST(CompareValues, DistanceCountsStepsOnTheNumberLine) {
  EXPECT_EQ(distance(0x3f800000, 0x3f800001, DType::float32), 1u);
  EXPECT_EQ(distance(0x80000000, 0x00000000, DType::float32), 0u);
  EXPECT_EQ(distance(0x80000001, 0x00000001, DType::float32), 2u);
  EXPECT_EQ(distance(0xffefffffffffffff, 0x7fefffffffffffff, DType::float64), 0xffdffffffffffffeu);
  EXPECT_EQ(distance(0x3c00, 0x3c02, DType::float16), 2u);
  EXPECT_EQ(distance(0x3f80, 0x3f7f, DType::bfloat16), 1u);
  EXPECT_EQ(distance(0x7fc00000, 0x3f800000, DType::float32), std::nullopt);
  EXPECT_EQ(distance(0x80, 0x7f, DType::int8), 255u);
  EXPECT_EQ(distance(0x8000000000000000, 0x7fffffffffffffff, DType::int64), 0xffffffffffffffffu);
  EXPECT_EQ(distance(250, 5, DType::uint8), 245u);
}

TEST(CompareValues, TextReadsBackToTheSameBits) {
  EXPECT_EQ(value_text(0x3dcccccd, DType::float32), "0.1");
  EXPECT_EQ(value_text(0x3c00, DType::float16), "1");
  EXPECT_EQ(value_text(0x0001, DType::float16), "5.9604645e-08");
  EXPECT_EQ(value_text(0x3fc0, DType::bfloat16), "1.5");
  EXPECT_EQ(value_text(0xff, DType::int8), "-1");
  EXPECT_EQ(value_text(0xff, DType::uint8), "255");
  EXPECT_EQ(value_text(1, DType::boolean), "true");
  EXPECT_EQ(bits_text(0x3c00, DType::float16), "0x3c00");
}

TEST(CompareValues, AnyNaNAgreesWithAnyNaNAndMinusZeroIsNotZero) {
  const std::string quiet("\x00\x00\xc0\x7f", 4), loud("\x01\x00\x80\xff", 4), minus("\x00\x00\x00\x80", 4),
      plus(4, '\0');
  EXPECT_EQ(compare_values(quiet, loud, DType::float32, {}).different, 0);
  EXPECT_EQ(compare_values(minus, plus, DType::float32, {}).different, 1);
  EXPECT_EQ(compare_values(minus, plus, DType::float32, {0, 1e-9}).different, 0);
  EXPECT_EQ(compare_values(quiet, plus, DType::float32, {1, 1}).different, 1);
}

TEST(CompareStrip, NeverMoreThanTwoThousandCellsAndTheWorstShows) {
  Strip strip;
  for (std::int64_t step = 100; step < 1'000'100; ++step) {
    strip.add(step, step == 777'777 ? StepState::different : StepState::same);
  }
  const auto cells = strip.cells();
  EXPECT_LE(cells.size(), 2000u);
  EXPECT_GT(cells.size(), 900u);
  const auto wrong = static_cast<std::size_t>((777'777 - 100) / strip.steps_per_cell());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    EXPECT_EQ(cells[i], i == wrong ? StepState::different : StepState::same);
  }
}

TEST(CompareStrip, StepsFarApartCostNothing) {
  Strip strip;
  strip.add(0, StepState::same);
  strip.add(std::numeric_limits<std::int64_t>::max(), StepState::different);
  EXPECT_LE(strip.cells().size(), 2000u);
  EXPECT_EQ(strip.cells().back(), StepState::different);
}

}  // namespace
}  // namespace lockstep::record
