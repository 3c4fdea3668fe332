// Experiments b, f and g: seeds, gradients, and the order of additions.

#include <ATen/Parallel.h>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <torch/torch.h>

#include "lockstep/torch/gradient_accumulator.h"
#include "table.h"

namespace lockstep::tools {
namespace {

namespace F = torch::nn::functional;

constexpr std::int64_t kClasses = 10;

struct Network {
  Network(const Bench& bench, std::int64_t width, std::uint64_t seed, double drop = 0) {
    torch::manual_seed(seed);
    layers = torch::nn::Sequential(torch::nn::Linear(width, 2 * width), torch::nn::GELU(),
                                   torch::nn::LayerNorm(torch::nn::LayerNormOptions({2 * width})),
                                   torch::nn::Dropout(drop), torch::nn::Linear(2 * width, kClasses));
    layers->to(bench.device());
  }
  at::Tensor operator()(const at::Tensor& x) { return layers->forward(x); }
  /// All gradients in one row, which then are taken away.
  at::Tensor take_gradients() {
    std::vector<at::Tensor> parts;
    for (at::Tensor& parameter : layers->parameters()) {
      parts.push_back(parameter.grad().detach().reshape({-1}));
      parameter.mutable_grad() = at::Tensor();
    }
    return torch::cat(parts);
  }
  torch::nn::Sequential layers{nullptr};
};

struct Batch {
  Batch(const Bench& bench, std::int64_t samples, std::int64_t width) {
    torch::manual_seed(31);
    x = bench.place(torch::randn({samples, width}));
    y = bench.place(torch::randint(kClasses, {samples}, torch::kLong));
  }
  at::Tensor x, y;
};

Row gradient_row(const char* subject, const std::string& shape, const std::string& compared) {
  Row row;
  row.experiment = 'f';
  row.subject = subject;
  row.shape = shape;
  row.compared = compared;
  return row;
}

at::Tensor input_gradient(Network& network, const Batch& batch, std::int64_t samples) {
  const at::Tensor x = batch.x.narrow(0, 0, samples).clone().requires_grad_(true);
  const at::Tensor loss = F::cross_entropy(network(x), batch.y.narrow(0, 0, samples),
                                           F::CrossEntropyFuncOptions().reduction(torch::kSum));
  return torch::autograd::grad({loss}, {x}).front().narrow(0, 0, 1);
}

at::Tensor whole_gradient(Network& network, const Batch& batch) {
  F::cross_entropy(network(batch.x), batch.y).backward();
  return network.take_gradients();
}

/// As everybody accumulates: each micro-batch's mean, weighted by its share of the batch.
at::Tensor summed_gradient(Network& network, const Batch& batch, std::int64_t samples) {
  const std::int64_t all = batch.x.size(0);
  for (std::int64_t first = 0; first < all; first += samples) {
    const std::int64_t count = std::min(samples, all - first);
    const at::Tensor mean =
        F::cross_entropy(network(batch.x.narrow(0, first, count)), batch.y.narrow(0, first, count));
    (mean * (static_cast<double>(count) / static_cast<double>(all))).backward();
  }
  return network.take_gradients();
}

at::Tensor accumulated_gradient(Network& network, const Batch& batch, std::int64_t samples) {
  const std::int64_t all = batch.x.size(0);
  GradientAccumulator accumulator(*network.layers);
  accumulator.begin(all);
  for (std::int64_t first = 0; first < all; first += samples) {
    const std::int64_t count = std::min(samples, all - first);
    const auto micro_batch = accumulator.micro_batch(first, count);
    F::cross_entropy(network(batch.x.narrow(0, first, count)), batch.y.narrow(0, first, count)).backward();
  }
  accumulator.finish();
  return network.take_gradients();
}

/// LibTorch's default generators: the CPU's, and the device's.
std::vector<at::Generator> generators(at::Device device) {
  std::vector<at::Generator> all = {at::globalContext().defaultGenerator(at::kCPU)};
  if (!device.is_cpu()) all.push_back(at::globalContext().defaultGenerator(device));
  return all;
}

/// Their states, one behind the other.
at::Tensor generator_states(at::Device device) {
  std::vector<at::Tensor> states;
  for (const at::Generator& generator : generators(device)) states.push_back(generator.get_state());
  return torch::cat(states).to(torch::kFloat);
}

/// Runs inside a scope of its own seed, and leaves the generators as they were.
at::Tensor seeded_gradient(Network& network, const Batch& batch, std::uint64_t seed) {
  std::vector<at::Tensor> outside;
  for (const at::Generator& generator : generators(batch.x.device()))
    outside.push_back(generator.get_state());
  torch::manual_seed(seed);
  at::Tensor gradient = whole_gradient(network, batch);
  for (at::Generator& generator : generators(batch.x.device())) {
    generator.set_state(outside.front());
    outside.erase(outside.begin());
  }
  return gradient;
}

/// What LibTorch's threads may change on the CPU; on a device the second computation repeats the first.
std::string threads_compared(at::Device device, const char* on_cpu) {
  return device.is_cpu() ? on_cpu : "once / again";
}

at::Tensor with_threads(int threads, const Bench::Computation& computation) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  at::Tensor result = computation();
  at::set_num_threads(before);
  return result;
}

}  // namespace

