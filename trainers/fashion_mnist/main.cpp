// Classifies Fashion-MNIST, and leaves a recording with which two runs can be compared bit for bit.

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "common/data.h"
#include "common/program.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/initialize.h"
#include "lockstep/torch/optimizer.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "lockstep_loader/transform/image_transforms.h"
#include "task.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr const char* kProgram = "fashion_mnist";

struct ModelOptions {
  std::string model, optimizer;
  std::int64_t hidden = 0;
  double momentum = 0;
  bool augment = false;
};

void declare_model_options(CommandLine& line) {
  line.option("model", "mlp", "mlp, or cnn (two convolutions)");
  line.option("hidden", "256", "units of the MLP's hidden layer");
  line.option("optimizer", "sgd", "sgd or adam");
  line.option("momentum", "0.9", "of sgd");
  line.flag("augment", "shift by up to 2 pixels and mirror at random, the same for any number of workers");
}

ModelOptions read_model_options(const CommandLine& line) {
  return {line.choice("model", {"mlp", "cnn"}), line.choice("optimizer", {"sgd", "adam"}),
          line.integer("hidden", 1), line.number("momentum"), line.flag("augment")};
}

loader::DatasetPtr augmented(loader::DatasetPtr images) {
  constexpr std::uint32_t kCropStream = 1, kFlipStream = 2;
  constexpr std::int64_t kPadding = 2;
  loader::Transform crop = loader::random_crop(*images, "image", kSide, kSide, kPadding, kCropStream);
  images = std::make_shared<loader::TransformDataset>(images, std::move(crop));
  loader::Transform flip = loader::random_horizontal_flip(*images, "image", 0.5, kFlipStream);
  return std::make_shared<loader::TransformDataset>(images, std::move(flip));
}

std::shared_ptr<Classifier> make_model(const ModelOptions& chosen, std::uint64_t seed) {
  std::shared_ptr<Classifier> model = chosen.model == "mlp" ? make_mlp(chosen.hidden) : make_cnn();
  initialize_parameters(*model, seed);
  return model;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const ModelOptions& chosen,
                                                        const TrainingOptions& options,
                                                        const torch::nn::Module& model) {
  if (chosen.optimizer == "adam")
    return std::make_unique<Adam>(model.parameters(), torch::optim::AdamOptions(options.learning_rate));
  return std::make_unique<Sgd>(model.parameters(),
                               torch::optim::SGDOptions(options.learning_rate).momentum(chosen.momentum));
}

int run(int argc, char** argv) {
  CommandLine line(kProgram, "Trains a small network on Fashion-MNIST, repeatable bit for bit.",
                   "fashion_mnist --epochs 5 --workers 4 --record recordings --checkpoint checkpoints");
  declare_training_options(line, {.epochs = "5", .batch_size = "64", .learning_rate = "0.02"});
  declare_model_options(line);
  if (!line.parse(argc, argv)) return kExitDone;
  const TrainingOptions options = read_training_options(line);
  const ModelOptions chosen = read_model_options(line);

  enforce_determinism(options.seed, options.threads);
  const auto folder = fashion_mnist_data(options.data);
  const std::shared_ptr<Classifier> model = make_model(chosen, options.seed);
  const loader::DatasetPtr images = loader::open_fashion_mnist(folder, loader::Split::train);
  TrainingSetup setup{kProgram, chosen.augment ? augmented(images) : images, {}, {}};
  setup.semantic = {
      {"model", model->description()}, {"loss", "cross_entropy"}, {"optimizer", chosen.optimizer}};
  if (chosen.optimizer == "sgd") setup.semantic["momentum"] = fmt::to_string(chosen.momentum);
  setup.field_names = {{"image", "fashion-mnist/train"}, {"label", "fashion-mnist/train"}};
  ClassificationTask task(model, make_optimizer(chosen, options, *model));

  if (const int code = prepare(setup, options); code != kExitDone) return code;
  const TrainingResult result = train(task, setup, options);
  std::vector<Finding> findings;
  if (result.signal == 0) {
    const double accuracy = task.accuracy(loader::open_fashion_mnist(folder, loader::Split::test), options);
    findings.push_back({"test_accuracy", fmt::format("test accuracy {:.2f} %", 100 * accuracy), accuracy});
  }
  return report(setup, options, result, task, findings);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(kProgram, [&] { return run(argc, argv); });
}
