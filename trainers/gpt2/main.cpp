// Trains GPT-2 on a text or on token files, and leaves a recording with which two runs can be compared bit
// for bit.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/data.h"
#include "common/program.h"
#include "lockstep/base/error.h"
#include "lockstep/safetensors/safetensors.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/tensor_view.h"
#include "model.h"
#include "sampling.h"
#include "task.h"
#include "tokens.h"
#include "weights.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr const char* kProgram = "gpt2";
constexpr double kFinalPart = 0.1;  // of the learning rate, where --final-learning-rate is not given

void declare_model_options(CommandLine& line) {
  line.option("config", "small", "tiny, small, gpt2, gpt2-medium, gpt2-large or gpt2-xl");
  line.option("layers", "", "blocks (default: of --config, as the four below)");
  line.option("heads", "", "attention heads");
  line.option("width", "", "features of a token");
  line.option("context", "", "tokens of a window");
  line.option("vocabulary", "", "different tokens (default: 256 for bytes, 50257 for token files)");
  line.option("dropout", "0", "after the embeddings and of what each branch adds");
  line.option("attention-dropout", "0", "of attention weights");
  line.option("load", "",
              "weights to begin with: a folder of transformers' (then also the configuration), or a file");
  line.option("attention", "fused", "fused (scaled_dot_product_attention), or parts (with the T x T matrix)");
}

void declare_data_options(CommandLine& line) {
  line.option("tokens", "auto",
              "what --data holds: bytes, uint16, uint32; auto: uint16 for .bin, else bytes");
  line.option("held-out", "0.05", "part of the windows, from the end, that is not learned from");
  line.option("held-out-data", "", "a file of held-out tokens instead");
  line.option("eval-every", "0", "held-out loss every N steps; 0: at the end only");
  line.option("eval-windows", "200", "windows of a held-out loss, from the first on; 0: all");
}

void declare_result_options(CommandLine& line) {
  line.option("save", "", "folder for the trained weights, as transformers reads them");
  line.option("save-logits", "",
              "a safetensors file for the first held-out window: tokens, and logits at the end");
  line.option("sample-tokens", "0", "tokens of a text to be drawn at the end");
  line.option(
      "prompt", "",
      "its beginning: text, or token numbers with spaces where the data are tokens (default: a newline, "
      "or the last token of the vocabulary)");
  line.option("temperature", "1.0", "of drawing; 0: always the likeliest token");
  line.option("top-k", "0", "draw among the k likeliest tokens; 0: among all");
  line.option("sample-seed", "0", "of drawing");
}

void declare_optimizer_options(CommandLine& line) {
  line.option("weight-decay", "0.1", "of AdamW, for matrices alone");
  line.option("beta1", "0.9", "of AdamW");
  line.option("beta2", "0.95", "of AdamW");
  line.option("epsilon", "1e-8", "of AdamW");
  line.option("clip", "1.0", "largest norm of all gradients; 0: none");
  line.option("warmup-steps", "100", "steps of linear warm-up");
  line.option("decay-steps", "", "step at which the cosine ends (default: the run's last); 0: no decay");
  line.option("final-learning-rate", "", "at the cosine's end (default: a tenth of --learning-rate)");
}

void override_extent(const CommandLine& line, const char* name, std::int64_t& extent) {
  if (!line.text(name).empty()) extent = line.integer(name, 1);
}

/// The options that name an extent of the model.
constexpr const char* kExtents[] = {"config", "layers", "heads", "width", "context", "vocabulary"};

bool loads_folder(const CommandLine& line) {
  return !line.text("load").empty() && std::filesystem::is_directory(line.text("load"));
}

Gpt2Config loaded_config(const CommandLine& line) {
  for (const char* name : kExtents)
    if (line.given(name))
      fail(ErrorCode::invalid_argument,
           {kProgram, fmt::format("--load and --{}", name), "one of the two", "both",
            "The folder's config.json says it; pass the file model.safetensors to say it yourself"});
  return read_gpt2_config(line.text("load"));
}

