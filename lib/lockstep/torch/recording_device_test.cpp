// One training's recording, of tensors on the CPU and of the same tensors on a CUDA device: the same bytes.

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/fingerprint/fingerprints.h"
#include "lockstep/fingerprint/statistics.h"
#include "lockstep/record/reader.h"
#include "lockstep/state/archive.h"
#include "lockstep/torch/device_test.h"
#include "lockstep/torch/tensor_view.h"
#include "lockstep/torch/training_recorder.h"

namespace lockstep {
namespace {

/// So that two recordings of one process have no reason to differ.
record::RunInfo one_run() {
  record::RunInfo info;
  info.run_id = "00112233445566778899aabbccddeeff";
  info.started_ns = info.segment_started_ns = 1'700'000'000'000'000'000;
  return info;
}

std::string name_of(const record::Record& record) {
  if (const auto* tensor = std::get_if<record::TensorRecord>(&record))
    return fmt::format("step {}, {} {}", tensor->step, record::phase_name(tensor->phase),
                       tensor->tensor.name);
  if (const auto* loss = std::get_if<record::LossRecord>(&record))
    return fmt::format("step {}, loss {}", loss->step, loss->name);
  if (const auto* batch = std::get_if<record::BatchRecord>(&record))
    return fmt::format("step {}, batch", batch->step);
  return fmt::format("record of kind {}", record.index());
}

/// What a file holds.
struct Recording {
  explicit Recording(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(stream), {});
    record::Reader reader(file);
    while (const auto item = reader.next()) {
      names.push_back(name_of(*item));
      contents.push_back(std::visit([](const auto& value) { return state::to_bytes(value); }, *item));
    }
  }
  std::string bytes;
  std::vector<std::string> names, contents;  ///< of its records
};

void expect_same(const Recording& got, const Recording& expected) {
  ASSERT_EQ(got.names, expected.names);
  for (std::size_t i = 0; i < got.contents.size(); ++i)
    EXPECT_TRUE(got.contents[i] == expected.contents[i]) << got.names[i];
  EXPECT_TRUE(got.bytes == expected.bytes);
}

/// A step's tensors, which a training on any device would have computed.
struct Step {
  explicit Step(std::int64_t number)
      : model(torch::nn::Linear(7, 5), torch::nn::LayerNorm(torch::nn::LayerNormOptions({5}))) {
    torch::manual_seed(100 + number);
    images = torch::randn({6, 3, 4});
    pixels = torch::randint(0, 256, {6, 75}, torch::kByte);
    labels = torch::randint(0, 10, {6}, torch::kLong);
    images[1][2][3] = std::nan("");
    for (auto& parameter : model->parameters()) {
      parameter.set_data(torch::randn(parameter.sizes()));
      parameter.mutable_grad() = torch::randn(parameter.sizes());
    }
    loss = torch::randn({});
  }
  void move_to(at::Device device) {
    for (at::Tensor* tensor : {&images, &pixels, &labels, &loss}) *tensor = tensor->to(device);
    for (auto& parameter : model->parameters()) {
      const at::Tensor gradient = parameter.grad().to(device);
      parameter.set_data(parameter.data().to(device));
      parameter.mutable_grad() = gradient;
    }
  }

