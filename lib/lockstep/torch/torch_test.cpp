#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/record/reader.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/serialize.h"
#include "lockstep/torch/tensor_view.h"
#include "lockstep/torch/training_recorder.h"

namespace lockstep {
namespace {

TEST(TensorView, BorrowsTheTensorsMemory) {
  const torch::Tensor tensor = torch::arange(6, torch::kInt).view({2, 3});
  const ConstView view = view_of(tensor);
  EXPECT_EQ(view.data, tensor.const_data_ptr());
  EXPECT_EQ(view.dtype, DType::int32);
  EXPECT_EQ(view.shape, (Shape{2, 3}));
}

TEST(TensorView, EveryDtypeGoesBothWays) {
  for (int number = 0; number < 256; ++number) {
    if (!is_dtype(static_cast<std::uint8_t>(number))) continue;
    const auto dtype = static_cast<DType>(number);
    EXPECT_EQ(to_dtype(to_scalar_type(dtype)), dtype);
    EXPECT_EQ(c10::elementSize(to_scalar_type(dtype)), dtype_bytes(dtype));
  }
  expect_error(ErrorCode::unsupported, "ComplexFloat", [] { to_dtype(torch::kComplexFloat); });
}

TEST(TensorView, RefusesWhatIsNoPlainMemoryAndSaysWhatToCall) {
  const torch::Tensor matrix = torch::rand({3, 4});
  expect_error(ErrorCode::invalid_argument, "viewable(tensor)", [&] { view_of(matrix.t()); });
  expect_error(ErrorCode::invalid_argument, "undefined", [] { view_of(torch::Tensor()); });
  expect_error(ErrorCode::unsupported, "to_dense()", [&] { view_of(matrix.to_sparse()); });
  expect_error(ErrorCode::unsupported, "viewable(tensor)", [&] { view_of(matrix.to(torch::kMeta)); });
  expect_error(ErrorCode::unsupported, "view_as_real",
               [&] { view_of(torch::zeros({2}, torch::kComplexFloat)); });
  expect_error(ErrorCode::invalid_argument, "at most 8 axes", [] {
    view_of(torch::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1}));
  });
}

TEST(TensorView, ViewableCopiesOnlyWhenItMust) {
  const torch::Tensor matrix = torch::rand({3, 4});
  EXPECT_TRUE(viewable(matrix).is_same(matrix));
  const torch::Tensor copy = viewable(matrix.t());
  EXPECT_TRUE(copy.is_contiguous());
  EXPECT_TRUE(copy.equal(matrix.t()));
}

TEST(TensorView, DigestSeesOrderAndLayoutOnlyByValue) {
  const torch::Tensor matrix = torch::rand({3, 4});
  EXPECT_EQ(digest_of(matrix.t()), digest_of(matrix.t().contiguous()));
  EXPECT_NE(digest_of(matrix), digest_of(matrix.flip(0)));
  EXPECT_NE(digest_of(matrix), digest_of(matrix.view({4, 3})));
}

TEST(TensorView, ModuleDigestCoversNamesValuesAndBuffers) {
  torch::manual_seed(1);
  torch::nn::Linear first(3, 2);
  torch::manual_seed(1);
  torch::nn::Linear second(3, 2);
  EXPECT_EQ(digest_of(*first), digest_of(*second));
  const torch::NoGradGuard no_grad;
  second->weight[1][2] = std::nextafter(second->weight[1][2].item<float>(), 2.0F);
  EXPECT_NE(digest_of(*first), digest_of(*second));
  torch::nn::BatchNorm1d norm(2), moved(2);
  moved->running_mean.add_(1);
  EXPECT_NE(digest_of(*norm), digest_of(*moved));
}

TEST(Environment, NamesVersionsThreadsAndSwitches) {
  const auto environment = torch_environment();
  for (const char* name :
       {"torch.version", "torch.cuda", "torch.threads", "torch.tf32.cublas", "torch.autocast.cpu",
        "torch.cudnn.benchmark", "torch.default_dtype", "torch.deterministic_algorithms"})
    EXPECT_EQ(environment.count(name), 1U) << name;
  EXPECT_EQ(environment.at("torch.version"), TORCH_VERSION);
}

