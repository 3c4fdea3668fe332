#pragma once
// Models at random, for tests that compare two ways of training one: layers, sizes and values are a function
// of a seed alone, whatever the device.

#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/torch.h>

#include "lockstep/random/philox.h"
#include "lockstep/torch/initialize.h"
#include "lockstep/torch/invariant_mode.h"

namespace lockstep {

/// A model with a batch to learn from.
struct RandomModel {
  using Layer = std::function<at::Tensor(const at::Tensor&)>;

  std::string
      description;  ///< "embedding 17x24, attention of 3 heads, …": what a failure shows beside the seed
  std::int64_t samples = 0;
  at::Tensor input, targets;
  std::vector<at::Tensor> parameters;
  std::vector<Layer> layers;
  std::function<at::Tensor(const at::Tensor& output, const at::Tensor& targets)> loss;  ///< a mean
  std::optional<double> counted;  ///< targets that count, where the loss ignores some

  at::Tensor forward(at::Tensor x) const {
    for (const Layer& layer : layers) x = layer(x);
    return x;
  }
};

/// Draws one. Whatever is drawn is drawn on the CPU, in one order, and then moved to the device.
class RandomModelMaker {
 public:
  RandomModelMaker(std::uint64_t seed, at::Device device) : seed_(seed), device_(device), generator_(seed) {}

  RandomModel make() {
    const InvariantMode off(false);  // it makes masks with operations that the mode does not know
    switch (between(0, 3)) {
      case 0:
        begin_with_vectors();
        break;
      case 1:
        begin_with_sequences();
        break;
      case 2:
        begin_with_tokens();
        break;
      default:
        begin_with_images();
    }
    if (shape_.size() == 3) {
      add(kImageLayers, between(1, 4));
      add(chance(0.7) ? &RandomModelMaker::flattened : &RandomModelMaker::pixels_as_sequence);
    }
    if (shape_.size() == 2) {
      for (std::int64_t left = between(1, 4); left > 0; --left)
        add(one_of(chance(0.5) ? kSequenceLayers : kLayers));
      if (chance(0.3)) add(&RandomModelMaker::pooled_over_time);
    }
    add(kLayers, between(1, 5));
    end_with_a_loss();
    return std::move(model_);
  }

 private:
  using Layer = RandomModel::Layer;
  using Maker = Layer (RandomModelMaker::*)();
  using Shape = std::vector<std::int64_t>;
  using Function = at::Tensor (*)(const at::Tensor&);

  // ---- Draws

  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(generator_.below(static_cast<std::uint64_t>(most - least + 1)));
  }
  bool chance(double p) { return generator_.bernoulli(p); }
  template <class List>
  const typename List::value_type& one_of(const List& all) {
    return *std::next(std::begin(all), between(0, std::ssize(all) - 1));
  }
  std::int64_t draw_width() { return between(1, chance(0.2) ? 256 : 70); }
  std::int64_t draw_divisor(std::int64_t of) {
    std::vector<std::int64_t> divisors;
    for (std::int64_t d = 1; d <= std::min<std::int64_t>(of, 8); ++d)
      if (of % d == 0) divisors.push_back(d);
    return one_of(divisors);
  }