  at::Tensor images, pixels, labels, loss;
  torch::nn::Sequential model;
};

void give_state(torch::optim::AdamW& optimizer, const at::Device& device) {
  torch::manual_seed(5);
  for (const auto& parameter : optimizer.param_groups()[0].params()) {
    auto state = std::make_unique<torch::optim::AdamWParamState>();
    state->step(3);
    state->exp_avg(torch::randn(parameter.sizes()).to(device));
    state->exp_avg_sq(torch::rand(parameter.sizes()).to(device));
    optimizer.state()[parameter.unsafeGetTensorImpl()] = std::move(state);
  }
}

/// Every kind of call; what is recorded is written over as soon as the call returns.
void record_step(TrainingRecorder& recorder, std::int64_t number, at::Device device) {
  Step step(number);
  step.move_to(device);
  recorder.begin_step(number, 0, number);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 4}, {4, 2}}) {
    std::vector<std::int64_t> ids;
    for (std::int64_t i = first; i < first + count; ++i) ids.push_back(17 * i + number);
    const at::Tensor images = step.images.narrow(0, first, count).clone();
    const at::Tensor labels = step.labels.narrow(0, first, count);
    recorder.batch_part(first, ids,
                        std::vector<NamedTensor>{{"images", images.transpose(1, 2)},
                                                 {"pixels", step.pixels.narrow(0, first, count)},
                                                 {"weights", torch::full({count}, 0.5)},  // on the CPU
                                                 {"labels", labels}});
    images.zero_();
  }
  recorder.loss("loss", step.loss);
  recorder.loss("half", step.loss.to(torch::kHalf));
  recorder.loss("double", step.loss.to(torch::kDouble).reshape({1, 1}));
  recorder.loss("number", 0.25);
  recorder.named("transposed", step.images.transpose(0, 2));
  recorder.named("every second", step.images.slice(0, 1, 6, 2));
  recorder.named("negative", at::_neg_view(step.images));
  recorder.named("brain", step.images.to(torch::kBFloat16));
  recorder.named("truth", step.images > 0);
  recorder.named("nothing", step.images.narrow(0, 0, 0));
  recorder.named("one", step.loss);
  recorder.event("note", "of step " + std::to_string(number));
  recorder.record_gradients(*step.model);
  for (auto& parameter : step.model->parameters()) parameter.mutable_grad().zero_();
  torch::optim::AdamW optimizer(step.model->parameters());
  give_state(optimizer, device);
  recorder.record_optimizer(optimizer, *step.model);
  recorder.record_parameters(*step.model);
  for (auto& parameter : step.model->parameters()) parameter.data().zero_();
  recorder.end_step();
}

Recording recording(at::Device device, const record::RecorderOptions& options) {
  const TemporaryFolder folder;
  TrainingRecorder recorder(folder.path(), one_run(), options);
  for (std::int64_t number = 0; number < 7; ++number) record_step(recorder, number, device);
  recorder.close();
  return Recording(recorder.file());
}

class RecordingsOnEachDevice : public OnEachDevice {};

TEST_P(RecordingsOnEachDevice, HaveTheSameBytes) {
  for (const bool values : {false, true}) {
    for (const bool statistics : {true, false}) {
      const record::RecorderOptions options{.full_batches = 2,
                                            .values_limit_bytes = 500,
                                            .tensors_every = 2,
                                            .tensor_values = values,
                                            .tensor_statistics = statistics};
      SCOPED_TRACE(fmt::format("values {}, statistics {}", values, statistics));
      expect_same(recording(device(), options), recording(at::kCPU, options));
    }
  }
}

TEST_P(RecordingsOnEachDevice, OfMoreCallsThanTheRingHolds) {
  const auto recorded = [](at::Device device) {
    const TemporaryFolder folder;
    TrainingRecorder recorder(folder.path(), one_run());
    recorder.begin_step(0, 0, 0);
    for (int i = 0; i < 300; ++i) {
      recorder.loss("loss", torch::full({}, 0.5 * i).to(device));
      if (i % 7 == 0) recorder.named("x", torch::full({3}, 0.25 * i).to(device));
    }
    recorder.end_step();
    recorder.close();
    return Recording(recorder.file());
  };
  expect_same(recorded(device()), recorded(at::kCPU));
}

TEST_P(RecordingsOnEachDevice, LoseNothingWhenTheRecorderGoesAway) {
  const auto recorded = [](at::Device device) {
    const TemporaryFolder folder;
    std::filesystem::path file;
    {
      TrainingRecorder recorder(folder.path(), one_run(), {.tensors_every = 1});
      record_step(recorder, 0, device);
      recorder.begin_step(1, 0, 1);
      recorder.loss("loss", torch::ones({}).to(device));
      file = recorder.file();
    }
    return Recording(file);
  };
  expect_same(recorded(device()), recorded(at::kCPU));
}

