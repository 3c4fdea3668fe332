#include "lockstep/record/late_recorder.h"

#include <memory>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

/// What a test knows of an arrival and decides about it.
struct Parcel {
  bool has_come = false, is_lost = false;
  int waits = 0;
};

class ScriptedArrival final : public Arrival {
 public:
  explicit ScriptedArrival(std::shared_ptr<Parcel> parcel) : parcel_(std::move(parcel)) {}
  bool has_come() override {
    require_found();
    return parcel_->has_come;
  }
  void wait() override {
    require_found();
    if (!parcel_->has_come) ++parcel_->waits;
    parcel_->has_come = true;
  }

 private:
  void require_found() const {
    if (parcel_->is_lost) fail(ErrorCode::internal, {"device", "values", {}, "lost", {}});
  }
  std::shared_ptr<Parcel> parcel_;
};

std::unique_ptr<LateRecorder> late_recorder_on(Disk& disk, const RecorderOptions& options = {}) {
  return std::make_unique<LateRecorder>(
      std::make_unique<Recorder::Impl>(std::filesystem::temp_directory_path(), small_info(), options,
                                       maker_of(disk)),
      options);
}

/// A LateRecorder some of whose values are on their way until the test says that they come.
class LateCalls {
 public:
  explicit LateCalls(LateRecorder& recorder) : recorder_(recorder) {}

  std::shared_ptr<Parcel> loss(const std::string& name, float value, std::size_t bytes = 4) {
    recorder_.next_call().require_step("loss");
    return later(bytes, [=](Recorder& recorder) { recorder.loss(name, value); });
  }
  std::shared_ptr<Parcel> tensor(Phase phase, const std::string& name, const std::vector<float>& values) {
    recorder_.next_call().tensor(phase);
    return later(4, [=, options = recorder_.options()](Recorder& recorder) {
      const ConstView view{values.data(), DType::float32, {static_cast<std::int64_t>(values.size())}};
      recorder.tensor(phase, Recorder::summary(name, view, options));
    });
  }
  /// With the digest alone, as from a device.
  std::shared_ptr<Parcel> batch(const std::vector<std::int64_t>& ids, const std::vector<float>& values) {
    const ConstView view{values.data(), DType::float32, {static_cast<std::int64_t>(ids.size())}};
    FieldPart part{
        "x", {nullptr, view.dtype, view.shape, Device::cuda}, fingerprint::digest_samples(view, 0)};
    recorder_.next_call().batch_part(0, static_cast<std::int64_t>(ids.size()), {part});
    return later(4, [=](Recorder& recorder) { recorder.batch_part(0, ids, {part}); });
  }

  std::vector<std::shared_ptr<Parcel>> parcels;

 private:
  std::shared_ptr<Parcel> later(std::size_t bytes, LateRecorder::Call call) {
    parcels.push_back(std::make_shared<Parcel>());
    recorder_.later(std::make_unique<ScriptedArrival>(parcels.back()), bytes, std::move(call));
    return parcels.back();
  }
  LateRecorder& recorder_;
};

const RecorderOptions kOptions{.full_batches = 1, .tensors_every = 2};
const std::vector<std::int64_t> kIds{5, 3, 8};

std::vector<float> values_of(std::int64_t step) { return {static_cast<float>(step), -1.5f, 0.25f}; }

void record_at_once(Recorder& recorder) {
  for (std::int64_t step = 0; step < 5; ++step) {
    const std::vector<float> x = values_of(step);
    const ConstView view{x.data(), DType::float32, {3}};
    recorder.begin_step(step, 0, step);
    recorder.batch_part(0, kIds, {{"x", view}});
    if (step == 3) recorder.name_field("x", "images");
    recorder.loss("loss", static_cast<float>(step));
    recorder.loss("accuracy", 0.5 * static_cast<double>(step));
    recorder.tensor(Phase::named, "logits", view);
    if (step == 1) recorder.force_tensors();
    if (recorder.wants_tensors()) {
      recorder.tensor(Phase::gradient, "w", view);
      recorder.tensor(Phase::parameter, "w", view);
    }
    recorder.event("note", "of step " + std::to_string(step));
    recorder.end_step();
  }
  recorder.close();
}

