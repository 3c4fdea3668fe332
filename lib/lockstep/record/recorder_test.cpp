#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "lockstep/record/environment.h"
#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

/// 37 samples of two fields whose values differ everywhere, with a NaN among them.
struct Data {
  static constexpr std::int64_t kSamples = 37, kFeatures = 5;

  Data() : images(kSamples * kFeatures), labels(kSamples), ids(kSamples) {
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i * i % 97) * 0.37f - 3.0f;
    images[11] = std::nanf("");
    for (std::int64_t i = 0; i < kSamples; ++i)
      labels[static_cast<std::size_t>(i)] = i % 10, ids[static_cast<std::size_t>(i)] = 1000 - 3 * i;
  }

  std::vector<FieldPart> fields(std::int64_t first, std::int64_t count) const {
    return {{"images", {images.data() + first * kFeatures, DType::float32, {count, kFeatures}}},
            {"labels", {labels.data() + first, DType::int64, {count}}}};
  }
  std::vector<std::int64_t> ids_of(std::int64_t first, std::int64_t count) const {
    return {ids.begin() + first, ids.begin() + first + count};
  }

  std::vector<float> images;
  std::vector<std::int64_t> labels, ids;
};

void record_cut(Recorder& recorder, const Data& data, std::int64_t micro_batch) {
  for (std::int64_t first = 0; first < Data::kSamples; first += micro_batch) {
    const std::int64_t count = std::min(micro_batch, Data::kSamples - first);
    recorder.batch_part(first, data.ids_of(first, count), data.fields(first, count));
  }
}

/// Two steps, the first in full.
std::string recording_cut(std::int64_t micro_batch) {
  Disk disk;
  RecorderOptions options;
  options.full_batches = 1;
  Recorder recorder = recorder_on(disk, options);
  const Data data;
  for (std::int64_t step = 0; step < 2; ++step) {
    recorder.begin_step(step, 0, step);
    record_cut(recorder, data, micro_batch);
    recorder.loss("loss", 0.25f);
    recorder.end_step();
  }
  recorder.close();
  return disk.only_file();
}

std::vector<std::string> batches_as_bytes(const std::string& file) {
  std::vector<std::string> bytes;
  for (const BatchRecord& batch : all_of<BatchRecord>(file)) bytes.push_back(state::to_bytes(batch));
  return bytes;
}

TEST(Recorder, CutIntoMicroBatchesDoesNotShow) {
  const auto whole = batches_as_bytes(recording_cut(Data::kSamples));
  ASSERT_EQ(whole.size(), 2u);
  for (const std::int64_t micro_batch : {1, 7, 16, 36})
    EXPECT_EQ(batches_as_bytes(recording_cut(micro_batch)), whole) << micro_batch;
}

// The wrong twin: digests of micro-batches that are merged without their place do depend on the cut.
TEST(Recorder, MergeWithoutGlobalIndexWouldShowTheCut) {
  const Data data;
  const auto local = [&](std::int64_t micro_batch) {
    fingerprint::DigestSum sum;
    for (std::int64_t first = 0; first < Data::kSamples; first += micro_batch) {
      sum.merge(fingerprint::digest_samples(
          data.fields(first, std::min(micro_batch, Data::kSamples - first))[0].samples, 0));
    }
    return sum;
  };
  EXPECT_NE(local(7), local(Data::kSamples));
}

