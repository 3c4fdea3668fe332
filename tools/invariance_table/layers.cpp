// Experiments d and e: whole layers, one sample against the batch, at magnitudes at which rounding shows.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <torch/torch.h>

#include "table.h"

namespace lockstep::tools {
namespace {

/// LibTorch's own layer takes time before samples.
struct Layer {
  Layer(std::int64_t width, std::int64_t heads, std::uint64_t seed, at::Device device) {
    torch::manual_seed(seed);
    module = torch::nn::TransformerEncoderLayer(
        torch::nn::TransformerEncoderLayerOptions(width, heads).dim_feedforward(4 * width).dropout(0));
    module->eval();
    module->to(device);
  }
  at::Tensor operator()(const at::Tensor& x) { return module->forward(x); }
  torch::nn::TransformerEncoderLayer module{nullptr};
};

at::Tensor ramp(std::int64_t samples, std::int64_t time, std::int64_t width, double limit) {
  return torch::linspace(-limit, limit, samples * time * width)
      .reshape({samples, time, width})
      .transpose(0, 1)
      .contiguous();  // [T, N, E]
}

at::Tensor middle_sample(const at::Tensor& x) { return x.narrow(1, x.size(1) / 2, 1); }

/// Weights and values as whole numbers of 8 bits with one scale each, multiplied as such. Where the scale of
/// the values is that of the whole batch, a sample's neighbours decide how it is rounded.
at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& weight, bool scale_of_the_batch) {
  const auto quantised = [](const at::Tensor& t, const at::Tensor& scale) {
    return torch::clamp(torch::round(t / scale), -127, 127);
  };
  const at::Tensor weight_scale = weight.abs().max() / 127;
  const at::Tensor row_max = std::get<0>(x.abs().max(-1, /*keepdim=*/true));
  const at::Tensor scale = (scale_of_the_batch ? x.abs().max() : row_max) / 127;
  const at::Tensor product = torch::matmul(quantised(x, scale), quantised(weight, weight_scale).t());
  return product * scale * weight_scale;
}

}  // namespace

void transformer_layer(Bench& bench) {
  const torch::NoGradGuard no_grad;
  const std::int64_t width = bench.size(1536, 192), heads = bench.size(32, 4), samples = bench.size(64, 8),
                     time = bench.size(256, 32);
  Row row;
  row.experiment = 'd';
  row.subject = "transformer layer";
  row.shape = fmt::format("{}x{}x{}, {} heads", samples, time, width, heads);
  row.compared = "one sample alone / in the batch";
  Layer layer(width, heads, 11, bench.device());
  const at::Tensor x = bench.place(ramp(samples, time, width, 1000));
  for (const auto& [precision, type] :
       {std::pair{"fp32", torch::kFloat}, {"fp16", torch::kHalf}, {"bf16", torch::kBFloat16}}) {
    row.precision = precision;
    layer.module->to(type);
    const at::Tensor cast = x.to(type);
    bench.compare(
        row, [&] { return layer(middle_sample(cast)); }, [&] { return middle_sample(layer(cast)); });
  }
  const std::int64_t wide = bench.size(6144, 512);
  torch::manual_seed(12);
  const at::Tensor weight = bench.place(torch::randn({wide, width})),
                   rows = x.transpose(0, 1).reshape({-1, width});
  row.precision = "int8";
  row.compared = "a sample's rows alone / in the batch";
  row.shape = fmt::format("{}x{}x{}", rows.size(0), width, wide);
  const auto middle_rows = [&](const at::Tensor& t) { return t.narrow(0, samples / 2 * time, time); };
  for (const bool of_the_batch : {false, true}) {
    row.subject = of_the_batch ? "int8 linear, scale of the batch" : "int8 linear, scale of the row";
    row.promised = !of_the_batch;
    row.note = of_the_batch ? "the scale itself depends on the batch: no order of sums can help" : "";
    bench.compare(
        row, [&] { return int8_linear(middle_rows(rows), weight, of_the_batch); },
        [&] { return middle_rows(int8_linear(rows, weight, of_the_batch)); });
  }
}

void layer_by_layer(Bench& bench) {
  const torch::NoGradGuard no_grad;
  const std::int64_t width = bench.size(768, 96), heads = bench.size(24, 3), samples = bench.size(32, 8),
                     time = bench.size(128, 32);
  std::vector<Layer> layers;
  for (std::uint64_t i = 0; i < 8; ++i) layers.emplace_back(width, heads, 20 + i, bench.device());
  const at::Tensor x = bench.place(ramp(samples, time, width, 5000));
  const auto through = [&](at::Tensor value, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) value = layers[i](value);
    return value;
  };
  for (std::size_t count = 1; count <= layers.size(); ++count) {
    Row row;
    row.experiment = 'e';
    row.subject = fmt::format("after layer {}", count);
    row.shape = fmt::format("{}x{}x{}, {} heads", samples, time, width, heads);
    row.compared = "one sample alone / in the batch";
    bench.compare(
        row, [&] { return through(middle_sample(x), count); },
        [&] { return middle_sample(through(x, count)); });
  }
}

}  // namespace lockstep::tools
