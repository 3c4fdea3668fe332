// The parts of the trainer gpt2: schedule, tokens, model, drawing, weights.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <stdlib.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "common/schedule.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/safetensors/safetensors.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/tensor_view.h"
#include "model.h"
#include "sampling.h"
#include "tokens.h"
#include "weights.h"

namespace lockstep::trainers {
namespace {

namespace fs = std::filesystem;

// ---- Schedule

TEST(Schedule, WarmsUpThenFollowsHalfACosine) {
  const Schedule schedule{0.8, 0.2, 4, 12};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.8);
  // The cosine is float32's.
  EXPECT_NEAR(schedule.at(8), 0.5, 1e-7);
  for (std::int64_t step = 4; step < 12; ++step)
    EXPECT_NEAR(schedule.at(step), 0.2 + 0.3 * (1 + std::cos(M_PI * static_cast<double>(step - 4) / 8)),
                1e-7);
  EXPECT_DOUBLE_EQ(schedule.at(12), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(1'000'000), 0.2);
}

TEST(Schedule, EdgesAreWhatTheirNamesSay) {
  EXPECT_DOUBLE_EQ((Schedule{0.8, 0.2, 0, 0}).at(5), 0.8) << "no decay";
  EXPECT_DOUBLE_EQ((Schedule{0.8, 0.2, 2, 0}).at(0), 0.4);
  EXPECT_DOUBLE_EQ((Schedule{0.8, 0.2, 5, 3}).at(3), 0.64) << "a run that ends while it warms up";
  EXPECT_DOUBLE_EQ((Schedule{0.8, 0.2, 5, 3}).at(5), 0.2);
  expect_refusal([] { Schedule{-1, 0, 0, 0}.check(); }, "learning_rate");
  expect_refusal([] { Schedule{1, std::nan(""), 0, 0}.check(); }, "final_rate");
  expect_refusal([] { Schedule{1, 0, -1, 0}.check(); }, "warmup_steps");
}

// ---- Tokens

std::vector<std::int64_t> window(const loader::DatasetPtr& windows, std::int64_t index) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(windows->fields()[0].shape.elements()));
  std::vector<std::int64_t> targets(tokens.size());
  std::byte* const out[] = {reinterpret_cast<std::byte*>(tokens.data()),
                            reinterpret_cast<std::byte*>(targets.data())};
  windows->get(index, {}, out);
  tokens.push_back(targets.back());
  return tokens;
}

TEST(Tokens, TheLastWindowsAreHeldOut) {
  const TemporaryFolder folder;
  std::ofstream(folder / "text") << "abcdefghijklmnopqrstu";  // 5 windows of 4, each with the token after it
  const TokenSplit split = open_tokens(folder / "text", {}, TokenKind::bytes, 4, 256, 0.4);
  ASSERT_EQ(split.train->size(), 3);
  ASSERT_EQ(split.held_out->size(), 2);
  EXPECT_EQ(window(split.train, 0), (std::vector<std::int64_t>{'a', 'b', 'c', 'd', 'e'}));
  EXPECT_EQ(window(split.held_out, 1), (std::vector<std::int64_t>{'q', 'r', 's', 't', 'u'}));
  EXPECT_EQ(open_tokens(folder / "text", {}, TokenKind::bytes, 4, 256, 1e-9).held_out->size(), 1);
  EXPECT_EQ(open_tokens(folder / "text", {}, TokenKind::bytes, 4, 256, 0).held_out, nullptr);
  expect_refusal([&] { open_tokens(folder / "text", {}, TokenKind::bytes, 4, 256, 1); }, "--held-out");
  expect_refusal([&] { open_tokens(folder / "text", {}, TokenKind::bytes, 20, 256, 0.5); }, "--held-out");
}

TEST(Tokens, FilesOfNumbersAndFilesOfText) {
  const TemporaryFolder folder;
  std::ofstream(folder / "t.bin", std::ios::binary) << std::string("\x01\x02\x03\x00\x04\x01\x05\x00", 8);
  const TokenSplit split = open_tokens(folder / "t.bin", folder / "t.bin", TokenKind::uint16, 3, 1000, 0.5);
  EXPECT_EQ(window(split.train, 0), (std::vector<std::int64_t>{0x201, 3, 0x104, 5}));
  EXPECT_EQ(split.held_out->size(), 1);
  EXPECT_EQ(token_kind("auto", "a/train.bin"), TokenKind::uint16);
  EXPECT_EQ(token_kind("auto", "emma.txt"), TokenKind::bytes);
  EXPECT_EQ(token_kind("uint32", "emma.txt"), TokenKind::uint32);
}

