#include "model.h"

#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/initialize.h"

namespace lockstep::trainers {
namespace {

constexpr double kDeviation = 0.02;

void check_extent(const char* what, std::int64_t value) {
  if (value < 1) fail(ErrorCode::invalid_argument, {"gpt2", what, "1 or more", std::to_string(value), {}});
}

void check_probability(const char* what, double value) {
  if (!(value >= 0 && value < 1))
    fail(ErrorCode::invalid_argument, {"gpt2", what, "in [0, 1)", fmt::to_string(value), {}});
}

const std::vector<std::pair<const char*, Gpt2Config>>& configs() {
  static const std::vector<std::pair<const char*, Gpt2Config>> all = {
      {"tiny", {256, 64, 64, 4, 2}},
      {"small", {256, 256, 384, 6, 6}},
      {"gpt2", {50257, 1024, 768, 12, 12}},
      {"gpt2-medium", {50257, 1024, 1024, 16, 24}},
      {"gpt2-large", {50257, 1024, 1280, 20, 36}},
      {"gpt2-xl", {50257, 1024, 1600, 25, 48}}};
  return all;
}

/// Causal self-attention: every token sees itself and those before.
class Attention : public torch::nn::Module {
 public:
  Attention(const Gpt2Config& config, AttentionKind kind)
      : heads_(config.heads),
        dropout_(config.attention_dropout),
        kind_(kind),
        c_attn_(config.width, 3 * config.width),
        c_proj_(config.width, config.width) {
    register_module("c_attn", c_attn_);
    register_module("c_proj", c_proj_);
  }

  torch::Tensor forward(const torch::Tensor& x, std::int64_t samples) {  // [B · T, C]
    const std::int64_t width = x.size(1), tokens = x.size(0) / samples;
    // Unbound before it is transposed, so that backward puts the three gradients side by side in one copy.
    const auto qkv = c_attn_(x).view({samples, tokens, 3, heads_, width / heads_}).unbind(2);  // [B, T, H, D]
    const torch::Tensor y =
        attend(qkv[0].transpose(1, 2), qkv[1].transpose(1, 2), qkv[2].transpose(1, 2));  // [B, H, T, D]
    return c_proj_(y.transpose(1, 2).reshape({samples * tokens, width}));                // [B · T, C]
  }

 private:
  torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v) const {
    const double dropout = is_training() ? dropout_ : 0;
    if (kind_ == AttentionKind::fused)
      return torch::scaled_dot_product_attention(q, k, v, {}, dropout, /*is_causal=*/true);
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
    const torch::Tensor later =
        torch::ones({q.size(2), q.size(2)}, q.options().dtype(torch::kBool)).triu(1);  // [T, T]
    const torch::Tensor scores =
        (torch::matmul(q, k.transpose(2, 3)) * scale).masked_fill(later, -INFINITY);  // [B, H, T, T]
    return torch::matmul(torch::dropout(torch::softmax(scores, 3), dropout, is_training()), v);
  }

  std::int64_t heads_;
  double dropout_;
  AttentionKind kind_;
  torch::nn::Linear c_attn_, c_proj_;
};

class Mlp : public torch::nn::Module {
 public:
  explicit Mlp(const Gpt2Config& config)
      : c_fc_(config.width, 4 * config.width), c_proj_(4 * config.width, config.width) {
    register_module("c_fc", c_fc_);
    register_module("c_proj", c_proj_);
  }
  torch::Tensor forward(const torch::Tensor& x) { return c_proj_(torch::gelu(c_fc_(x), "tanh")); }

 private:
  torch::nn::Linear c_fc_, c_proj_;
};

torch::nn::LayerNorm make_norm(const Gpt2Config& config) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({config.width}).eps(config.norm_epsilon));
}

}  // namespace

class Gpt2BlockImpl : public torch::nn::Module {
 public:
  Gpt2BlockImpl(const Gpt2Config& config, AttentionKind kind)
      : ln_1_(make_norm(config)),
        ln_2_(make_norm(config)),
        attn_(std::make_shared<Attention>(config, kind)),
        mlp_(std::make_shared<Mlp>(config)),
        drop_attn_(config.dropout),
        drop_mlp_(config.dropout) {
    register_module("ln_1", ln_1_);
    register_module("attn", attn_);
    register_module("drop_attn", drop_attn_);
    register_module("ln_2", ln_2_);
    register_module("mlp", mlp_);
    register_module("drop_mlp", drop_mlp_);
  }