/// The same. `decide` is asked after each call.
template <class Decide>
void record_late(LateRecorder& recorder, LateCalls& late, Decide decide) {
  for (std::int64_t step = 0; step < 5; ++step) {
    std::vector<float> x = values_of(step);
    const ConstView view{x.data(), DType::float32, {3}};
    recorder.begin_step(step, 0, step), decide();
    if (recorder.is_in_full())
      recorder.batch_part(0, kIds, {{"x", view}}), decide();
    else
      late.batch(kIds, x), decide();
    if (step == 3) recorder.name_field("x", "images"), decide();
    late.loss("loss", static_cast<float>(step)), decide();
    recorder.loss("accuracy", 0.5 * static_cast<double>(step)), decide();
    recorder.tensor(Phase::named, "logits", view), decide();
    if (step == 1) recorder.force_tensors(), decide();
    EXPECT_EQ(recorder.wants_tensors(), step % 2 == 0 || step == 1);
    if (recorder.wants_tensors()) {
      late.tensor(Phase::gradient, "w", x), decide();
      recorder.tensor(Phase::parameter, "w", view), decide();
    }
    recorder.event("note", "of step " + std::to_string(step)), decide();
    std::fill(x.begin(), x.end(), 1e9f);  // the memory is the caller's again
    recorder.end_step(), decide();
  }
  recorder.close();
}

std::string recorded_at_once() {
  Disk disk;
  Recorder recorder = recorder_on(disk, kOptions);
  record_at_once(recorder);
  return disk.only_file();
}

TEST(LateRecorder, LeavesTheBytesOfARecorderWheneverValuesCome) {
  const std::string expected = recorded_at_once();
  const auto recorded = [](auto decide) {
    Disk disk;
    const auto recorder = late_recorder_on(disk, kOptions);
    LateCalls late(*recorder);
    record_late(*recorder, late, [&] { decide(late.parcels); });
    return disk.only_file();
  };
  using Parcels = std::vector<std::shared_ptr<Parcel>>;
  EXPECT_EQ(recorded([](const Parcels&) {}), expected) << "not before close() waits";
  EXPECT_EQ(recorded([](const Parcels& parcels) {
              if (!parcels.empty()) parcels.back()->has_come = true;
            }),
            expected)
      << "at once";
  EXPECT_EQ(recorded([](const Parcels& parcels) {
              if (parcels.size() >= 3) parcels[parcels.size() - 3]->has_come = true;
            }),
            expected)
      << "three later";
  EXPECT_EQ(recorded([](const Parcels& parcels) {
              if (parcels.size() % 2 == 0)
                for (const auto& parcel : parcels) parcel->has_come = true;
            }),
            expected)
      << "in heaps";
  EXPECT_EQ(recorded([](const Parcels& parcels) {
              if (parcels.size() > 1) parcels.back()->has_come = true;
              if (parcels.size() == 7) parcels.front()->has_come = true;
            }),
            expected)
      << "the first after those behind it";
}

TEST(LateRecorder, GoesStraightThroughWhileNothingIsOnItsWay) {
  Disk disk;
  const auto recorder = late_recorder_on(disk, {.write_every_ms = 0});
  recorder->begin_step(0, 0, 0);
  recorder->loss("loss", 1.0f);
  recorder->end_step();
  EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u);
}

TEST(LateRecorder, NeverWaitsBeforeTheRingIsFull) {
  Disk disk;
  const auto recorder = late_recorder_on(disk);
  LateCalls late(*recorder);
  recorder->begin_step(0, 0, 0);
  for (std::size_t i = 0; i < LateRecorder::kMostArrivals; ++i) late.loss("loss", static_cast<float>(i));
  for (const auto& parcel : late.parcels) EXPECT_EQ(parcel->waits, 0);
  late.loss("loss", -1.0f);
  EXPECT_EQ(late.parcels[0]->waits, 1) << "for the oldest";
  EXPECT_EQ(late.parcels[1]->waits, 0) << "and for no other";
  recorder->end_step();
  recorder->close();
  const std::vector<LossRecord> losses = all_of<LossRecord>(disk.only_file());
  ASSERT_EQ(losses.size(), LateRecorder::kMostArrivals + 1);
  for (std::size_t i = 0; i + 1 < losses.size(); ++i) EXPECT_EQ(losses[i].text, std::to_string(i));
}

TEST(LateRecorder, KeepsNoMoreMemoryThanItsLimit) {
  Disk disk;
  const auto recorder = late_recorder_on(disk);
  LateCalls late(*recorder);
  recorder->begin_step(0, 0, 0);
  late.loss("a", 1.0f, LateRecorder::kMostBytes / 2);
  late.loss("b", 1.0f, LateRecorder::kMostBytes / 2);
  EXPECT_EQ(late.parcels[0]->waits, 0);
  late.loss("c", 1.0f, 1);
  EXPECT_EQ(late.parcels[0]->waits, 1);
  EXPECT_EQ(late.parcels[1]->waits, 0);
  late.loss("d", 1.0f, 2 * LateRecorder::kMostBytes);  // alone it may be larger
  EXPECT_EQ(late.parcels[2]->waits, 1);
  EXPECT_EQ(late.parcels[3]->waits, 0);
}