TEST(Recorder, FullBatchHoldsWhatItPromises) {
  const Data data;
  const BatchRecord batch = all_of<BatchRecord>(recording_cut(7)).front();
  EXPECT_EQ(batch.samples, Data::kSamples);
  EXPECT_EQ(batch.ids, data.ids);
  const ConstView ids{data.ids.data(), DType::int64, {Data::kSamples}};
  EXPECT_EQ(batch.ids_digest, fingerprint::digest(ids));
  EXPECT_NE(batch.ids_digest, batch.ids_unordered);
  ASSERT_EQ(batch.fields.size(), 2u);
  const TensorSummary& images = batch.fields[0];
  EXPECT_EQ(images.name, "images");
  EXPECT_EQ(images.shape, (std::vector<std::int64_t>{Data::kSamples, Data::kFeatures}));
  EXPECT_EQ(images.digest, fingerprint::digest(data.fields(0, Data::kSamples)[0].samples));
  ASSERT_TRUE(images.unordered && images.statistics && images.values);
  EXPECT_EQ(images.statistics->nan_count, 1);
  EXPECT_EQ(images.statistics->count, Data::kSamples * Data::kFeatures);
  ASSERT_EQ(images.values->size(), data.images.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(images.values->data(), data.images.data(), images.values->size()), 0);
}

TEST(Recorder, LaterBatchesHoldDigestsOnly) {
  const std::string file = recording_cut(7);
  const BatchRecord full = all_of<BatchRecord>(file)[0], later = all_of<BatchRecord>(file)[1];
  EXPECT_FALSE(later.ids);
  EXPECT_EQ(later.ids_digest, full.ids_digest);
  EXPECT_EQ(later.ids_unordered, full.ids_unordered);
  EXPECT_EQ(later.fields[0].digest, full.fields[0].digest);
  EXPECT_FALSE(later.fields[0].statistics || later.fields[0].values);
}

TEST(Recorder, ValuesOnlyUpToTheLimitWhateverTheCut) {
  const Data data;
  const auto labels_kept = [&](std::int64_t limit_bytes, std::int64_t micro_batch) {
    Disk disk;
    RecorderOptions options;
    options.values_limit_bytes = limit_bytes;
    Recorder recorder = recorder_on(disk, options);
    recorder.begin_step(0, 0, 0);
    record_cut(recorder, data, micro_batch);
    recorder.end_step();
    recorder.close();
    return all_of<BatchRecord>(disk.only_file()).front().fields[1].values.has_value();
  };
  constexpr std::int64_t kLabelBytes = Data::kSamples * 8;
  for (const std::int64_t micro_batch : {1, 7, 37}) {
    EXPECT_TRUE(labels_kept(kLabelBytes, micro_batch));
    EXPECT_FALSE(labels_kept(kLabelBytes - 1, micro_batch));
    EXPECT_FALSE(labels_kept(0, micro_batch));
  }
}

TEST(Recorder, OtherOrderOfTheSameSamplesHasTheSameUnorderedDigest) {
  const Data data;
  const auto batch_of = [&](bool reversed) {
    Disk disk;
    Recorder recorder = recorder_on(disk);
    recorder.begin_step(0, 0, 0);
    for (std::int64_t i = 0; i < Data::kSamples; ++i) {
      const std::int64_t sample = reversed ? Data::kSamples - 1 - i : i;
      recorder.batch_part(i, data.ids_of(sample, 1), data.fields(sample, 1));
    }
    recorder.end_step();
    recorder.close();
    return all_of<BatchRecord>(disk.only_file()).front();
  };
  const BatchRecord a = batch_of(false), b = batch_of(true);
  EXPECT_EQ(a.ids_unordered, b.ids_unordered);
  EXPECT_EQ(a.fields[0].unordered, b.fields[0].unordered);
  EXPECT_NE(a.ids_digest, b.ids_digest);
  EXPECT_NE(a.fields[0].digest, b.fields[0].digest);
}