TEST_P(RecordingsOnEachDevice, RefuseWhatCannotBeRecordedAtOnce) {
  const TemporaryFolder folder;
  TrainingRecorder recorder(folder.path(), one_run());
  const at::Tensor x = torch::rand({3}).to(device());
  expect_error(ErrorCode::invalid_argument, "Call begin_step first", [&] { recorder.named("x", x); });
  recorder.begin_step(0, 0, 0);
  recorder.loss("loss", x[0]);
  expect_error(ErrorCode::invalid_argument, "one row a sample id", [&] {
    recorder.batch_part(0, {1, 2}, std::vector<NamedTensor>{{"x", x}});
  });
  expect_error(ErrorCode::invalid_argument, "first_sample", [&] {
    recorder.batch_part(1, {1, 2, 3}, std::vector<NamedTensor>{{"x", x}});
  });
  expect_error(ErrorCode::unsupported, "ComplexFloat", [&] { recorder.named("x", at::complex(x, x)); });
  expect_error(ErrorCode::invalid_argument, "one floating-point element", [&] { recorder.loss("loss", x); });
  expect_error(ErrorCode::invalid_argument, "Call end_step first", [&] { recorder.close(); });
  recorder.end_step();
  recorder.close();
}

INSTANTIATE_TEST_SUITE_P(Cpu, RecordingsOnEachDevice, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, RecordingsOnEachDevice, testing::Values("cuda"));

using RecordingGpu = GpuTensors;

TEST_F(RecordingGpu, NeverWaitsForTheStream) {
  const TemporaryFolder folder;
  TrainingRecorder recorder(folder.path(), one_run(), {.full_batches = 1, .tensors_every = 1});
  record_step(recorder, 0, at::kCUDA);  // memory and kernels are there afterwards
  recorder.sync();
  Step step(1);
  step.move_to(at::kCUDA);
  const at::Tensor wide = torch::rand({8192, 8192}, at::kCUDA);
  at::Tensor product = torch::empty_like(wide);
  const c10::Stream stream = c10::impl::VirtualGuardImpl(at::kCUDA).getStream({at::kCUDA, 0});
  stream.synchronize();
  for (int i = 0; i < 20; ++i) at::mm_out(product, wide, wide);  // a third of a second
  recorder.begin_step(1, 0, 1);
  recorder.batch_part(0, {1, 2, 3, 4, 5, 6},
                      std::vector<NamedTensor>{{"images", step.images}, {"labels", step.labels}});
  recorder.loss("loss", step.loss);
  recorder.record_gradients(*step.model);
  recorder.record_parameters(*step.model);
  recorder.end_step();
  EXPECT_FALSE(stream.query()) << "the host is ahead of the stream";
  recorder.close();
  EXPECT_TRUE(stream.query());
}

TEST_F(RecordingGpu, FingerprintsAreCapturedByAGraph) {
  const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  const c10::StreamGuard stream(guard.getNewStream({at::kCUDA, 0}));
  const at::Tensor x = torch::randn({100, 30}).to(at::kCUDA), y = torch::randn({3, 9000}).to(at::kCUDA);
  const std::vector<fingerprint::FingerprintRequest> requests{{view_of_dense(x), 0, true},
                                                              {view_of_dense(y), 0, true}};
  const auto bytes = at::TensorOptions(at::kCUDA).dtype(at::kByte);
  const at::Tensor results = at::empty({2 * sizeof(fingerprint::Fingerprint)}, bytes);
  const at::Tensor scratch = at::empty({fingerprint::fingerprints_scratch_bytes(requests)}, bytes);
  const auto submit = [&] {
    fingerprint::fingerprints(requests, static_cast<fingerprint::Fingerprint*>(results.mutable_data_ptr()),
                              scratch.mutable_data_ptr(), Device::cuda,
                              stream.current_stream().native_handle());
  };
  submit();  // kernels are loaded by their first launch
  GraphCapture capture(stream.current_stream().native_handle());
  capture.begin();
  submit();
  capture.end();
  for (int turn = 0; turn < 2; ++turn) {
    x.mul_(2);
    capture.launch();
    const at::Tensor host = results.cpu();
    const auto* got = static_cast<const fingerprint::Fingerprint*>(host.const_data_ptr());
    for (const auto& [index, tensor] : {std::pair<int, at::Tensor>{0, x}, {1, y}}) {
      const at::Tensor expected = tensor.cpu();
      EXPECT_EQ(got[index].digest, fingerprint::digest_samples(view_of(expected), 0));
      EXPECT_EQ(got[index].unordered, fingerprint::digest_samples_unordered(view_of(expected)));
      EXPECT_EQ(fingerprint::finish(got[index].moments).norm,
                fingerprint::statistics(view_of(expected)).norm);
    }
  }
}

}  // namespace
}  // namespace lockstep