Gpt2Config chosen_config(const CommandLine& line, TokenKind kind) {
  Gpt2Config config = gpt2_config(line.text("config"));
  config.vocabulary = gpt2_config(kind == TokenKind::bytes ? "small" : "gpt2").vocabulary;
  override_extent(line, "layers", config.layers);
  override_extent(line, "heads", config.heads);
  override_extent(line, "width", config.width);
  override_extent(line, "context", config.context);
  override_extent(line, "vocabulary", config.vocabulary);
  return config;
}

Gpt2Config read_config(const CommandLine& line, TokenKind kind) {
  Gpt2Config config = loads_folder(line) ? loaded_config(line) : chosen_config(line, kind);
  config.dropout = line.number("dropout");
  config.attention_dropout = line.number("attention-dropout");
  config.check();
  return config;
}

std::shared_ptr<Gpt2> make_model(const CommandLine& line, const Gpt2Config& config, std::uint64_t seed) {
  const bool fused = line.choice("attention", {"fused", "parts"}) == "fused";
  auto model = std::make_shared<Gpt2>(config, fused ? AttentionKind::fused : AttentionKind::parts);
  if (line.text("load").empty())
    model->initialize(seed);
  else
    load_gpt2(*model, line.text("load"));
  return model;
}

SamplingOptions read_sampling_options(const CommandLine& line) {
  SamplingOptions options{line.integer("sample-tokens", 0), line.number("temperature"),
                          line.integer("top-k", 0), line.seed("sample-seed")};
  options.check();
  return options;
}

/// Optimizer steps that the options ask for.
std::int64_t steps_of_run(const TrainingOptions& options, std::int64_t records) {
  const bool drop = options.last == loader::LastBatch::drop;
  const std::int64_t batches = (records + (drop ? 0 : options.batch_size - 1)) / options.batch_size;
  const std::int64_t steps = batches * options.epochs;
  return options.max_steps >= 0 ? std::min(steps, options.max_steps) : steps;
}

LanguageOptions read_language_options(const CommandLine& line, const TrainingOptions& options,
                                      std::int64_t records) {
  LanguageOptions chosen;
  chosen.weight_decay = line.number("weight-decay");
  chosen.beta1 = line.number("beta1");
  chosen.beta2 = line.number("beta2");
  chosen.epsilon = line.number("epsilon");
  chosen.clip = line.number("clip");
  chosen.schedule = {options.learning_rate, kFinalPart * options.learning_rate,
                     line.integer("warmup-steps", 0), steps_of_run(options, records)};
  if (!line.text("decay-steps").empty()) chosen.schedule.decay_steps = line.integer("decay-steps", 0);
  if (!line.text("final-learning-rate").empty())
    chosen.schedule.final_rate = line.number("final-learning-rate");
  chosen.schedule.check();
  return chosen;
}

std::map<std::string, std::string> semantic_settings(const CommandLine& line, const Gpt2& model,
                                                     const LanguageOptions& chosen) {
  const Gpt2Config& config = model.config();
  std::map<std::string, std::string> settings = {
      {"model", config.description()},
      {"dropout", fmt::to_string(config.dropout)},
      {"attention_dropout", fmt::to_string(config.attention_dropout)},
      {"attention", line.text("attention")},
      {"loss", "cross_entropy"},
      {"optimizer", "adamw"},
      {"weight_decay", fmt::to_string(chosen.weight_decay)},
      {"betas", fmt::format("{} {}", chosen.beta1, chosen.beta2)},
      {"epsilon", fmt::to_string(chosen.epsilon)},
      {"clip", fmt::to_string(chosen.clip)},
      {"warmup_steps", fmt::to_string(chosen.schedule.warmup_steps)},
      {"decay_steps", fmt::to_string(chosen.schedule.decay_steps)},
      {"final_learning_rate", fmt::to_string(chosen.schedule.final_rate)}};
  if (!line.text("load").empty()) settings["loaded_weights"] = digest_of(model).hex();
  return settings;
}