TEST(Tokens, Prompts) {
  EXPECT_EQ(parse_prompt("a\xff", TokenKind::bytes, 256), (std::vector<std::int64_t>{97, 255}));
  EXPECT_EQ(parse_prompt("", TokenKind::bytes, 256), (std::vector<std::int64_t>{'\n'}));
  EXPECT_EQ(parse_prompt("12  7", TokenKind::uint16, 100), (std::vector<std::int64_t>{12, 7}));
  EXPECT_EQ(parse_prompt("", TokenKind::uint16, 100), (std::vector<std::int64_t>{99}));
  expect_refusal([] { parse_prompt("1 2x", TokenKind::uint16, 100); }, "2x");
  EXPECT_EQ(text_of({72, 105}, TokenKind::bytes), "Hi");
  EXPECT_EQ(text_of({72, 105}, TokenKind::uint32), "72 105");
}

// ---- Model

Gpt2Config small_config() { return {50, 12, 16, 2, 2}; }

std::shared_ptr<Gpt2> make_model(std::uint64_t seed = 1, AttentionKind attention = AttentionKind::parts) {
  auto model = std::make_shared<Gpt2>(small_config(), attention);
  model->initialize(seed);
  return model;
}

torch::Tensor some_tokens(std::int64_t samples, std::int64_t tokens) {
  torch::manual_seed(9);
  return torch::randint(50, {samples, tokens}, torch::kLong);
}

TEST(Gpt2Model, HasTheParametersOfThePublishedSizes) {
  EXPECT_EQ(parameter_count(Gpt2(gpt2_config("tiny"))),
            256 * 64 + 64 * 64 + 2 * (12 * 64 * 64 + 13 * 64) + 2 * 64);
  const Gpt2Config published = gpt2_config("gpt2");
  EXPECT_EQ(published.vocabulary, 50257);
  EXPECT_EQ(published.context, 1024);
  expect_refusal([] { gpt2_config("gpt3"); }, "gpt2-xl", ErrorCode::not_found);
}

TEST(Gpt2Model, ATokenSeesNoneAfterIt) {
  for (const AttentionKind kind : {AttentionKind::fused, AttentionKind::parts}) {
    const auto model = make_model(1, kind);
    const torch::NoGradGuard no_grad;
    const torch::Tensor a = some_tokens(1, 12), b = a.clone();
    b[0][7] = (b[0][7] + 1) % 50;
    const torch::Tensor of_a = model->forward(a), of_b = model->forward(b);
    EXPECT_TRUE(torch::equal(of_a.narrow(0, 0, 7), of_b.narrow(0, 0, 7)));
    EXPECT_FALSE(torch::allclose(of_a[7], of_b[7]));
    EXPECT_FALSE(torch::allclose(of_a[11], of_b[11])) << "and sees those before";
  }
}

TEST(Gpt2Model, BothFormsOfAttentionAgree) {
  const auto fused = make_model(1, AttentionKind::fused), parts = make_model(1, AttentionKind::parts);
  const torch::Tensor tokens = some_tokens(3, 12);
  EXPECT_TRUE(torch::allclose(fused->forward(tokens), parts->forward(tokens), 1e-4, 1e-6));
}

TEST(Gpt2Model, DependsOnItsSeedAlone) {
  torch::manual_seed(1);
  const auto a = make_model(5);
  torch::manual_seed(2);
  EXPECT_EQ(digest_of(*a).hex(), digest_of(*make_model(5)).hex());
  EXPECT_NE(digest_of(*a).hex(), digest_of(*make_model(6)).hex());
  const auto named = a->named_parameters();
  EXPECT_NEAR(named["wte.weight"].std().item<double>(), 0.02, 2e-3);
  EXPECT_NEAR(named["h.0.mlp.c_proj.weight"].std().item<double>(), 0.01, 1e-3) << "0.02 / sqrt(2 · 2)";
  EXPECT_EQ(named["h.1.attn.c_attn.bias"].abs().sum().item<float>(), 0);
  EXPECT_TRUE(torch::equal(named["ln_f.weight"], torch::ones({16})));
}

TEST(Gpt2Model, RefusesWhatItCannotRead) {
  const auto model = make_model();
  expect_refusal([&] { model->forward(some_tokens(1, 13)); }, "1 … 12");
  expect_refusal([&] { model->forward(some_tokens(1, 12)[0]); }, "tokens");
  expect_refusal([] { Gpt2({50, 12, 16, 3, 2}); }, "--width");
  expect_refusal([] { Gpt2({50, 12, 16, 2, 0}); }, "--layers");
  Gpt2Config config = small_config();
  config.dropout = 1;
  expect_refusal([&] { Gpt2{config}; }, "--dropout");
}

// ---- Drawing

