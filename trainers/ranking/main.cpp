// Learns to rank from pairs, and records the fields of a pair's batch report: data1, data2, targets, labels1,
// labels2.

#include <string>

#include <fmt/format.h>

#include "common/data.h"
#include "common/program.h"
#include "lockstep/torch/environment.h"
#include "pairs.h"
#include "task.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr const char* kProgram = "ranking";

void declare_ranking_options(CommandLine& line) {
  line.option("dataset", "diabetes",
              "diabetes (whose disease went on further), or images (Fashion-MNIST by class number)");
  line.option("pairs", "2000", "pairs of an epoch");
  line.option("pair-seed", "0", "of the choice of pairs");
  line.option("hidden", "32", "units of the scorer's hidden layer");
  line.option("margin", "1.0", "by which the better one is to score higher");
  line.option("momentum", "0.9", "of sgd");
  line.option("name", "", "name of the dataset in the batch report (default: the dataset's)");
  line.option("variant", "train", "variant of it, as a measuring frequency or a material's treatment");
}

PairData open_pairs(const CommandLine& line, const TrainingOptions& options) {
  const std::int64_t count = line.integer("pairs", 1);
  const std::uint64_t seed = line.seed("pair-seed");
  if (line.choice("dataset", {"diabetes", "images"}) == "diabetes")
    return patient_pairs(options.data, count, seed);
  return image_pairs(fashion_mnist_data(options.data), count, seed);
}

RankingOptions read_ranking_options(const CommandLine& line, const PairData& data,
                                    const TrainingOptions& options) {
  return {
      data.features,         line.integer("hidden", 1),        line.number("margin"), line.number("momentum"),
      options.learning_rate, line.text("dataset") == "images", options.seed};
}

TrainingSetup make_setup(const CommandLine& line, const PairData& data, const RankingOptions& chosen) {
  TrainingSetup setup{kProgram, data.train, {}, {}};
  setup.semantic = {{"model", fmt::format("scorer {}-{}-1", chosen.features, chosen.hidden)},
                    {"loss", "margin_ranking_loss"},
                    {"margin", fmt::to_string(chosen.margin)},
                    {"optimizer", "sgd"},
                    {"momentum", fmt::to_string(chosen.momentum)}};
  const std::string name =
      (line.text("name").empty() ? data.name : line.text("name")) + '/' + line.text("variant");
  for (const loader::Field& field : data.train->fields()) setup.field_names[field.name] = name;
  return setup;
}

int run(int argc, char** argv) {
  CommandLine line(
      kProgram, "Learns to rank from pairs, repeatable bit for bit.",
      "ranking --dataset diabetes --epochs 20 --name diabetes --variant baseline --verify-batches 100 "
      "--record recordings --checkpoint checkpoints --checkpoint-every-epochs 5");
  declare_training_options(line, {.epochs = "10", .batch_size = "32", .learning_rate = "0.01"});
  declare_ranking_options(line);
  if (!line.parse(argc, argv)) return kExitDone;
  const TrainingOptions options = read_training_options(line);

  enforce_determinism(options.seed, options.threads);
  const PairData data = open_pairs(line, options);
  const RankingOptions chosen = read_ranking_options(line, data, options);
  const TrainingSetup setup = make_setup(line, data, chosen);
  RankingTask task(chosen);

  if (const int code = prepare(setup, options); code != kExitDone) return code;
  const TrainingResult result = train(task, setup, options);
  std::vector<Finding> findings;
  if (result.signal == 0) {
    const double accuracy = task.accuracy(data.test, options);
    findings.push_back(
        {"test_accuracy", fmt::format("test pairs in the right order {:.2f} %", 100 * accuracy), accuracy});
  }
  return report(setup, options, result, task, findings);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(kProgram, [&] { return run(argc, argv); });
}