TEST(Environment, EnforceDeterminismSetsAndReportsEverySwitch) {
  at::globalContext().setBenchmarkCuDNN(true);
  at::globalContext().setAllowTF32CuBLAS(true);
  EXPECT_EQ(torch_environment().at("torch.tf32.cublas"), "on");
  const auto report = enforce_determinism(7, 2);
  const torch::Tensor first = torch::rand({4});
  enforce_determinism(7, 1);
  EXPECT_TRUE(first.equal(torch::rand({4})));
  EXPECT_EQ(at::get_num_threads(), 1);
  EXPECT_EQ(report.at("torch.deterministic_algorithms"), "on");
  EXPECT_EQ(report.at("torch.tf32.cublas"), "off");
  EXPECT_EQ(report.at("torch.cudnn.benchmark"), "off");
  EXPECT_EQ(report.at("torch.threads"), "2");
  EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), report.at("env.CUBLAS_WORKSPACE_CONFIG").c_str());
  expect_error(ErrorCode::invalid_argument, "threads", [] { enforce_determinism(0, -1); });
}

torch::Tensor half_squares(torch::nn::Linear& model, const torch::Tensor& x) {
  return model->forward(x).square().mean();
}

void step(torch::nn::Linear& model, torch::optim::Optimizer& optimizer, const torch::Tensor& x) {
  optimizer.zero_grad();
  half_squares(model, x).backward();
  optimizer.step();
}

TEST(Serialize, ModelOptimizerAndGeneratorComeBackBitForBit) {
  torch::manual_seed(3);
  torch::nn::Linear model(3, 2);
  torch::optim::Adam adam(model->parameters(), 0.1);
  const torch::Tensor x = torch::rand({5, 3});
  step(model, adam, x);
  const std::string model_part = module_bytes(*model), adam_part = optimizer_bytes(adam),
                    draws = generator_bytes();
  step(model, adam, x);
  const auto expected = digest_of(*model);
  const torch::Tensor drawn = torch::rand({3});

  torch::nn::Linear other(3, 2);
  torch::optim::Adam other_adam(other->parameters(), 0.1);
  load_module(*other, model_part);
  EXPECT_NE(digest_of(*other), expected);
  load_optimizer(other_adam, adam_part);
  load_generator(draws);
  step(other, other_adam, x);
  EXPECT_EQ(digest_of(*other), expected);
  EXPECT_TRUE(torch::rand({3}).equal(drawn));
}

TEST(Serialize, RefusesBytesOfAnotherModelAndDamagedOnes) {
  torch::nn::Linear model(3, 2), wider(4, 2);
  torch::nn::Sequential deeper(torch::nn::Linear(3, 2));
  expect_error(ErrorCode::corruption, "shape", [&] { load_module(*wider, module_bytes(*model)); });
  expect_error(ErrorCode::corruption, "part model", [&] { load_module(*deeper, module_bytes(*model)); });
  expect_error(ErrorCode::corruption, "part model", [&] { load_module(*model, "no archive"); });
  expect_error(ErrorCode::corruption, "part generator", [] { load_generator("short"); });
}

struct RecordedRun {
  std::vector<std::string> order;  // "gradient weight", …
  std::map<std::string, fingerprint::Digest> tensors;
  std::map<std::string, std::uint64_t> losses;
  std::map<std::string, std::string> environment;
  std::vector<fingerprint::Digest> batch_digests;
};

RecordedRun read_back(const std::filesystem::path& file) {
  RecordedRun run;
  record::Reader reader(file);
  run.environment = reader.info()->environment;
  while (const auto item = reader.next()) {
    if (const auto* tensor = std::get_if<record::TensorRecord>(&*item)) {
      const std::string name = std::string(record::phase_name(tensor->phase)) + ' ' + tensor->tensor.name;
      run.order.push_back(name);
      run.tensors[name] = tensor->tensor.digest;
    } else if (const auto* loss = std::get_if<record::LossRecord>(&*item)) {
      run.losses[loss->name] = loss->bits;
    } else if (const auto* batch = std::get_if<record::BatchRecord>(&*item)) {
      for (const auto& field : batch->fields) run.batch_digests.push_back(field.digest);
    }
  }
  return run;
}