/// What is done between steps and at the end, beside learning.
class Inspection {
 public:
  Inspection(const CommandLine& line, const TrainingOptions& options, LanguageTask& task, Gpt2& model,
             loader::DatasetPtr held_out, TokenKind kind)
      : line_(line),
        options_(options),
        task_(task),
        model_(model),
        held_out_(std::move(held_out)),
        kind_(kind),
        sampling_(read_sampling_options(line)),
        prompt_(parse_prompt(line.text("prompt"), kind, model.config().vocabulary)),
        every_(line.integer("eval-every", 0)),
        windows_(line.integer("eval-windows", 0)) {
    if (!held_out_ && !line.text("save-logits").empty())
      fail(ErrorCode::invalid_argument, {kProgram, "--save-logits", "held-out windows", "none",
                                         "Pass --held-out above 0, or --held-out-data"});
  }

  void after_step(std::int64_t steps) {
    if (every_ == 0 || steps % every_ != 0 || !held_out_) return;
    const std::string text = held_out_loss().text;
    if (!options_.quiet && !options_.json) fmt::print("step {}: {}\n", steps, text);
  }

  std::vector<Finding> at_end() {
    std::vector<Finding> findings;
    if (held_out_) findings.push_back(held_out_loss());
    if (!line_.text("save").empty()) save_gpt2(model_, line_.text("save"));
    if (!line_.text("save-logits").empty()) save_logits(line_.text("save-logits"));
    if (sampling_.tokens > 0) findings.push_back(sampled());
    return findings;
  }

 private:
  Finding held_out_loss() {
    const double loss = task_.loss(held_out_, windows_, options_);
    return {"held_out_loss", fmt::format("held-out loss {:.6f}", loss), loss};
  }

  Finding sampled() {
    const std::vector<std::int64_t> tokens = sample(model_, prompt_, sampling_, options_.invariant);
    const std::string text = text_of(tokens, kind_);
    return {"sample", "sample: " + text, text};
  }

  void save_logits(const std::string& file) {
    const auto [tokens, logits] = task_.logits(held_out_, options_);
    write_safetensors(file, {{"tokens", view_of(tokens)}, {"logits", view_of(logits)}});
  }

  const CommandLine& line_;
  const TrainingOptions& options_;
  LanguageTask& task_;
  Gpt2& model_;
  loader::DatasetPtr held_out_;
  TokenKind kind_;
  SamplingOptions sampling_;
  std::vector<std::int64_t> prompt_;
  std::int64_t every_, windows_;
};

int run(int argc, char** argv) {
  CommandLine line(
      kProgram, "Trains GPT-2 on a text, repeatable bit for bit.",
      "gpt2 --config tiny --max-steps 300 --eval-every 100 --sample-tokens 200 --record recordings");
  declare_training_options(line, {.epochs = "1", .batch_size = "8", .learning_rate = "0.001"});
  declare_model_options(line);
  declare_data_options(line);
  declare_optimizer_options(line);
  declare_result_options(line);
  if (!line.parse(argc, argv)) return kExitDone;
  const TrainingOptions options = read_training_options(line);

  enforce_determinism(options.seed, options.threads);
  const std::filesystem::path file = options.data.empty() ? shipped_data("text/emma.txt") : options.data;
  const TokenKind kind = token_kind(line.choice("tokens", {"auto", "bytes", "uint16", "uint32"}), file);
  const Gpt2Config config = read_config(line, kind);
  const TokenSplit split = open_tokens(file, line.text("held-out-data"), kind, config.context,
                                       config.vocabulary, line.number("held-out"));
  const std::shared_ptr<Gpt2> model = make_model(line, config, options.seed);
  const LanguageOptions chosen = read_language_options(line, options, split.train->size());
  LanguageTask task(model, chosen);
  Inspection inspection(line, options, task, *model, split.held_out, kind);
  const std::string name = file.filename().string();
  const TrainingSetup setup{
      kProgram, split.train, semantic_settings(line, *model, chosen), {{"tokens", name}, {"targets", name}}};

  if (const int code = prepare(setup, options); code != kExitDone) return code;
  Training training(task, setup, options);
  while (training.step()) inspection.after_step(training.steps());
  const TrainingResult result = training.finish();
  const std::vector<Finding> findings = result.signal == 0 ? inspection.at_end() : std::vector<Finding>();
  return report(setup, options, result, task, findings);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(kProgram, [&] { return run(argc, argv); });
}