TEST(LateRecorder, RefusesCallsOutOfOrderAtOnce) {
  Disk disk;
  const auto recorder = late_recorder_on(disk);
  LateCalls late(*recorder);
  expect_error(ErrorCode::invalid_argument, "Call begin_step first", [&] { recorder->end_step(); });
  recorder->begin_step(4, 0, 0);
  late.loss("loss", 1.0f);  // on its way, and so is all that follows
  expect_error(ErrorCode::invalid_argument, "Call end_step first", [&] { recorder->begin_step(5, 0, 0); });
  expect_error(ErrorCode::invalid_argument, "Call end_step first", [&] { recorder->close(); });
  expect_error(ErrorCode::invalid_argument, "first_sample", [&] { recorder->batch_part(7, {}, {}); });
  recorder->end_step();
  expect_error(ErrorCode::invalid_argument, "more than 4", [&] { recorder->begin_step(4, 0, 0); });
  recorder->close();
  expect_error(ErrorCode::invalid_argument, "Make a new Recorder", [&] { recorder->begin_step(5, 0, 0); });
  EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u);
}

TEST(LateRecorder, WhatIsLostIsToldByTheNextCallAndByEveryLaterOne) {
  Disk disk;
  {
    const auto recorder = late_recorder_on(disk, {.write_every_ms = 0});
    LateCalls late(*recorder);
    recorder->begin_step(0, 0, 0);
    late.loss("loss", 1.0f)->has_come = true;
    recorder->end_step();
    recorder->begin_step(1, 0, 0);
    late.loss("loss", 2.0f);
    recorder->end_step();
    late.parcels.back()->is_lost = true;
    for (int i = 0; i < 2; ++i)
      expect_error(ErrorCode::internal, "lost", [&] { recorder->begin_step(2 + i, 0, 0); });
    expect_error(ErrorCode::internal, "lost", [&] { recorder->event("a", "b"); });
  }
  EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u) << "the step before";
  const std::vector<EndRecord> end = all_of<EndRecord>(disk.only_file());
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(end[0].reason, "interrupted");
}

TEST(LateRecorder, WhatIsLostIsToldByClose) {
  Disk disk;
  const auto recorder = late_recorder_on(disk);
  LateCalls late(*recorder);
  recorder->begin_step(0, 0, 0);
  late.loss("loss", 1.0f);
  recorder->end_step();
  late.parcels.back()->is_lost = true;
  expect_error(ErrorCode::internal, "lost", [&] { recorder->close(); });
}

TEST(LateRecorder, AFullDiskIsToldByALaterCall) {
  Disk disk;
  const auto recorder = late_recorder_on(disk, {.write_every_ms = 0});
  LateCalls late(*recorder);
  recorder->begin_step(0, 0, 0);
  const auto parcel = late.loss("loss", 1.0f);
  recorder->end_step();
  disk.room_bytes = disk.only_file().size();
  recorder->begin_step(1, 0, 1);
  parcel->has_come = true;
  expect_error(ErrorCode::io, "No space left", [&] { recorder->loss("loss", 2.0f); });
  EXPECT_THROW(recorder->end_step(), Error);
  EXPECT_THROW(recorder->close(), Error);
}

TEST(LateRecorder, AFullDiskIsToldByClose) {
  Disk disk;
  const auto recorder = late_recorder_on(disk, {.write_every_ms = 0});
  LateCalls late(*recorder);
  recorder->begin_step(0, 0, 0);
  late.loss("loss", 1.0f);
  recorder->end_step();
  disk.room_bytes = disk.only_file().size();
  expect_error(ErrorCode::io, "No space left", [&] { recorder->close(); });
}

TEST(LateRecorder, AfterAFullDiskTrainingMayGoOn) {
  Disk disk;
  const auto recorder = late_recorder_on(disk, {.write_every_ms = 0, .on_disk_error = OnDiskError::go_on});
  LateCalls late(*recorder);
  for (std::int64_t step = 0; step < 3; ++step) {
    recorder->begin_step(step, 0, step);
    late.loss("loss", 1.0f)->has_come = true;
    recorder->end_step();
    disk.room_bytes = disk.only_file().size();
  }
  recorder->close();
  EXPECT_TRUE(recorder->has_failed());
  EXPECT_FALSE(recorder->wants_tensors());
}

TEST(LateRecorder, DestructorWaitsForWhatIsOnItsWay) {
  Disk disk;
  {
    const auto recorder = late_recorder_on(disk);
    LateCalls late(*recorder);
    recorder->begin_step(0, 0, 0);
    late.loss("loss", 7.0f);
    recorder->end_step();
  }
  EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u);
  EXPECT_EQ(all_of<EndRecord>(disk.only_file()).at(0).reason, "interrupted");
}

}  // namespace
}  // namespace lockstep::record::testing