TEST(Sampling, ChoosesByWeight) {
  const float third = std::log(3.0F);
  const std::vector<float> logits = {0, third, 0,
                                     -INFINITY};  // weights 1, 3, 1, 0; in order of logit: 1, 0, 2, 3
  SamplingOptions options;
  EXPECT_EQ(choose_token(logits, options, 0), 1);
  EXPECT_EQ(choose_token(logits, options, 0.59), 1);
  EXPECT_EQ(choose_token(logits, options, 0.61), 0);
  EXPECT_EQ(choose_token(logits, options, 0.81), 2);
  EXPECT_EQ(choose_token(logits, options, 0.9999999999), 2);
  options.top_k = 2;
  EXPECT_EQ(choose_token(logits, options, 0.76), 0);
  options.top_k = 1;
  EXPECT_EQ(choose_token(logits, options, 0.99), 1);
  options = {.temperature = 0.5};  // weights 1, 9, 1, 0
  EXPECT_EQ(choose_token(logits, options, 0.81), 1);
  options = {.temperature = 0};
  EXPECT_EQ(choose_token(logits, options, 0.99), 1);
  EXPECT_EQ(choose_token(std::vector<float>{NAN, 1, 1}, options, 0.5), 1)
      << "ties: the lowest number; NaN last";
}

TEST(Sampling, IsAFunctionOfTheSeed) {
  const auto model = make_model(1, AttentionKind::fused);
  const SamplingOptions options{.tokens = 30, .seed = 3};
  const auto drawn = sample(*model, {1, 2}, options, false);
  ASSERT_EQ(drawn.size(), 32U);
  torch::manual_seed(77);
  EXPECT_EQ(sample(*model, {1, 2}, options, false), drawn);
  EXPECT_NE(sample(*model, {1, 2}, {.tokens = 30, .seed = 4}, false), drawn);
  SamplingOptions fewer = options;
  fewer.tokens = 10;
  const auto begin = sample(*model, {1, 2}, fewer, false);
  EXPECT_EQ(begin, std::vector<std::int64_t>(drawn.begin(), drawn.begin() + 12));
  EXPECT_GT(std::set<std::int64_t>(drawn.begin(), drawn.end()).size(), 10U)
      << "not one token again and again";
  EXPECT_TRUE(model->is_training()) << "as it was";
}

TEST(Sampling, RefusesWhatCannotBeDrawn) {
  const auto model = make_model();
  expect_refusal([&] { sample(*model, {}, {.tokens = 1}, false); }, "--prompt");
  expect_refusal([&] { sample(*model, {50}, {.tokens = 1}, false); }, "below 50");
  expect_refusal([] { SamplingOptions{.temperature = -1}.check(); }, "--temperature");
  expect_refusal([] { SamplingOptions{.top_k = -1}.check(); }, "--top-k");
}

// ---- Weights (against transformers: parity_test.py)

TEST(Weights, GoThereAndBack) {
  const TemporaryFolder folder;
  const auto model = make_model(1), other = make_model(2);
  save_gpt2(*model, folder / "a/b");
  load_gpt2(*other, folder / "a/b");
  EXPECT_EQ(digest_of(*other).hex(), digest_of(*model).hex());
  load_gpt2(*other, folder / "a/b/model.safetensors");
  const Gpt2Config config = read_gpt2_config(folder / "a/b");
  EXPECT_EQ(config.description(), small_config().description());
}

TEST(Weights, LinearWeightsLieTransposedInTheFile) {
  const TemporaryFolder folder;
  const auto model = make_model();
  save_gpt2(*model, folder / "model");
  const SafetensorsFile file(folder / "model/model.safetensors");
  EXPECT_EQ(file.find("transformer.h.0.attn.c_attn.weight")->shape, (Shape{16, 48}));
  EXPECT_EQ(file.find("transformer.wte.weight")->shape, (Shape{50, 16}));
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(WeightsErrors, LeaveTheModelAsItWas) {
  const TemporaryFolder folder;
  const auto model = make_model();
  save_gpt2(*model, folder / "model");
  Gpt2Config deeper = small_config();
  deeper.layers = 3;
  Gpt2 other(deeper, AttentionKind::parts);
  other.initialize(1);
  const std::string before = digest_of(other).hex();
  expect_error(ErrorCode::corruption, "h.2.ln_1.weight", [&] { load_gpt2(other, folder / "model"); });
  deeper = small_config();
  deeper.layers = 1;
  Gpt2 shallow(deeper, AttentionKind::parts);
  expect_error(ErrorCode::corruption, "h.1.", [&] { load_gpt2(shallow, folder / "model"); });
  EXPECT_EQ(digest_of(other).hex(), before);
  expect_error(ErrorCode::not_found, "no-such", [&] { load_gpt2(other, folder / "no-such"); });
  expect_error(ErrorCode::not_found, "config.json", [&] { read_gpt2_config(folder / "no-such"); });
  std::ofstream(folder / "config.json") << "[]";
  expect_error(ErrorCode::corruption, "a JSON object", [&] { read_gpt2_config(folder / "."); });
  std::ofstream(folder / "config.json") << R"({"n_layer": "two"})";
  expect_error(ErrorCode::corruption, "n_layer", [&] { read_gpt2_config(folder / "."); });
}

}  // namespace
}  // namespace lockstep::trainers
