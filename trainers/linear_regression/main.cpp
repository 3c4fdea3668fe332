// Linear regression on data whose answer is known, from scratch and with torch's own module and optimizer.

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "common/program.h"
#include "lockstep/torch/environment.h"
#include "table.h"
#include "task.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr const char* kProgram = "linear_regression";

struct RegressionOptions {
  std::string dataset, model;
  std::uint64_t data_seed = 0;
  LossReduction reduction = LossReduction::mean;
};

void declare_regression_options(CommandLine& line) {
  line.option("dataset", "synthetic", "synthetic (y = 2 x0 - 3.4 x1 + 4.2 and noise), or diabetes");
  line.option("data-seed", "0", "of the synthetic table");
  line.option("model", "module", "module (torch::nn::Linear, autograd, SGD), or scratch (gradients by hand)");
  line.option("loss-reduction", "mean",
              "mean, or sum-over-batch: gradients of the sum, divided by the batch size in the update");
}

RegressionOptions read_regression_options(const CommandLine& line) {
  return {line.choice("dataset", {"synthetic", "diabetes"}), line.choice("model", {"module", "scratch"}),
          line.seed("data-seed"),
          line.choice("loss-reduction", {"mean", "sum-over-batch"}) == "mean"
              ? LossReduction::mean
              : LossReduction::sum_over_batch};
}

Finding compared(const RegressionTable& table, const std::string& name, double learned, double truth) {
  return {name,
          fmt::format("{:<10} {:>10.6f}   {} {:>10.6f}   difference {:>10.6f}", name, learned,
                      table.truth_name, truth, learned - truth),
          learned};
}

std::vector<Finding> compare_with_truth(const RegressionTable& table, RegressionTask& task) {
  const torch::Tensor weights = task.parameter("weight").detach().view({-1});
  const double bias = task.parameter("bias").item<double>();
  std::vector<Finding> findings;
  double worst = std::abs(bias - table.truth.bias);
  for (std::int64_t i = 0; i < table.columns; ++i) {
    const double learned = weights[i].item<double>(),
                 truth = table.truth.weights[static_cast<std::size_t>(i)];
    findings.push_back(compared(table, fmt::format("weight[{}]", i), learned, truth));
    worst = std::max(worst, std::abs(learned - truth));
  }
  findings.push_back(compared(table, "bias", bias, table.truth.bias));
  findings.push_back({"largest_difference", fmt::format("largest difference {:.6f}", worst), worst});
  return findings;
}

int run(int argc, char** argv) {
  CommandLine line(kProgram, "Learns a linear function whose parameters are known, repeatable bit for bit.",
                   "linear_regression --model scratch --epochs 3 --record recordings --verbose");
  declare_training_options(line, {.epochs = "3", .batch_size = "10", .learning_rate = "0.03"});
  declare_regression_options(line);
  if (!line.parse(argc, argv)) return kExitDone;
  const TrainingOptions options = read_training_options(line);
  const RegressionOptions chosen = read_regression_options(line);

  enforce_determinism(options.seed, options.threads);
  const RegressionTable table =
      chosen.dataset == "diabetes" ? read_diabetes(options.data) : make_synthetic(chosen.data_seed);
  const std::unique_ptr<RegressionTask> task =
      chosen.model == "scratch"
          ? make_scratch(table.columns, chosen.reduction, options.learning_rate, options.seed)
          : make_module(table.columns, chosen.reduction, options.learning_rate, options.seed);
  TrainingSetup setup{kProgram, dataset_of(table), {}, {}};
  setup.semantic = {{"model", chosen.model},
                    {"loss", "half squared error"},
                    {"loss_reduction", chosen.reduction == LossReduction::mean ? "mean" : "sum-over-batch"},
                    {"optimizer", "sgd"}};
  setup.field_names = {{"x", table.name}, {"y", table.name}};

  if (const int code = prepare(setup, options); code != kExitDone) return code;
  const TrainingResult result = train(*task, setup, options);
  return report(setup, options, result, *task, compare_with_truth(table, *task));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(kProgram, [&] { return run(argc, argv); });
}