TEST(Recorder, BatchComesFirstThenTheOrderOfTheCalls) {
  Disk disk;
  Recorder recorder = recorder_on(disk);
  const Data data;
  const float weight = 2;
  const ConstView scalar{&weight, DType::float32, {}};
  recorder.begin_step(0, 0, 0);
  recorder.batch_part(0, data.ids_of(0, 3), data.fields(0, 3));
  recorder.tensor(Phase::named, "logits", scalar);
  recorder.loss("loss", 1.0f);
  recorder.batch_part(3, data.ids_of(3, 3), data.fields(3, 3));
  recorder.tensor(Phase::gradient, "w", scalar);
  recorder.event("checkpoint", "now");
  recorder.tensor(Phase::parameter, "w", scalar);
  EXPECT_ERROR(recorder.batch_part(6, {1}, data.fields(6, 1)), ErrorCode::invalid_argument,
               "before its first gradient");
  recorder.end_step();
  recorder.close();
  std::vector<std::size_t> kinds;
  for (const Record& record : records_of(disk.only_file())) kinds.push_back(record.index());
  EXPECT_EQ(kinds, (std::vector<std::size_t>{0, 1, 3, 2, 3, 4, 3, 5}));
  EXPECT_EQ(all_of<BatchRecord>(disk.only_file()).front().samples, 6);
}

TEST(Recorder, TensorsAreRecordedAsAsked) {
  const std::vector<float> weights{1, -2, 3, std::nanf("")};
  const ConstView view{weights.data(), DType::float32, {2, 2}};
  for (const bool values : {false, true}) {
    Disk disk;
    RecorderOptions options;
    options.tensor_values = values;
    options.tensor_statistics = values;
    Recorder recorder = recorder_on(disk, options);
    recorder.begin_step(0, 0, 0);
    recorder.tensor(Phase::optimizer, "w.exp_avg", view);
    recorder.end_step();
    recorder.close();
    const TensorRecord record = all_of<TensorRecord>(disk.only_file()).front();
    EXPECT_EQ(record.phase, Phase::optimizer);
    EXPECT_EQ(record.tensor.digest, fingerprint::digest(view));
    EXPECT_EQ(record.tensor.values.has_value(), values);
    EXPECT_EQ(record.tensor.statistics.has_value(), values);
    if (values) {
      EXPECT_EQ(record.tensor.statistics->norm, std::sqrt(14.0));
    }
  }
}

TEST(Recorder, LossKeepsBitsAndShortestText) {
  Disk disk;
  Recorder recorder = recorder_on(disk);
  recorder.begin_step(0, 0, 0);
  recorder.loss("loss", 0.1f);
  recorder.loss("double", 0.1);
  recorder.loss("negative zero", -0.0f);
  recorder.loss("nan", -std::nanf(""));
  recorder.loss("infinite", -std::numeric_limits<double>::infinity());
  recorder.loss("long", 0.1 + 0.2);
  recorder.end_step();
  recorder.close();
  const auto losses = all_of<LossRecord>(disk.only_file());
  std::vector<std::string> texts;
  for (const LossRecord& loss : losses) texts.push_back(loss.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"0.1", "0.1", "-0", "nan", "-inf", "0.30000000000000004"}));
  EXPECT_EQ(losses[0].bits, 0x3dcccccdu);
  EXPECT_EQ(losses[0].dtype, DType::float32);
  EXPECT_EQ(losses[1].bits, 0x3fb999999999999aull);
  EXPECT_EQ(losses[2].bits, 0x80000000u);
}

TEST(Recorder, WantsTensorsEveryNStepsAndWhenForced) {
  Disk disk;
  RecorderOptions options;
  options.tensors_every = 3;
  Recorder recorder = recorder_on(disk, options);
  EXPECT_FALSE(recorder.wants_tensors());
  std::vector<std::int64_t> wanted;
  for (std::int64_t step = 0; step < 8; ++step) {
    recorder.begin_step(step, 0, step);
    if (step == 4) recorder.force_tensors();
    if (recorder.wants_tensors()) wanted.push_back(step);
    recorder.end_step();
  }
  EXPECT_EQ(wanted, (std::vector<std::int64_t>{0, 3, 4, 6}));
  options.tensors_every = 0;
  Disk other;
  Recorder never = recorder_on(other, options);
  never.begin_step(0, 0, 0);
  EXPECT_FALSE(never.wants_tensors());
}

