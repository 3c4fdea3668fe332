// Experiments a and c: single operations, a row alone against the row in its batch.

#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/torch.h>

#include "table.h"

namespace lockstep::tools {
namespace {

namespace F = torch::nn::functional;
using Operation = std::function<at::Tensor(const at::Tensor&)>;

struct Case {
  const char* subject;
  std::vector<std::int64_t> shape;  ///< of the input, the batch first
  Operation operation;
  std::string inner = {};  ///< what else the operation works on: "x256"
};

at::Tensor values(const Bench& bench, at::IntArrayRef shape, std::uint64_t seed) {
  torch::manual_seed(seed);
  return bench.place(torch::randn(shape));
}

Operation times(const Bench& bench, std::int64_t inner, std::int64_t columns) {
  const at::Tensor matrix = values(bench, {inner, columns}, 2);
  return [matrix](const at::Tensor& x) { return torch::mm(x, matrix); };
}

Operation attention(std::int64_t heads) {
  return [heads](const at::Tensor& x) {
    const auto split = x.chunk(3, -1);
    const auto by_head = [&](const at::Tensor& t) {
      return t.reshape({t.size(0), t.size(1), heads, t.size(2) / heads}).transpose(1, 2);
    };
    return torch::scaled_dot_product_attention(by_head(split[0]), by_head(split[1]), by_head(split[2]), {},
                                               0.0,
                                               /*is_causal=*/true);
  };
}

Operation convolution(const Bench& bench, std::int64_t channels) {
  const at::Tensor weight = values(bench, {2 * channels, channels, 3, 3}, 3),
                   bias = values(bench, {2 * channels}, 4);
  return [weight, bias](const at::Tensor& x) { return torch::conv2d(x, weight, bias, 1, 1); };
}

std::vector<Case> cases(const Bench& bench) {
  const auto over = [](std::int64_t dim) {
    return [dim](const at::Tensor& x) { return torch::mean(x, {dim}); };
  };
  const at::Tensor gain = values(bench, {768}, 5), offset = values(bench, {768}, 6);
  return {
      {"mm", {32, 256}, times(bench, 256, 256), "x256"},
      {"mm", {64, 512}, times(bench, 512, 512), "x512"},
      {"mm", {128, 768}, times(bench, 768, 768), "x768"},
      {"log_softmax", {32, 512}, [](const at::Tensor& x) { return torch::log_softmax(x, -1); }},
      {"log_softmax", {64, 1024}, [](const at::Tensor& x) { return torch::log_softmax(x, -1); }},
      {"softmax", {64, 1000}, [](const at::Tensor& x) { return torch::softmax(x, -1); }},
      {"mean over the last axis", {16, 64, 128}, over(2)},
      {"mean over the middle axis", {16, 64, 128}, over(1)},
      {"mean over the last axis", {32, 64, 256}, over(2)},
      {"mean over the middle axis", {32, 64, 256}, over(1)},
      {"sum", {64, 5000}, [](const at::Tensor& x) { return torch::sum(x, {1}); }},
      {"layer_norm",
       {64, 768},
       [=](const at::Tensor& x) { return torch::layer_norm(x, {768}, gain, offset); }},
      {"gelu", {33, 7}, [](const at::Tensor& x) { return torch::gelu(x); }},
      {"silu", {33, 7}, [](const at::Tensor& x) { return torch::silu(x); }},
      {"sigmoid", {33, 7}, [](const at::Tensor& x) { return torch::sigmoid(x); }},
      {"tanh", {33, 7}, [](const at::Tensor& x) { return torch::tanh(x); }},
      {"exp", {33, 7}, [](const at::Tensor& x) { return torch::exp(x); }},
      {"bmm", {8, 64, 32}, [](const at::Tensor& x) { return torch::bmm(x, x.transpose(1, 2)); }},
      {"attention, causal", {8, 64, 3 * 6 * 32}, attention(6)},
      {"conv2d 3x3", {16, 8, 28, 28}, convolution(bench, 8)},
      {"max_pool2d", {16, 8, 28, 28}, [](const at::Tensor& x) { return torch::max_pool2d(x, 2); }},
      {"cross_entropy, a row",
       {64, 1000},
       [](const at::Tensor& x) {
         const at::Tensor target =
             torch::zeros({x.size(0)}, torch::TensorOptions(x.device()).dtype(torch::kLong));
         return F::cross_entropy(x, target, F::CrossEntropyFuncOptions().reduction(torch::kNone));
       }},
  };
}

struct Precision {
  const char* name;
  at::ScalarType type;
  bool tf32 = false;
};

std::vector<Precision> precisions(const Bench& bench) {
  std::vector<Precision> all = {{"fp32", torch::kFloat}, {"bf16", torch::kBFloat16}, {"fp16", torch::kHalf}};
  if (bench.device().is_cuda()) all.push_back({"tf32", torch::kFloat, true});
  return all;
}

/// Whether LibTorch may compute products of float32 in TF32, while it lives.
class Tf32 {
 public:
  explicit Tf32(bool on) { at::globalContext().setAllowTF32CuBLAS(on); }
  ~Tf32() { at::globalContext().setAllowTF32CuBLAS(false); }
  Tf32(const Tf32&) = delete;
  Tf32& operator=(const Tf32&) = delete;
};

}  // namespace

void single_operations(Bench& bench) {
  for (const Case& c : cases(bench)) {
    const at::Tensor x = values(bench, c.shape, 1);
    Row row;
    row.experiment = 'a';
    row.subject = c.subject;
    row.shape = fmt::format("{}{}", fmt::join(c.shape, "x"), c.inner);
    row.compared = "first row alone / in the batch";
    bench.compare(
        row, [&] { return c.operation(x.narrow(0, 0, 1)); }, [&] { return c.operation(x).narrow(0, 0, 1); });
  }
}

void batch_sizes(Bench& bench) {
  const std::int64_t width = bench.size(1024, 256);
  const at::Tensor x = values(bench, {256, width}, 7), weight = values(bench, {width, width}, 8);
  for (const Precision& precision : precisions(bench)) {
    const Tf32 tf32(precision.tf32);
    const at::Tensor left = x.to(precision.type), right = weight.to(precision.type);
    for (const std::int64_t batch : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      Row row;
      row.experiment = 'c';
      row.subject = fmt::format("mm, batch of {}", batch);
      row.shape = fmt::format("{}x{}x{}", batch, width, width);
      row.compared = "first row alone / in the batch";
      row.precision = precision.name;
      row.tensor_cores = bench.device().is_cuda() && (precision.tf32 || precision.type != torch::kFloat);
      if (precision.tf32) row.note = "the invariant mode computes in IEEE float32";
      bench.compare(
          row, [&] { return torch::mm(left.narrow(0, 0, 1), right); },
          [&, rows = batch] { return torch::mm(left.narrow(0, 0, rows), right).narrow(0, 0, 1); });
    }
  }
}

}  // namespace lockstep::tools