TEST(TrainingRecorder, RecordsWhatAStepComputesInOrder) {
  const TemporaryFolder folder;
  enforce_determinism(5, 1);
  torch::nn::Linear model(3, 2);
  torch::optim::SGD sgd(model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  const torch::Tensor x = torch::rand({4, 3});

  record::RunInfo info;
  info.environment["torch.version"] = "stated by the caller";
  TrainingRecorder recorder(folder.path(), info);
  recorder.record_batch(0, 0, 0, {3, 1, 0, 2}, {{"x", x.t().contiguous().t()}});
  const torch::Tensor loss = half_squares(model, x);
  loss.backward();
  recorder.loss("loss", loss);
  recorder.named("activation", x * 2);
  recorder.record_gradients(*model);
  const auto gradient = digest_of(model->weight.grad());
  sgd.step();
  recorder.record_optimizer(sgd, *model);
  recorder.record_parameters(*model);
  recorder.end_step();
  recorder.close();

  const RecordedRun run = read_back(recorder.file());
  EXPECT_EQ(run.order,
            (std::vector<std::string>{"named activation", "gradient weight", "gradient bias",
                                      "optimizer weight.momentum_buffer", "optimizer bias.momentum_buffer",
                                      "parameter weight", "parameter bias"}));
  EXPECT_EQ(run.tensors.at("gradient weight"), gradient);
  EXPECT_EQ(run.tensors.at("parameter weight"), digest_of(model->weight));
  EXPECT_NE(run.tensors.at("parameter weight"), gradient);
  EXPECT_EQ(run.losses.at("loss"), std::bit_cast<std::uint32_t>(loss.item<float>()));
  EXPECT_EQ(run.batch_digests, std::vector{digest_of(x)});
  EXPECT_EQ(run.environment.at("torch.version"), "stated by the caller");
  EXPECT_EQ(run.environment.at("torch.deterministic_algorithms"), "on");
}

TEST(TrainingRecorder, KnowsTheBuffersOfTheOptimizers) {
  const TemporaryFolder folder;
  torch::nn::Linear model(2, 1);
  const torch::Tensor x = torch::rand({4, 2});
  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(0.1).amsgrad(true));
  torch::optim::RMSprop rmsprop(model->parameters(), 0.1);
  torch::optim::Adagrad adagrad(model->parameters(), 0.1);
  TrainingRecorder recorder(folder.path(), {}, {.tensors_every = 1});
  std::int64_t number = 0;
  for (torch::optim::Optimizer* optimizer :
       std::initializer_list<torch::optim::Optimizer*>{&adam, &rmsprop, &adagrad}) {
    recorder.record_batch(number, 0, number, {0, 1, 2, 3}, {{"x", x}});
    step(model, *optimizer, x);
    recorder.record_optimizer(*optimizer, *model);
    recorder.end_step();
    ++number;
  }
  recorder.close();
  const RecordedRun run = read_back(recorder.file());
  for (const char* buffer : {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"})
    EXPECT_EQ(run.tensors.count(std::string("optimizer bias.") + buffer), 1U) << buffer;
}

TEST(TrainingRecorder, MicroBatchesRecordTheSameBatch) {
  const TemporaryFolder folder;
  const torch::Tensor x = torch::rand({6, 3});
  std::vector<fingerprint::Digest> digests;
  for (const std::int64_t cut : {6, 4, 1}) {
    TrainingRecorder recorder(folder.path(), {});
    recorder.begin_step(0, 0, 0);
    for (std::int64_t first = 0; first < 6; first += cut) {
      const std::int64_t rows = std::min<std::int64_t>(cut, 6 - first);
      std::vector<std::int64_t> ids;
      for (std::int64_t i = 0; i < rows; ++i) ids.push_back(first + i);
      recorder.batch_part(first, ids, std::vector<NamedTensor>{{"x", x.narrow(0, first, rows)}});
    }
    recorder.end_step();
    recorder.close();
    digests.push_back(read_back(recorder.file()).batch_digests.at(0));
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_EQ(digests[0], digests[2]);
  EXPECT_NE(digests[0], digest_of(x.flip(0)));
}

TEST(TrainingRecorder, RefusesFieldsAndLossesOfAnotherShape) {
  const TemporaryFolder folder;
  TrainingRecorder recorder(folder.path(), {});
  recorder.begin_step(0, 0, 0);
  expect_error(ErrorCode::invalid_argument, "field x", [&] {
    recorder.batch_part(0, {1, 2}, std::vector<NamedTensor>{{"x", torch::rand({3, 1})}});
  });
  expect_error(ErrorCode::invalid_argument, "one floating-point element",
               [&] { recorder.loss("loss", torch::rand({2})); });
}

}  // namespace
}  // namespace lockstep
