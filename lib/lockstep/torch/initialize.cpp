#include "lockstep/torch/initialize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include <fmt/format.h>

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "lockstep/base/error.h"
#include "lockstep/math/math.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/random/philox.h"

namespace lockstep {
namespace {

constexpr std::uint32_t kInitialStreams = std::uint32_t{1} << 31;
constexpr std::int64_t kMostSites = std::int64_t{1} << 31;
constexpr std::int64_t kMostElements = std::int64_t{1} << 34;  // a block's number has 32 bits
constexpr std::int64_t kWords = 4;                             // of a block
constexpr std::int64_t kTile = 1024;                           // elements that are made at a time
constexpr std::int64_t kTilesOfAThread = 16;
constexpr float kTwoPi = 6.2831855F;

void check(const char* where, const at::Tensor& tensor, const InitialDraw& draw) {
  const bool fits = tensor.defined() && tensor.is_contiguous() && (tensor.is_cpu() || tensor.is_cuda()) &&
                    tensor.scalar_type() == at::kFloat && tensor.numel() <= kMostElements;
  if (!fits)
    fail(
        ErrorCode::invalid_argument,
        {where, "tensor", "a contiguous float32 tensor on the CPU or a CUDA device, of at most 2^34 elements",
         tensor.defined() ? c10::str(tensor.toString(), " ", tensor.sizes()) : "an undefined tensor",
         "Fill a contiguous float32 tensor, and convert or move it afterwards"});
  if (draw.site < 0 || draw.site >= kMostSites)
    fail(ErrorCode::invalid_argument, {where, "site", "0 to 2^31 - 1", std::to_string(draw.site),
                                       "Number the parameters of a model from 0"});
}

void check_number(const char* where, const char* what, bool right, const std::string& expected, double got) {
  if (!right) fail(ErrorCode::invalid_argument, {where, what, expected, fmt::to_string(got), {}});
}

/// A number in [0, 1) from a word's upper 24 bits.
float unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

/// Calls make(values, first element, count) for tiles of `tensor`, from several threads; what lies on a
/// device is made on the CPU and copied.
template <class Make>
void for_each_tile(const at::Tensor& tensor, Make make) {
  if (!tensor.is_cpu()) {
    const torch::NoGradGuard no_grad;
    const at::Tensor made = at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
    for_each_tile(made, make);
    tensor.copy_(made);
    return;
  }
  float* const values = tensor.mutable_data_ptr<float>();
  const std::int64_t count = tensor.numel(), tiles = (count + kTile - 1) / kTile;
  parallel::for_each_range(tiles, kTilesOfAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile)
      make(values + tile * kTile, tile * kTile, std::min(kTile, count - tile * kTile));
  });
  tensor.unsafeGetTensorImpl()->bump_version();
}

/// The words of a tile's elements, and as many more as fill its last block.
using Words = std::array<std::uint32_t, kTile>;

Words draw_words(const InitialDraw& draw, std::int64_t first, std::int64_t count) {
  Words words;
  for (std::int64_t i = 0; i < count; i += kWords) {
    const random::Block block =
        random::philox4x32(draw.seed, {kInitialStreams + static_cast<std::uint32_t>(draw.site), 0, 0,
                                       static_cast<std::uint32_t>((first + i) / kWords)});
    std::copy(block.begin(), block.end(), words.begin() + i);
  }
  return words;
}

/// Words 2k and 2k + 1 give r cos(a) and r sin(a), with r = sqrt(-2 log(1 - u)) and a = 2 π v.
void make_normals(const Words& words, float* normals) {
  constexpr std::int64_t kPairs = kTile / 2;
  std::array<float, kPairs> radius, angle, cosine, sine;
  for (std::size_t k = 0; k < kPairs; ++k) {
    radius[k] = 1.0F - unit(words[2 * k]);
    angle[k] = kTwoPi * unit(words[2 * k + 1]);
  }
  math::log(radius.data(), radius.data(), kPairs);
  math::cos(angle.data(), cosine.data(), kPairs);
  math::sin(angle.data(), sine.data(), kPairs);
  for (std::size_t k = 0; k < kPairs; ++k) {
    const float r = std::sqrt(-2.0F * radius[k]);
    normals[2 * k] = r * cosine[k];
    normals[2 * k + 1] = r * sine[k];
  }
}

double uniform_bound(const at::Tensor& weight) {
  const std::int64_t inputs = weight.numel() / std::max<std::int64_t>(weight.size(0), 1);
  return inputs > 0 ? 1.0 / std::sqrt(static_cast<double>(inputs)) : 0.0;
}