TEST(Recorder, NamesOfFieldsTravelWithEveryBatch) {
  Disk disk;
  Recorder recorder = recorder_on(disk);
  recorder.name_field("data1", "images/steel/50Hz");
  for (std::int64_t step = 0; step < 2; ++step) {
    recorder.begin_step(step, 1, step);
    recorder.end_step();
  }
  recorder.close();
  for (const BatchRecord& batch : all_of<BatchRecord>(disk.only_file())) {
    EXPECT_EQ(batch.names.at("data1"), "images/steel/50Hz");
    EXPECT_EQ(batch.epoch, 1);
    EXPECT_EQ(batch.samples, 0);
  }
}

/// What a recording holds of steps that each do something else: plain ones, more than may wait, new names and
/// shapes of fields, tensors, events, losses before and after gradients, steps without data and in full.
std::vector<std::string> mixed_recording(std::int64_t write_every_ms) {
  Disk disk;
  RecorderOptions options;
  options.full_batches = 2;
  options.write_every_ms = write_every_ms;
  Recorder recorder = recorder_on(disk, options);
  const Data data;
  const ConstView view{data.images.data(), DType::float32, {4}};
  for (std::int64_t step = 0; step < 200; ++step) {
    recorder.begin_step(step, step / 50, step % 50);
    const std::int64_t count = step % 40 == 39 ? 20 : Data::kSamples;
    if (step % 70 == 69) recorder.name_field("labels", "variant" + std::to_string(step));
    if (step % 30 == 29)
      recorder.batch_part(0, data.ids_of(0, count), {data.fields(0, count)[step % 60 == 29 ? 0 : 1]});
    else if (step % 25 != 24)
      recorder.batch_part(0, data.ids_of(0, count), data.fields(0, count));
    if (step % 90 == 10) recorder.tensor(Phase::named, "activation", view);
    recorder.loss("loss", 1.0f / static_cast<float>(step + 1));
    if (step % 33 == 5) recorder.event("note", "in step " + std::to_string(step));
    recorder.loss("accuracy", static_cast<double>(step) / 7);
    if (step % 45 == 44) recorder.tensor(Phase::gradient, "weight", view);
    if (step % 15 == 14) recorder.loss("late", 0.5f);
    recorder.end_step();
    if (step % 50 == 49) recorder.event("epoch", "ended");
  }
  recorder.close();
  std::vector<std::string> records = read_back(disk.only_file()).records;
  records.erase(records.begin());  // the run frame tells write_every_ms,
  records.pop_back();              // and the end record has a digest over it
  return records;
}