  at::Tensor normal(at::IntArrayRef shape, double deviation = 1, double mean = 0) {
    at::Tensor values = torch::empty(shape);
    fill_normal(values, mean, deviation, {seed_, sites_++});
    return values.to(device_);
  }
  at::Tensor parameter(at::IntArrayRef shape, double deviation = 0.3, double mean = 0) {
    model_.parameters.push_back(normal(shape, deviation, mean).requires_grad_(true));
    return model_.parameters.back();
  }
  /// [outputs, …inputs] that keep the size of what flows through.
  at::Tensor weight(const Shape& shape) {
    std::int64_t inputs = 1;
    for (std::size_t axis = 1; axis < shape.size(); ++axis) inputs *= shape[axis];
    return parameter(shape, 1 / std::sqrt(static_cast<double>(inputs)));
  }
  at::Tensor bias(std::int64_t width) { return chance(0.7) ? parameter({width}) : at::Tensor(); }
  at::Tensor classes(std::int64_t count, const Shape& shape) {
    at::Tensor values = torch::empty(shape, torch::kLong);
    auto* const data = values.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < values.numel(); ++i) data[i] = between(0, count - 1);
    return values;
  }

  // ---- What it begins with. shape_ is that of what flows between two layers, without the axis of samples.

  void begin(std::int64_t samples, const Shape& shape) {
    model_.samples = samples;
    shape_ = shape;
    Shape whole = {samples};
    whole.insert(whole.end(), shape.begin(), shape.end());
    describe("{} of {}", samples, fmt::join(shape, "x"));
    model_.input = normal(whole);
  }
  void begin_with_vectors() {
    const bool many = chance(0.2);  // more than a chunk of a fold
    const std::int64_t samples = many ? between(1000, 1400) : between(2, 300);
    begin(samples, {many ? between(1, 40) : draw_width()});
  }
  void begin_with_sequences() {
    const std::int64_t samples = between(2, 24);
    begin(samples, {between(1, 70), between(2, 48)});
  }
  void begin_with_images() {
    const std::int64_t samples = between(2, 16);
    begin(samples, {between(1, 6), between(5, 16), between(5, 16)});
  }
  void begin_with_tokens() {
    const std::int64_t vocabulary = between(2, 60), width = between(2, 48);
    model_.samples = between(2, 24);
    shape_ = {between(1, 70), width};
    describe("{} of {} tokens, embedding {}x{}", model_.samples, shape_[0], vocabulary, width);
    model_.input = classes(vocabulary, {model_.samples, shape_[0]}).to(device_);
    table_ = parameter({vocabulary, width}, 1);
    model_.layers.emplace_back(
        [table = table_](const at::Tensor& ids) { return torch::embedding(table, ids); });
    if (chance(0.7)) model_.layers.push_back(positions());
  }

  // ---- Layers of the last axis, whatever is before it

  std::int64_t width() const { return shape_.back(); }

  Layer linear_to(std::int64_t outputs) {
    describe("linear {}", outputs);
    const at::Tensor w = weight({outputs, width()}), b = bias(outputs);
    shape_.back() = outputs;
    return [w, b](const at::Tensor& x) { return torch::linear(x, w, b); };
  }
  Layer linear() { return linear_to(draw_width()); }
  Layer product() {
    const std::int64_t outputs = draw_width();
    describe("product {}", outputs);
    const at::Tensor w = parameter({width(), outputs}, 1 / std::sqrt(static_cast<double>(width())));
    const at::Tensor b = parameter({outputs});
    const bool vectors = shape_.size() == 1;
    shape_.back() = outputs;
    return [w, b, vectors](const at::Tensor& x) {
      return vectors ? torch::addmm(b, x, w) : torch::matmul(x, w) + b;
    };
  }
  /// One layer at two places.
  Layer twice() {
    const Layer layer = linear_to(width());
    describe("twice");
    return [layer](const at::Tensor& x) { return layer(torch::tanh(layer(x))); };
  }
  Layer normalized() {
    const std::int64_t axes = chance(0.2) ? std::ssize(shape_) : 1;
    const Shape over(shape_.end() - axes, shape_.end());
    std::optional<at::Tensor> gain, offset;
    if (chance(0.7)) gain = parameter(over, 0.2, 1);
    if (chance(0.5)) {
      describe("rms_norm");
      return [over, gain](const at::Tensor& x) { return torch::rms_norm(x, over, gain); };
    }
    describe("layer_norm");
    if (gain) offset = parameter(over);
    return [over, gain, offset](const at::Tensor& x) { return torch::layer_norm(x, over, gain, offset); };
  }
  Layer activated() {
    static const std::vector<std::pair<const char*, Function>> kFunctions = {
        {"relu", [](const at::Tensor& x) { return torch::relu(x); }},
        {"gelu", [](const at::Tensor& x) { return torch::gelu(x); }},
        {"gelu tanh", [](const at::Tensor& x) { return torch::gelu(x, "tanh"); }},
        {"silu", [](const at::Tensor& x) { return torch::silu(x); }},
        {"sigmoid", [](const at::Tensor& x) { return torch::sigmoid(x); }},
        {"tanh", [](const at::Tensor& x) { return torch::tanh(x); }},
        {"softplus", [](const at::Tensor& x) { return torch::softplus(x); }},
        {"elu", [](const at::Tensor& x) { return torch::elu(x); }},
        {"leaky_relu", [](const at::Tensor& x) { return torch::leaky_relu(x, 0.1); }},
        {"hardswish", [](const at::Tensor& x) { return torch::hardswish(x); }},
        {"mish", [](const at::Tensor& x) { return torch::mish(x); }},
        {"sin", [](const at::Tensor& x) { return torch::sin(x); }},
        {"log1p of squares", [](const at::Tensor& x) { return torch::log1p(x * x); }},
        {"bell", [](const at::Tensor& x) { return torch::exp(x * x * -0.5); }},
        {"root", [](const at::Tensor& x) { return torch::sqrt(x.abs() + 1); }},
        {"quotient", [](const at::Tensor& x) { return x / (x.abs() + 1.5) * 3; }},
    };
    const auto& [name, function] = one_of(kFunctions);
    describe(name);
    return function;
  }
  /// Parameters that are broadcast over rows.
  Layer shifted() {
    const at::Tensor gain = parameter({width()}, 0.2, 1), offset = parameter({1, width()});
    const at::Tensor factor = parameter({1}, 0.1, 1);
    describe("gain and offset");
    return [gain, offset, factor](const at::Tensor& x) { return (x * gain - offset) * factor; };
  }
  Layer dropped() {
    describe("dropout");
    const double p = chance(0.5) ? 0.1 : 0.5;
    return [p](const at::Tensor& x) { return torch::dropout(x, p, true); };
  }
  Layer softened() {
    const bool log = chance(0.5);
    describe(log ? "log_softmax" : "softmax");
    return [log](const at::Tensor& x) { return log ? x.log_softmax(-1) : x.softmax(-1) * x; };
  }
  Layer gated() {
    const std::int64_t outputs = draw_width();
    const Layer layer = linear_to(2 * outputs);
    describe("gate");
    shape_.back() = outputs;
    return [layer](const at::Tensor& x) {
      const auto halves = layer(x).chunk(2, -1);
      return halves[0] * torch::sigmoid(halves[1]);
    };
  }
  Layer scaled_rows() {
    describe("rows by their mean");
    return [](const at::Tensor& x) { return x / (x.abs().mean(-1, /*keepdim=*/true) + 1); };
  }
  Layer joined() {
    const std::int64_t before = width();
    const Layer left = linear();
    shape_.back() += before;
    describe("beside its input");
    return [left](const at::Tensor& x) { return torch::cat({left(x), x}, -1); };
  }
  Layer residual() {
    const std::int64_t inputs = width();
    const Layer norm = normalized(), up = linear(), function = activated(), down = linear_to(inputs);
    describe("added to its input");
    return [=](const at::Tensor& x) { return x + down(function(up(norm(x)))); };
  }

  // ---- Layers of sequences [T, C]

  /// Projections to query, key and value heads, attention by `attend`, and back.
  template <class Attend>
  Layer heads(std::int64_t queries, std::int64_t keys, Attend attend) {
    const std::int64_t inputs = width(), size = between(1, 24);
    const Layer all = linear_to((queries + 2 * keys) * size);
    const Layer back = [&] {
      shape_.back() = queries * size;
      return linear_to(inputs);
    }();
    return [=](const at::Tensor& x) {
      const auto parts = all(x).split_with_sizes({queries * size, keys * size, keys * size}, -1);
      const auto by_head = [&](const at::Tensor& part) {
        return part.unflatten(-1, {-1, size}).transpose(1, 2);  // [N, H, T, D]
      };
      const at::Tensor o = attend(by_head(parts[0]), by_head(parts[1]), by_head(parts[2]));
      return x + back(o.transpose(1, 2).flatten(2));
    };
  }
  Layer attention() {
    const std::int64_t keys = between(1, 4), queries = keys * (chance(0.3) ? 2 : 1), time = shape_[0];
    const bool causal = chance(0.4);
    const double dropout = chance(0.2) ? 0.2 : 0;
    std::optional<at::Tensor> mask;
    if (!causal && chance(0.7)) {
      mask = normal({time, time});
      if (chance(0.5)) mask = mask->gt(0).index_fill(1, torch::zeros({1}, torch::kLong).to(device_), true);
    }
    describe("attention of {} heads{}{}{}", queries, causal ? ", causal" : "", mask ? ", masked" : "",
             dropout > 0 ? ", dropout" : "");
    return heads(queries, keys, [=](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return torch::scaled_dot_product_attention(q, k, v, mask, dropout, causal, std::nullopt,
                                                 queries != keys);
    });
  }
  Layer written_out_attention() {
    const std::int64_t count = between(1, 4);
    describe("written out attention of {} heads", count);
    return heads(count, count, [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      const at::Tensor scores =
          torch::matmul(q, k.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(-1)));
      return torch::matmul(torch::softmax(scores, -1), v);
    });
  }
  /// A table that is added to every sample, as it is or looked up.
  Layer positions() {
    const at::Tensor table = parameter({shape_[0], width()});
    const bool looked_up = chance(0.5);
    describe(looked_up ? "embedding of positions" : "table of positions");
    return [table, looked_up](const at::Tensor& x) {
      if (!looked_up) return x + table;
      const at::Tensor places = torch::arange(x.size(1), table.device()).expand({x.size(0), x.size(1)});
      return x + torch::embedding(table, places);
    };
  }
  Layer mixed_over_time() {
    describe("over time:");
    const std::int64_t channels = width(), time = shape_[0];
    shape_.back() = time;
    const Layer layer = linear_to(time);
    shape_.back() = channels;
    return [layer](const at::Tensor& x) { return x + layer(x.transpose(1, 2)).transpose(1, 2); };
  }
  Layer convolved_over_time() {
    const std::int64_t channels = width(), half = between(0, 2);
    describe("conv1d of {}", 2 * half + 1);
    const at::Tensor w = weight({channels, channels, 2 * half + 1}), b = bias(channels);
    return [w, b, half](const at::Tensor& x) {
      return x + torch::conv1d(x.transpose(1, 2), w, b, 1, half).transpose(1, 2);
    };
  }
  Layer pooled_over_time() {
    static const std::vector<std::pair<const char*, Function>> kFunctions = {
        {"mean", [](const at::Tensor& x) { return x.mean(1); }},
        {"sum", [](const at::Tensor& x) { return x.sum(1); }},
        {"logsumexp", [](const at::Tensor& x) { return x.logsumexp({1}); }},
        {"last", [](const at::Tensor& x) { return x.select(1, x.size(1) - 1); }},
    };
    const auto& [name, function] = one_of(kFunctions);
    describe("{} over time", name);
    shape_ = {width()};
    return function;
  }

  // ---- Layers of images [C, H, W]

  Layer convolution() {
    const std::int64_t groups = draw_divisor(shape_[0]), outputs = groups * between(1, 12 / groups + 1);
    const std::int64_t height = between(1, std::min<std::int64_t>(shape_[1], 5)),
                       width = between(1, std::min<std::int64_t>(shape_[2], 5)), stride = between(1, 2),
                       padding = between(0, std::min(height, width) / 2);
    describe("conv2d {} of {}x{} in {} groups", outputs, height, width, groups);
    const at::Tensor w = weight({outputs, shape_[0] / groups, height, width}), b = bias(outputs);
    const auto size = [&](std::int64_t extent, std::int64_t kernel) {
      return (extent + 2 * padding - kernel) / stride + 1;
    };
    shape_ = {outputs, size(shape_[1], height), size(shape_[2], width)};
    return [=](const at::Tensor& x) { return torch::conv2d(x, w, b, stride, padding, 1, groups); };
  }
  Layer residual_convolution() {
    const std::int64_t channels = shape_[0];
    describe("residual conv2d");
    const at::Tensor w = weight({channels, channels, 3, 3}), b = bias(channels);
    return [w, b](const at::Tensor& x) { return x + torch::conv2d(torch::relu(x), w, b, 1, 1); };
  }
  Layer group_normalized() {
    const std::int64_t groups = draw_divisor(shape_[0]);
    const bool affine = chance(0.7);
    const at::Tensor gain = affine ? parameter({shape_[0]}, 0.2, 1) : at::Tensor(),
                     offset = affine ? parameter({shape_[0]}) : at::Tensor();
    describe("group_norm of {}", groups);
    return [=](const at::Tensor& x) { return torch::group_norm(x, groups, gain, offset); };
  }
  Layer pooled() {
    if (chance(0.3)) {
      shape_[1] = between(1, shape_[1]), shape_[2] = between(1, shape_[2]);
      describe("adaptive_avg_pool2d {}x{}", shape_[1], shape_[2]);
      return [to = Shape{shape_[1], shape_[2]}](const at::Tensor& x) {
        return torch::adaptive_avg_pool2d(x, to);
      };
    }
    const bool largest = chance(0.5);
    const std::int64_t kernel = std::min({shape_[1], shape_[2], between(1, 3)}), stride = between(1, 2);
    describe("{}_pool2d {}", largest ? "max" : "avg", kernel);
    for (const std::size_t axis : {1, 2}) shape_[axis] = (shape_[axis] - kernel) / stride + 1;
    return [=](const at::Tensor& x) {
      return largest ? torch::max_pool2d(x, kernel, stride) : torch::avg_pool2d(x, kernel, stride);
    };
  }
  Layer shifted_pixels() {
    const at::Tensor gain = parameter(shape_, 0.2, 1), offset = parameter(shape_);
    describe("gain and offset of pixels");
    return [gain, offset](const at::Tensor& x) { return x * gain + offset; };
  }
  Layer dropped_channels() {
    describe("feature_dropout");
    return [](const at::Tensor& x) { return torch::feature_dropout(x, 0.2, true); };
  }
  Layer flattened() {
    describe("flat");
    shape_ = {shape_[0] * shape_[1] * shape_[2]};
    return [](const at::Tensor& x) { return x.flatten(1); };
  }
  Layer pixels_as_sequence() {
    describe("as a sequence");
    shape_ = {shape_[1] * shape_[2], shape_[0]};
    return [](const at::Tensor& x) { return x.flatten(2).transpose(1, 2); };
  }

  // ---- Losses, of rows

  void end_with_a_loss() {
    const bool tied = table_.defined() && chance(0.6);
    const std::int64_t outputs = tied ? table_.size(0) : between(2, 40);
    if (tied) {
      model_.layers.push_back(linear_to(table_.size(1)));
      describe("tied head");
      model_.layers.emplace_back([table = table_](const at::Tensor& x) { return torch::linear(x, table); });
    } else {
      model_.layers.push_back(linear_to(outputs));
    }
    shape_.back() = outputs;
    Shape places = {model_.samples};
    places.insert(places.end(), shape_.begin(), shape_.end() - 1);
    if (chance(0.6))
      classify(outputs, places);
    else
      regress(outputs, places);
  }
  void classify(std::int64_t outputs, const Shape& places) {
    at::Tensor targets = classes(outputs, places);
    if (chance(0.3)) {
      targets.view(-1).slice(0, 1, std::nullopt, 3).fill_(kIgnored);
      model_.counted = targets.ne(kIgnored).sum().item<double>();
    }
    model_.targets = targets.to(device_);
    const double smoothing = chance(0.3) ? 0.1 : 0;
    if (chance(0.8)) {
      describe("cross_entropy{}{}", smoothing > 0 ? ", smoothed" : "",
               model_.counted ? ", some ignored" : "");
      model_.loss = [smoothing](const at::Tensor& x, const at::Tensor& y) {
        return torch::cross_entropy_loss(x.flatten(0, -2), y.flatten(), {}, at::Reduction::Mean, kIgnored,
                                         smoothing);
      };
    } else {
      describe("nll_loss");
      model_.loss = [](const at::Tensor& x, const at::Tensor& y) {
        return torch::nll_loss(x.flatten(0, -2).log_softmax(-1), y.flatten(), {}, at::Reduction::Mean,
                               kIgnored);
      };
    }
  }
  void regress(std::int64_t outputs, Shape places) {
    static const std::vector<std::pair<const char*, at::Tensor (*)(const at::Tensor&, const at::Tensor&)>>
        kLosses = {
            {"mse_loss", [](const at::Tensor& x, const at::Tensor& y) { return torch::mse_loss(x, y); }},
            {"l1_loss", [](const at::Tensor& x, const at::Tensor& y) { return torch::l1_loss(x, y); }},
            {"binary_cross_entropy_with_logits",
             [](const at::Tensor& x, const at::Tensor& y) {
               return torch::binary_cross_entropy_with_logits(x, y.gt(0).to(torch::kFloat));
             }},
            {"margin_ranking_loss", [](const at::Tensor& x, const at::Tensor& y) {
               return torch::margin_ranking_loss(x, y * 0.5, y.sign(), 0.3);
             }}};
    places.push_back(outputs);
    model_.targets = normal(places);
    const auto& [name, loss] = one_of(kLosses);
    describe(name);
    model_.loss = loss;
  }

  // ---- Putting it together

  template <class... Arguments>
  void describe(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    if (!model_.description.empty()) model_.description += ", ";
    model_.description += fmt::format(text, std::forward<Arguments>(arguments)...);
  }
  void describe(const char* text) { describe("{}", text); }
  void add(Maker maker) { model_.layers.push_back((this->*maker)()); }
  void add(const std::vector<Maker>& makers, std::int64_t count) {
    for (; count > 0; --count) add(one_of(makers));
  }

  static constexpr std::int64_t kIgnored = -100;
  static inline const std::vector<Maker> kLayers = {
      &RandomModelMaker::linear,      &RandomModelMaker::product,   &RandomModelMaker::twice,
      &RandomModelMaker::normalized,  &RandomModelMaker::activated, &RandomModelMaker::activated,
      &RandomModelMaker::shifted,     &RandomModelMaker::dropped,   &RandomModelMaker::softened,
      &RandomModelMaker::gated,       &RandomModelMaker::joined,    &RandomModelMaker::residual,
      &RandomModelMaker::scaled_rows,
  };
  static inline const std::vector<Maker> kSequenceLayers = {
      &RandomModelMaker::attention,           &RandomModelMaker::attention,
      &RandomModelMaker::attention,           &RandomModelMaker::written_out_attention,
      &RandomModelMaker::positions,           &RandomModelMaker::mixed_over_time,
      &RandomModelMaker::convolved_over_time,
  };
  static inline const std::vector<Maker> kImageLayers = {
      &RandomModelMaker::convolution,      &RandomModelMaker::residual_convolution,
      &RandomModelMaker::group_normalized, &RandomModelMaker::pooled,
      &RandomModelMaker::shifted_pixels,   &RandomModelMaker::dropped_channels,
      &RandomModelMaker::activated,
  };

  std::uint64_t seed_;
  at::Device device_;
  random::Generator generator_;
  std::int64_t sites_ = 0;
  Shape shape_;
  at::Tensor table_;  ///< of tokens
  RandomModel model_;
};

}  // namespace lockstep