/// The parameters of a tree by identity, so that a tied one has one site.
class Sites {
 public:
  Sites(torch::nn::Module& module, std::uint64_t seed) : seed_(seed) {
    for (const at::Tensor& parameter : module.parameters())
      sites_.try_emplace(parameter.unsafeGetTensorImpl(), static_cast<std::int64_t>(sites_.size()));
  }
  InitialDraw draw(const at::Tensor& parameter) const {
    return {seed_, sites_.at(parameter.unsafeGetTensorImpl())};
  }

 private:
  std::uint64_t seed_;
  std::unordered_map<const void*, std::int64_t> sites_;
};

void fill_constant(const at::Tensor& tensor, float value) {
  const torch::NoGradGuard no_grad;
  if (tensor.defined()) tensor.fill_(value);
}

/// Linear and convolutions.
void fill_product(const at::Tensor& weight, const at::Tensor& bias, const Sites& sites) {
  const double bound = uniform_bound(weight);
  fill_uniform(weight, -bound, bound, sites.draw(weight));
  if (bias.defined()) fill_uniform(bias, -bound, bound, sites.draw(bias));
}

template <class Kind>
bool fill_as_product(const torch::nn::Module& module, const Sites& sites) {
  const auto* const layer = dynamic_cast<const Kind*>(&module);
  if (layer != nullptr) fill_product(layer->weight, layer->bias, sites);
  return layer != nullptr;
}

template <class Kind>
bool fill_as_norm(const torch::nn::Module& module) {
  const auto* const layer = dynamic_cast<const Kind*>(&module);
  if (layer == nullptr) return false;
  fill_constant(layer->weight, 1);
  fill_constant(layer->bias, 0);
  return true;
}

bool fill_as_embedding(const torch::nn::Module& module, const Sites& sites) {
  const auto* const layer = dynamic_cast<const torch::nn::EmbeddingImpl*>(&module);
  if (layer == nullptr) return false;
  fill_normal(layer->weight, 0, 1, sites.draw(layer->weight));
  if (const auto padding = layer->options.padding_idx()) fill_constant(layer->weight[*padding].detach(), 0);
  return true;
}

bool fill_known(const torch::nn::Module& module, const Sites& sites) {
  return fill_as_product<torch::nn::LinearImpl>(module, sites) ||
         fill_as_product<torch::nn::Conv1dImpl>(module, sites) ||
         fill_as_product<torch::nn::Conv2dImpl>(module, sites) ||
         fill_as_product<torch::nn::Conv3dImpl>(module, sites) ||
         fill_as_norm<torch::nn::LayerNormImpl>(module) || fill_as_norm<torch::nn::GroupNormImpl>(module) ||
         fill_as_embedding(module, sites);
}

}  // namespace

void fill_uniform(const at::Tensor& tensor, double low, double high, const InitialDraw& draw) {
  check("fill_uniform", tensor, draw);
  check_number("fill_uniform", "low", std::isfinite(low), "a finite number", low);
  check_number("fill_uniform", "high", std::isfinite(high) && high >= low, "a finite number, not below low",
               high);
  const auto width = static_cast<float>(high - low), from = static_cast<float>(low);
  for_each_tile(tensor, [&](float* values, std::int64_t first, std::int64_t count) {
    const Words words = draw_words(draw, first, count);
    for (std::int64_t i = 0; i < count; ++i)
      values[i] = std::fma(width, unit(words[static_cast<std::size_t>(i)]), from);
  });
}

void fill_normal(const at::Tensor& tensor, double mean, double deviation, const InitialDraw& draw) {
  check("fill_normal", tensor, draw);
  check_number("fill_normal", "mean", std::isfinite(mean), "a finite number", mean);
  check_number("fill_normal", "deviation", std::isfinite(deviation) && deviation >= 0,
               "a finite number, 0 or more", deviation);
  const auto factor = static_cast<float>(deviation), offset = static_cast<float>(mean);
  for_each_tile(tensor, [&](float* values, std::int64_t first, std::int64_t count) {
    std::array<float, kTile> normals;
    make_normals(draw_words(draw, first, count), normals.data());
    for (std::int64_t i = 0; i < count; ++i)
      values[i] = std::fma(factor, normals[static_cast<std::size_t>(i)], offset);
  });
}

void initialize_parameters(torch::nn::Module& module, std::uint64_t seed) {
  const Sites sites(module, seed);
  module.apply([&](const std::string& name, torch::nn::Module& part) {
    const auto own = part.named_parameters(/*recurse=*/false);
    if (own.is_empty() || fill_known(part, sites)) return;
    fail(ErrorCode::unsupported, {"initialize_parameters",
                                  fmt::format("parameter {} of {}", own[0].key(), name.empty() ? "it" : name),
                                  "a Linear, Conv, Embedding, LayerNorm or GroupNorm", part.name(),
                                  "Fill it with fill_uniform or fill_normal"});
  });
}

}  // namespace lockstep