TEST(Recorder, StepsThatWaitLeaveTheSameRecordsAsStepsWrittenAtOnce) {
  const std::vector<std::string> at_once = mixed_recording(0);
  EXPECT_GT(at_once.size(), 600u);
  EXPECT_EQ(mixed_recording(1'000'000'000), at_once);
  EXPECT_EQ(mixed_recording(1), at_once);
}

TEST(Recorder, RefusesWhatCannotBeMerged) {
  Disk disk;
  Recorder recorder = recorder_on(disk);
  const Data data;
  recorder.begin_step(0, 0, 0);
  const auto part = [&](std::int64_t first, const std::vector<FieldPart>& fields) {
    recorder.batch_part(first, {1, 2}, fields);
  };
  const auto code = ErrorCode::invalid_argument;
  EXPECT_ERROR(part(1, data.fields(0, 2)), code,
               "first_sample: expected 0, right after the micro-batch before, got 1");
  part(0, data.fields(0, 2));
  EXPECT_ERROR(part(0, data.fields(0, 2)), code, "without gap or overlap");
  EXPECT_ERROR(part(3, data.fields(0, 2)), code, "expected 2");
  EXPECT_ERROR(part(2, data.fields(0, 3)), code, "2 samples, one an id");
  EXPECT_ERROR(part(2, {}), code, "number of fields");
  std::vector<FieldPart> fields = data.fields(0, 2);
  fields[1].samples.dtype = DType::float64;
  EXPECT_ERROR(part(2, fields), code,
               "'labels' int64 [] a sample, as in the first one, got 'labels' float64 []");
  fields = data.fields(0, 2);
  fields[0].samples.shape = {2, 4};
  EXPECT_ERROR(part(2, fields), code, "must not change inside a step");
  fields = data.fields(0, 2);
  fields[0].samples.device = Device::cuda;
  EXPECT_ERROR(part(2, fields), ErrorCode::unsupported, "Copy it to the CPU first");
  recorder.end_step();
  recorder.begin_step(1, 0, 1);
  fields = data.fields(0, 2);
  fields[1] = fields[0];
  EXPECT_ERROR(part(0, fields), code, "'images' twice");
  part(0, data.fields(0, 2));
  recorder.end_step();
  recorder.close();
  for (const BatchRecord& batch : all_of<BatchRecord>(disk.only_file())) EXPECT_EQ(batch.samples, 2);
}

TEST(Recorder, RefusesCallsOutOfOrder) {
  Disk disk;
  Recorder recorder = recorder_on(disk);
  const auto code = ErrorCode::invalid_argument;
  const float value = 1;
  EXPECT_ERROR(recorder.loss("loss", 1.0f), code, "Call begin_step first");
  EXPECT_ERROR(recorder.end_step(), code, "Call begin_step first");
  EXPECT_ERROR(recorder.force_tensors(), code, "Call begin_step first");
  recorder.begin_step(5, 0, 0);
  EXPECT_ERROR(recorder.begin_step(6, 0, 0), code, "Call end_step first");
  EXPECT_ERROR(recorder.close(), code, "Call end_step first");
  EXPECT_ERROR(recorder.tensor(Phase::loss, "x", {&value, DType::float32, {}}), code,
               "Use batch_part for data");
  EXPECT_ERROR(recorder.tensor(Phase::named, "x", {&value, DType::float32, {}, Device::cuda}),
               ErrorCode::unsupported, "Copy it");
  recorder.end_step();
  EXPECT_ERROR(recorder.begin_step(5, 0, 0), code, "expected more than 5, got 5");
  recorder.close();
  EXPECT_ERROR(recorder.begin_step(6, 0, 0), code, "a closed one");
  EXPECT_ERROR(recorder.close(), code, "a closed one");
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::complete);
}

TEST(Recorder, DestructorEndsTheFileAsInterrupted) {
  Disk disk;
  {
    Recorder recorder = recorder_on(disk);
    recorder.begin_step(0, 0, 0);
    recorder.loss("loss", 1.0f);
    recorder.end_step();
    recorder.begin_step(1, 0, 1);
    recorder.loss("loss", 2.0f);
  }
  const Check result = check_memory(disk.only_file());
  EXPECT_EQ(result.verdict, Verdict::complete);
  EXPECT_NE(result.text.find("interrupted"), std::string::npos) << result.text;
  const auto ends = all_of<EndRecord>(disk.only_file());
  EXPECT_EQ(ends.front().reason, "interrupted");
  EXPECT_EQ(ends.front().last_step, 0);
  EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u);
}

TEST(Recorder, RunFrameTellsPolicyEnvironmentAndCommand) {
  Disk disk;
  RunInfo info = small_info();
  info.program.clear();
  info.command_line.clear();
  info.environment["torch.version"] = "2.11";
  RecorderOptions options;
  options.tensors_every = 7;
  Recorder recorder = recorder_on(disk, options, info);
  const RunInfo written = all_of<RunInfo>(disk.only_file()).front();
  EXPECT_EQ(state::to_bytes(written), state::to_bytes(recorder.info()));
  EXPECT_EQ(written.policy.at("tensors_every"), "7");
  EXPECT_EQ(written.environment.at("torch.version"), "2.11");
  EXPECT_FALSE(written.environment.at("build.compiler").empty());
  EXPECT_EQ(written.program, std::filesystem::path(command_line().front()).filename().string());
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::torn_tail)
      << "a run that goes on has no end record";
}

