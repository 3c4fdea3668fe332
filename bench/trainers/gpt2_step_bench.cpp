// A training step of GPT-2 in the invariant mode, against the same model on LibTorch's own kernels, in one
// process and in turns. Parts of a step too, to see where the time goes.

#include <ATen/Parallel.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <torch/torch.h>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/optimizer.h"
#include "model.h"

namespace {

using namespace lockstep;
using trainers::AttentionKind, trainers::Gpt2, trainers::Gpt2Config;

constexpr std::int64_t kBatch = 8;
constexpr double kClip = 1.0;

/// One of the two sides: a model, its optimizer and the batch.
struct Side {
  Side(const Gpt2Config& config, AttentionKind attention) : model(std::make_shared<Gpt2>(config, attention)) {
    model->initialize(1);
    torch::manual_seed(2);
    tokens = torch::randint(config.vocabulary, {kBatch, config.context}, torch::kLong);
    targets = torch::randint(config.vocabulary, {kBatch, config.context}, torch::kLong);
  }

  torch::Tensor loss(std::int64_t first, std::int64_t samples) const {
    const torch::Tensor logits = model->forward(tokens.narrow(0, first, samples));
    return torch::nn::functional::cross_entropy(logits, targets.narrow(0, first, samples).reshape({-1}));
  }

  std::shared_ptr<Gpt2> model;
  torch::Tensor tokens, targets;
};

torch::optim::AdamWOptions adamw_options() { return torch::optim::AdamWOptions(1e-4).weight_decay(0.1); }

/// In the mode, with lockstep's optimizer.
class Ours : public Side {
 public:
  Ours(const Gpt2Config& config, AttentionKind attention)
      : Side(config, attention), accumulator_(*model), adamw_(model->parameters(), adamw_options()) {}

  void forward() {
    const InvariantMode mode;
    const torch::NoGradGuard no_grad;
    loss(0, kBatch);
  }
  void gradients(std::int64_t micro_batch) {
    const InvariantMode mode;
    most_bytes_ = 0;
    model->zero_grad();
    accumulator_.begin(kBatch);
    for (std::int64_t first = 0; first < kBatch; first += micro_batch) {
      const auto scope = accumulator_.micro_batch(first, micro_batch);
      loss(first, micro_batch).backward();
      most_bytes_ = std::max(most_bytes_, accumulator_.bytes());
    }
    accumulator_.finish();
  }
  /// What the accumulator held at most in the last gradients().
  std::int64_t most_bytes() const { return most_bytes_; }
  void whole() {
    const InvariantMode mode;
    model->zero_grad();
    loss(0, kBatch).backward();
  }
  void update() {
    clip_gradient_norm(model->parameters(), kClip);
    adamw_.step();
  }

 private:
  GradientAccumulator accumulator_;
  AdamW adamw_;
  std::int64_t most_bytes_ = 0;
};

/// As everybody writes it.
class Rival : public Side {
 public:
  Rival(const Gpt2Config& config, AttentionKind attention)
      : Side(config, attention), adamw_(model->parameters(), adamw_options()) {}

  void forward() {
    const torch::NoGradGuard no_grad;
    loss(0, kBatch);
  }
  void gradients(std::int64_t micro_batch) {
    model->zero_grad();
    for (std::int64_t first = 0; first < kBatch; first += micro_batch)
      (loss(first, micro_batch) * (static_cast<double>(micro_batch) / kBatch)).backward();
  }
  void whole() {
    model->zero_grad();
    loss(0, kBatch).backward();
  }
  void update() {
    torch::nn::utils::clip_grad_norm_(model->parameters(), kClip);
    adamw_.step();
  }

 private:
  torch::optim::AdamW adamw_;
};

/// What the command line chooses.
struct Choice {
  std::string part;  // of the names that are measured; empty: all
  int threads = 1;
  int pairs = 15;
};

template <class Part>
void compare(const Choice& choice, const std::string& name, Ours& ours, Rival& rival, Part part) {
  if (name.find(choice.part) == std::string::npos) return;
  at::set_num_threads(choice.threads);
  const auto clock = choice.threads == 1 ? internal::Clock::thread : internal::Clock::wall;
  const internal::PairedRatio r =
      internal::time_pairs([&] { part(ours); }, [&] { part(rival); }, clock, choice.pairs, 0.0);
  std::printf("%-36s %d  ratio %.2f [%.2f, %.2f]  ours %8.1f ms  LibTorch %8.1f ms\n", name.c_str(),
              choice.threads, r.median, r.low, r.high, 1e3 * r.operation_seconds, 1e3 * r.rival_seconds);
  std::fflush(stdout);
}

void compare_steps(const Choice& choice, const std::string& name, AttentionKind attention) {
  const Gpt2Config config = trainers::gpt2_config("small");
  Ours ours(config, attention);
  Rival rival(config, attention);
  compare(choice, name + " forward", ours, rival, [](auto& side) { side.forward(); });
  compare(choice, name + " gradients", ours, rival, [](auto& side) { side.whole(); });
  compare(choice, name + " gradients in 8 parts", ours, rival, [](auto& side) { side.gradients(1); });
  ours.whole();  // what the update takes
  rival.whole();
  compare(choice, name + " clip and AdamW", ours, rival, [](auto& side) { side.update(); });
  compare(choice, name + " step", ours, rival, [](auto& side) {
    side.whole();
    side.update();
  });
}

/// The memory of accumulation, with cuts on the grid of 1,024 rows and off it.
void show_memory() {
  Ours ours(trainers::gpt2_config("small"), AttentionKind::fused);
  std::int64_t parameters = 0;
  for (const auto& parameter : ours.model->parameters()) parameters += parameter.numel();
  for (const std::int64_t samples : {4, 1}) {
    ours.gradients(samples);
    std::printf("memory of the accumulator, micro-batches of %lld: %.2f times the parameters'\n",
                static_cast<long long>(samples),
                static_cast<double>(ours.most_bytes()) / (4.0 * static_cast<double>(parameters)));
  }
}

}  // namespace

// gpt2_step_bench [PART [THREADS [PAIRS]]]: 6 layers, width 384, 6 heads, T = 256, batch 8, 256 different
// tokens. PART is a piece of a name ("fused step"). LibTorch's time over ours: above 1 ours is the faster
// one.
int main(int argc, char** argv) {
  Choice choice;
  if (argc > 1) choice.part = argv[1];
  if (argc > 2) choice.threads = std::max(1, std::atoi(argv[2]));
  if (argc > 3) choice.pairs = std::max(1, std::atoi(argv[3]));
  if (choice.part.empty() || choice.part == "memory") show_memory();
  compare_steps(choice, "fused", AttentionKind::fused);
  compare_steps(choice, "parts", AttentionKind::parts);
}