  torch::Tensor forward(const torch::Tensor& x, std::int64_t samples) {  // [B · T, C]
    const torch::Tensor y = x + drop_attn_(attn_->forward(ln_1_(x), samples));
    return y + drop_mlp_(mlp_->forward(ln_2_(y)));
  }

 private:
  torch::nn::LayerNorm ln_1_, ln_2_;
  std::shared_ptr<Attention> attn_;
  std::shared_ptr<Mlp> mlp_;
  torch::nn::Dropout drop_attn_, drop_mlp_;
};

void Gpt2Config::check() const {
  check_extent("--vocabulary", vocabulary);
  check_extent("--context", context);
  check_extent("--width", width);
  check_extent("--heads", heads);
  check_extent("--layers", layers);
  check_probability("--dropout", dropout);
  check_probability("--attention-dropout", attention_dropout);
  if (width % heads != 0)
    fail(ErrorCode::invalid_argument, {"gpt2", "--width", fmt::format("a multiple of --heads {}", heads),
                                       std::to_string(width), "Pass another --width or --heads"});
}

std::string Gpt2Config::description() const {
  return fmt::format("gpt2 layers {} width {} heads {} context {} vocabulary {}", layers, width, heads,
                     context, vocabulary);
}

const std::vector<const char*>& gpt2_config_names() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> all;
    for (const auto& [name, config] : configs()) all.push_back(name);
    return all;
  }();
  return names;
}

Gpt2Config gpt2_config(const std::string& name) {
  for (const auto& [known, config] : configs())
    if (name == known) return config;
  fail(ErrorCode::not_found,
       {"gpt2", "--config", fmt::format("one of {}", fmt::join(gpt2_config_names(), ", ")), name, {}});
}

Gpt2::Gpt2(const Gpt2Config& config, AttentionKind attention)
    : config_((config.check(), config)),
      wte_(config.vocabulary, config.width),
      wpe_(config.context, config.width),
      drop_(config.dropout),
      ln_f_(make_norm(config)),
      places_(torch::arange(config.context)) {
  register_module("wte", wte_);
  register_module("wpe", wpe_);
  register_module("drop", drop_);
  torch::nn::ModuleList list;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    blocks_.push_back(std::make_shared<Gpt2BlockImpl>(config, attention));
    list->push_back(blocks_.back());
  }
  register_module("h", list);
  register_module("ln_f", ln_f_);
}

torch::Tensor Gpt2::positions(std::int64_t samples, std::int64_t tokens) {
  if (places_.device() != wpe_->weight.device()) places_ = places_.to(wpe_->weight.device());
  // A row a token, so that the gradient of the table is a sum over rows.
  return places_.narrow(0, 0, tokens).expand({samples, tokens});
}

torch::Tensor Gpt2::features(const torch::Tensor& tokens) {
  if (tokens.dim() != 2 || tokens.size(1) < 1 || tokens.size(1) > config_.context)
    fail(ErrorCode::invalid_argument,
         {"gpt2", "tokens", fmt::format("[samples, 1 … {}]", config_.context), c10::str(tokens.sizes()),
          "Cut the text into windows of the context's length"});
  const std::int64_t samples = tokens.size(0), rows = tokens.numel();
  torch::Tensor x = (wte_(tokens) + wpe_(positions(samples, tokens.size(1)))).view({rows, config_.width});
  x = drop_(x);
  for (const auto& block : blocks_) x = block->forward(x, samples);
  return ln_f_(x);
}

torch::Tensor Gpt2::head(const torch::Tensor& features) { return torch::linear(features, wte_->weight); }

void Gpt2::initialize(std::uint64_t seed) {
  const double branch_end = kDeviation / std::sqrt(2.0 * static_cast<double>(config_.layers));
  const torch::NoGradGuard no_grad;
  std::int64_t site = 0;
  for (const auto& parameter : named_parameters()) {
    const InitialDraw draw{seed, site++};
    const std::string& name = parameter.key();
    if (name.ends_with(".bias"))
      parameter.value().zero_();
    else if (parameter.value().dim() == 1)
      parameter.value().fill_(1);
    else
      fill_normal(parameter.value(), 0, name.ends_with("c_proj.weight") ? branch_end : kDeviation, draw);
  }
}

std::int64_t parameter_count(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const torch::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

}  // namespace lockstep::trainers