void seeds(Bench& bench) {
  const std::int64_t width = bench.size(256, 64);
  Network network(bench, width, 41, /*drop=*/0.1);
  const Batch batch(bench, 64, width);
  for (const std::uint64_t seed : {0, 1, 7, 42, 1337}) {
    Row row;
    row.experiment = 'b';
    row.subject = fmt::format("gradients with dropout, seed {}", seed);
    row.shape = fmt::format("64x{}", width);
    row.compared = threads_compared(bench.device(), "1 thread / all threads") + ", seeded inside";
    const at::Tensor before = generator_states(bench.device());
    bench.compare(
        row, [&] { return with_threads(1, [&] { return seeded_gradient(network, batch, seed); }); },
        [&] { return seeded_gradient(network, batch, seed); });
    row.compared = "generator outside, before / after";
    bench.compare(
        row, [&] { return before; }, [&] { return generator_states(bench.device()); });
  }
}

void gradients(Bench& bench) {
  const std::int64_t width = bench.size(512, 64), samples = 96;
  Network network(bench, width, 51);
  const Batch batch(bench, samples, width);
  const std::string shape = fmt::format("{}x{}", samples, width);
  bench.compare(
      gradient_row("gradient of the input", shape, "first row alone / in the batch"),
      [&] { return input_gradient(network, batch, 1); },
      [&] { return input_gradient(network, batch, samples); });
  const auto whole = [&] { return whole_gradient(network, batch); };
  for (const std::int64_t cut : {1, 7, 16, 48})
    bench.compare(
        gradient_row("gradients of the weights", shape,
                     fmt::format("micro-batches of {} / one backward", cut)),
        [&, cut = cut] { return summed_gradient(network, batch, cut); }, whole,
        [&, cut = cut] { return accumulated_gradient(network, batch, cut); }, whole);
}

void orders_of_addition(Bench& bench) {
  const at::Tensor large = torch::full({1}, 1e20f, bench.device()), one = torch::ones({1}, bench.device());
  Row row;
  row.experiment = 'g';
  row.subject = "1e20, -1e20, 1";
  row.shape = "3";
  row.compared = "(a + b) + c / a + (b + c)";
  row.promised = false;
  row.note = "addition is not associative: the order is part of the result";
  bench.compare(
      row, [&] { return (large - large) + one; }, [&] { return large + (-large + one); });

  const std::int64_t width = bench.size(512, 256);
  Network network(bench, width, 61);
  const Batch batch(bench, 64, width);
  const at::Tensor gradient = whole_gradient(network, batch);
  row.subject = "sum of a real gradient";
  row.shape = fmt::to_string(gradient.numel());
  row.compared = "ascending / descending";
  const at::Tensor reversed = gradient.flip(0);
  bench.compare(
      row, [&] { return gradient.sum().reshape({1}); }, [&] { return reversed.sum().reshape({1}); });
  row.promised = true;
  row.note = "";
  row.compared = threads_compared(bench.device(), "1 thread / 2 threads");
  const auto sum = [&] { return gradient.sum().reshape({1}); };
  bench.compare(
      row, [&] { return with_threads(1, sum); }, [&] { return with_threads(2, sum); });
  row.compared = "alone / as a row of 3";
  const at::Tensor rows = torch::stack({gradient, reversed, gradient});
  bench.compare(
      row, [&] { return gradient.unsqueeze(0).sum(1); }, [&] { return rows.sum(1).narrow(0, 0, 1); });
}

}  // namespace lockstep::tools
