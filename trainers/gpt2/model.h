#pragma once
// GPT-2 (Radford et al., 2019): a decoder of pre-norm blocks with learned positions and a head that shares
// the token table. Parameters have the names that Hugging Face's GPT2Model gives them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/torch.h>

namespace lockstep::trainers {

/// B samples, T tokens a sample, C = width, H = heads, D = C / H, V = vocabulary.
struct Gpt2Config {
  std::int64_t vocabulary = 256, context = 256, width = 384, heads = 6, layers = 6;
  double norm_epsilon = 1e-5;
  double dropout = 0;            ///< after the embeddings and of what each branch adds
  double attention_dropout = 0;  ///< of attention weights

  /// Throws Error(invalid_argument) for extents below 1, a width that heads do not divide, and probabilities
  /// outside [0, 1).
  void check() const;
  std::string description() const;
};

/// "tiny", "small", and the published sizes "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl".
const std::vector<const char*>& gpt2_config_names();
/// Throws Error(not_found).
Gpt2Config gpt2_config(const std::string& name);

/// How attention is computed: by scaled_dot_product_attention, or by its parts, with the T x T matrix.
enum class AttentionKind : std::uint8_t { fused, parts };

class Gpt2BlockImpl;

class Gpt2 : public torch::nn::Module {
 public:
  explicit Gpt2(const Gpt2Config& config, AttentionKind attention = AttentionKind::fused);

  /// Tokens int64 [B, T] with T up to the context to the last block's normalised output, [B · T, C]. Throws
  /// Error(invalid_argument) for other shapes.
  torch::Tensor features(const torch::Tensor& tokens);
  /// Features [rows, C] to logits [rows, V].
  torch::Tensor head(const torch::Tensor& features);
  torch::Tensor forward(const torch::Tensor& tokens) { return head(features(tokens)); }

  const Gpt2Config& config() const { return config_; }

  /// Draws all parameters anew: weights normal(0, 0.02), those that end a branch divided by sqrt(2 · layers),
  /// biases 0, norms 1 and 0 (lockstep/torch/initialize.h; a site is a parameter's place).
  void initialize(std::uint64_t seed);

 private:
  torch::Tensor positions(std::int64_t samples, std::int64_t tokens);

  Gpt2Config config_;
  torch::nn::Embedding wte_, wpe_;
  torch::nn::Dropout drop_;
  std::vector<std::shared_ptr<Gpt2BlockImpl>> blocks_;
  torch::nn::LayerNorm ln_f_;
  torch::Tensor places_;  // 0 … context - 1, no buffer, since it is neither recorded nor saved
};

/// Elements of all parameters.
std::int64_t parameter_count(const torch::nn::Module& module);

}  // namespace lockstep::trainers