TEST(Recorder, FillsInWhoAndWhen) {
  Disk disk;
  Recorder a = recorder_on(disk, {}, RunInfo{}), b = recorder_on(disk, {}, RunInfo{});
  EXPECT_EQ(a.info().run_id.size(), 32u);
  EXPECT_NE(a.info().run_id, b.info().run_id);
  EXPECT_GT(a.info().started_ns, 1'700'000'000'000'000'000);
  EXPECT_EQ(a.info().started_ns, a.info().segment_started_ns);
}

TEST(Recorder, FileNameTellsStartRunRankAndSegment) {
  Disk disk;
  RunInfo info = small_info();
  info.rank = 3;
  info.segment = 2;
  EXPECT_EQ(recorder_on(disk, {}, info).file().filename(), "20231114T221320-00112233-r3-s2.lsr");
  info.run_id = "too short";
  EXPECT_ERROR(recorder_on(disk, {}, info), ErrorCode::invalid_argument, "32 lower-case hex digits");
}

TEST(Recorder, ASegmentThatExistsIsNeverReplaced) {
  const TemporaryFolder folder;
  RunInfo info = small_info();
  Recorder(folder.path(), info).close();
  EXPECT_ERROR(Recorder(folder.path(), info), ErrorCode::invalid_argument, "Give segment 1 or more");
  info.segment = 1;
  Recorder second(folder.path(), info), third(folder.path(), info);
  EXPECT_EQ(second.info().segment, 1);
  EXPECT_EQ(third.info().segment, 2);
  EXPECT_NE(second.file(), third.file());
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.path().extension(), ".lsr") << "a temporary file was left";
  }
}

TEST(Recorder, OneWriteAStepAndSyncsAsOrdered) {
  Disk disk;
  RecorderOptions options;
  options.write_every_ms = 0;
  options.sync_every = 4;
  Recorder recorder = recorder_on(disk, options);
  for (std::int64_t step = 0; step < 8; ++step) {
    recorder.begin_step(step, 0, step);
    for (int i = 0; i < 5; ++i) recorder.loss("loss", 1.0f);
    recorder.end_step();
    EXPECT_EQ(disk.writes, step + 1);
  }
  EXPECT_GE(disk.syncs, 1);
  EXPECT_LE(disk.syncs, 2);
  const int before = disk.syncs;
  recorder.sync();
  EXPECT_EQ(disk.syncs, before + 1);
  recorder.begin_step(8, 0, 8);
  const std::vector<std::uint8_t> big(300'000);
  for (int i = 0; i < 300; ++i)
    recorder.tensor(Phase::gradient, std::string(300, 'n'), {big.data(), DType::uint8, {4}});
  EXPECT_GT(disk.writes, 8) << "what exceeds 64 KiB does not wait for the end of the step";
  recorder.end_step();
  recorder.close();
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::complete);
}

TEST(Recorder, ShortStepsShareAWrite) {
  Disk disk;
  RecorderOptions options;
  options.write_every_ms = 3'600'000;
  options.sync_every = 0;
  Recorder recorder = recorder_on(disk, options);
  const auto step = [&recorder](std::int64_t number) {
    recorder.begin_step(number, 0, number);
    recorder.loss("loss", 1.0f);
    recorder.end_step();
  };
  step(0);
  const auto first = disk.writes;
  for (std::int64_t number = 1; number < 50; ++number) step(number);
  EXPECT_EQ(disk.writes, first) << "all within the hour";
  recorder.sync();
  EXPECT_EQ(disk.writes, first + 1);
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::torn_tail);
  recorder.close();
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::complete);
}

}  // namespace
}  // namespace lockstep::record::testing
