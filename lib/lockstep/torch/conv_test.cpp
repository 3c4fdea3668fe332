// Convolutions, pooling and GroupNorm in the mode: one gradient, whatever the cut.

#include <ATen/Parallel.h>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/one_gradient_test.h"

namespace lockstep {
namespace {

namespace F = torch::nn::functional;
using namespace one_gradient;

at::Tensor images(at::IntArrayRef shape, int seed) {
  torch::manual_seed(seed);
  std::vector<std::int64_t> sizes{kSamples};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return torch::randn(sizes);
}

/// Weights that make a gradient of every element differ.
at::Tensor weighted_sum(const at::Tensor& y) {
  const at::Tensor flat = y.flatten(1);
  const at::Tensor factors = torch::arange(1, flat.size(1) + 1).to(torch::kFloat) / flat.size(1) - 0.3;
  return F::mse_loss(flat * factors, torch::zeros_like(flat));
}

/// A layer from images to images, of any shape.
struct Layer {
  std::string name;
  std::vector<std::int64_t> image;
  std::function<at::Tensor(const at::Tensor&)> forward;
  std::vector<at::Tensor> parameters;
};

template <class Module>
Layer layer_of(std::string name, std::vector<std::int64_t> image, Module module) {
  torch::manual_seed(7);
  for (auto& parameter : module->parameters()) torch::nn::init::normal_(parameter, 0.1, 0.5);
  return {std::move(name), std::move(image), [module](const at::Tensor& x) mutable { return module(x); },
          module->parameters()};
}

std::vector<Layer> layers_with_parameters() {
  using torch::nn::Conv1d, torch::nn::Conv1dOptions, torch::nn::Conv2d, torch::nn::Conv2dOptions;
  return {
      layer_of("padded", {3, 9, 11}, Conv2d(Conv2dOptions(3, 5, 3).padding(1))),
      layer_of("strided", {4, 12, 9}, Conv2d(Conv2dOptions(4, 6, {3, 2}).stride({2, 3}).padding({1, 0}))),
      layer_of("dilated", {2, 12, 12}, Conv2d(Conv2dOptions(2, 3, 3).dilation(2).padding(2).bias(false))),
      layer_of("grouped", {6, 8, 8}, Conv2d(Conv2dOptions(6, 9, 3).groups(3).padding(1))),
      layer_of("depthwise", {5, 8, 8}, Conv2d(Conv2dOptions(5, 5, 3).groups(5))),
      layer_of("same", {3, 7, 8}, Conv2d(Conv2dOptions(3, 4, {2, 4}).padding(torch::kSame))),
      layer_of("one", {8, 5, 5}, Conv2d(Conv2dOptions(8, 4, 1))),
      layer_of("line", {3, 60}, Conv1d(Conv1dOptions(3, 7, 5).stride(2).padding(2))),
      layer_of("groups of channels", {8, 6, 7}, torch::nn::GroupNorm(torch::nn::GroupNormOptions(4, 8))),
      layer_of("groups of a line", {6, 40}, torch::nn::GroupNorm(torch::nn::GroupNormOptions(2, 6))),
      layer_of("instances", {3, 9, 9},
               torch::nn::InstanceNorm2d(torch::nn::InstanceNorm2dOptions(3).affine(true))),
  };
}

std::vector<Layer> layers_without_parameters() {
  const auto layer = [](std::string name, std::vector<std::int64_t> image,
                        std::function<at::Tensor(const at::Tensor&)> forward) {
    return Layer{std::move(name), std::move(image), std::move(forward), {}};
  };
  return {
      layer("max", {3, 12, 12}, [](const at::Tensor& x) { return torch::max_pool2d(x, 2); }),
      layer("overlapping max", {3, 13, 12},
            [](const at::Tensor& x) { return torch::max_pool2d(x, 3, 2, 1, 1, true); }),
      layer("max of a line", {3, 50}, [](const at::Tensor& x) { return torch::max_pool1d(x, 3, 2, 1); }),
      layer("dilated max", {2, 14, 14}, [](const at::Tensor& x) { return torch::max_pool2d(x, 2, 1, 1, 2); }),
      layer("average", {3, 12, 12}, [](const at::Tensor& x) { return torch::avg_pool2d(x, 2); }),
      layer("inner average", {3, 13, 11},
            [](const at::Tensor& x) { return torch::avg_pool2d(x, 3, 2, 1, true, false); }),
      layer("divided average", {3, 13, 11},
            [](const at::Tensor& x) { return torch::avg_pool2d(x, 3, 2, 1, false, true, 5); }),
      layer("average of a line", {3, 50}, [](const at::Tensor& x) { return torch::avg_pool1d(x, 4, 3, 1); }),
      layer("adaptive average", {3, 13, 11},
            [](const at::Tensor& x) {
              return torch::adaptive_avg_pool2d(x, {4, 3});
            }),
      layer("adaptive average of a line", {3, 50},
            [](const at::Tensor& x) { return torch::adaptive_avg_pool1d(x, 7); }),
      layer("global average", {3, 13, 11},
            [](const at::Tensor& x) {
              return torch::adaptive_avg_pool2d(x, {1, 1});
            }),
  };
}

std::vector<Layer> all_layers() {
  std::vector<Layer> all = layers_with_parameters();
  for (Layer& layer : layers_without_parameters()) all.push_back(std::move(layer));
  return all;
}

TEST(InvariantConv, OneGradientHoweverTheBatchIsCut) {
  for (const Layer& layer : layers_with_parameters()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 3);
    expect_one_gradient(layer.parameters, [&](std::int64_t first, std::int64_t samples) {
      return weighted_sum(layer.forward(x.narrow(0, first, samples)));
    });
  }
}

TEST(InvariantConv, OneGradientThroughEveryLayer) {
  // What lies before a layer gets its gradient with respect to the input.
  for (const Layer& layer : all_layers()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 5);
    std::vector<at::Tensor> parameters = layer.parameters;
    const bool is_line = layer.image.size() == 2;
    std::vector<std::int64_t> shape{layer.image[0], layer.image[0], 1};
    if (!is_line) shape.push_back(1);
    const at::Tensor before = leaf(shape, 11);
    parameters.push_back(before);
    expect_one_gradient(parameters, [&](std::int64_t first, std::int64_t samples) {
      const at::Tensor part = x.narrow(0, first, samples);
      return weighted_sum(layer.forward(is_line ? torch::conv1d(part, before) : torch::conv2d(part, before)));
    });
  }
}

/// Values and the gradient with respect to the input, of some samples.
std::vector<at::Tensor> run(const Layer& layer, const at::Tensor& x) {
  const at::Tensor input = x.clone().requires_grad_(true);
  const at::Tensor y = layer.forward(input);
  const at::Tensor dy = torch::sin(torch::arange(y[0].numel()).to(torch::kFloat)).view_as(y[0]);
  y.backward(dy.unsqueeze(0).expand_as(y).contiguous());
  for (at::Tensor parameter : layer.parameters) parameter.mutable_grad() = at::Tensor();
  return {y.detach(), input.grad()};
}

TEST(InvariantConv, ASampleDoesNotKnowItsNeighbours) {
  for (const Layer& layer : all_layers()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 13);
    const InvariantMode mode;
    const auto together = run(layer, x);
    for (const std::int64_t n : {0, 1, 22}) {
      const auto alone = run(layer, x.narrow(0, n, 1));
      EXPECT_EQ(digest(alone[0]), digest(together[0].narrow(0, n, 1)));
      EXPECT_EQ(digest(alone[1]), digest(together[1].narrow(0, n, 1)));
    }
  }
}

TEST(InvariantConv, ThreadsDoNotMatter) {
  const int before = at::get_num_threads();
  for (const Layer& layer : all_layers()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 17);
    const InvariantMode mode;
    std::vector<std::string> expected;
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      const auto results = run(layer, x);
      std::vector<std::string> digests{digest(results[0]), digest(results[1])};
      weighted_sum(layer.forward(x.clone().requires_grad_(true))).backward();
      for (const std::string& gradient : take_gradients(layer.parameters)) digests.push_back(gradient);
      if (threads == 1) expected = digests;
      EXPECT_EQ(digests, expected) << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

TEST(InvariantConv, ValuesAreNearToLibTorchs) {
  for (const Layer& layer : all_layers()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 19);
    const auto theirs = run(layer, x);
    const InvariantMode mode;
    const auto ours = run(layer, x);
    // Sums in another order.
    EXPECT_TRUE(torch::allclose(ours[0], theirs[0], 1e-4, 1e-5));
    EXPECT_TRUE(torch::allclose(ours[1], theirs[1], 1e-4, 1e-5));
    const torch::NoGradGuard no_grad;
    EXPECT_EQ(digest(layer.forward(x)), digest(ours[0])) << "without a gradient";
  }
}

TEST(InvariantConv, LayoutsOfMemoryDoNotMatter) {
  const Layer layer =
      layer_of("padded", {4, 9, 11}, torch::nn::Conv2d(torch::nn::Conv2dOptions(4, 5, 3).padding(1)));
  const at::Tensor x = images(layer.image, 23);
  const auto gradients = [&](const at::Tensor& input, const at::Tensor& weight) {
    const InvariantMode mode;
    weighted_sum(torch::max_pool2d(torch::conv2d(input, weight, layer.parameters[1], 1, 1), 2)).backward();
    return take_gradients({weight, layer.parameters[1]});
  };
  const auto expected = gradients(x, layer.parameters[0]);
  const at::Tensor last =
      layer.parameters[0].detach().contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  EXPECT_EQ(gradients(x.contiguous(at::MemoryFormat::ChannelsLast), last), expected);
  EXPECT_EQ(gradients(x.transpose(2, 3).contiguous().transpose(2, 3), last), expected);
}

TEST(InvariantConv, OneConvolutionInTwoPlaces) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(4, 4, 3).padding(1));
  const at::Tensor x = images({4, 8, 8}, 29);
  expect_one_gradient(conv->parameters(), [&](std::int64_t first, std::int64_t samples) {
    return weighted_sum(conv(torch::relu(conv(x.narrow(0, first, samples)))));
  });
}

TEST(InvariantConv, ASmallNetwork) {
  torch::manual_seed(47);
  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1).bias(false)),
      torch::nn::GroupNorm(torch::nn::GroupNormOptions(4, 8)), torch::nn::ReLU(), torch::nn::MaxPool2d(2),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 12, 3).stride(2)), torch::nn::SiLU(),
      torch::nn::AdaptiveAvgPool2d(3), torch::nn::Flatten(), torch::nn::Linear(12 * 9, 5));
  const at::Tensor x = images({1, 28, 28}, 53), y = torch::randint(5, {kSamples}, torch::kLong);
  expect_one_gradient(net->parameters(), [&](std::int64_t first, std::int64_t samples) {
    return F::cross_entropy(net->forward(x.narrow(0, first, samples)), y.narrow(0, first, samples));
  });
}

TEST(InvariantConv, WhoAsksForTheGradientGetsTheSame) {
  for (const Layer& layer : layers_with_parameters()) {
    SCOPED_TRACE(layer.name);
    const at::Tensor x = images(layer.image, 59);
    const auto loss = [&] { return weighted_sum(layer.forward(x)); };
    const auto expected = whole(layer.parameters, [&](std::int64_t, std::int64_t) { return loss(); });
    const InvariantMode mode;
    std::vector<std::string> returned;
    for (const at::Tensor& gradient : torch::autograd::grad({loss()}, layer.parameters))
      returned.push_back(digest(gradient));
    EXPECT_EQ(returned, expected);
  }
}

TEST(InvariantConv, FrozenParametersGetNothing) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(3, 4, 3));
  conv->weight.requires_grad_(false);
  const at::Tensor x = images({3, 9, 9}, 31);
  expect_one_gradient({conv->bias}, [&](std::int64_t first, std::int64_t samples) {
    return weighted_sum(conv(x.narrow(0, first, samples)));
  });
  EXPECT_FALSE(conv->weight.grad().defined());
}

// The twin that must fail: the same network and cuts by LibTorch's own kernels.
TEST(InvariantConvTwin, PlainAccumulationGoesRed) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(3, 8, 3).padding(1));
  const at::Tensor x = images({3, 12, 12}, 37);
  const auto gradients = [&](const Cuts& cuts) {
    std::int64_t first = 0;
    for (const std::int64_t samples : cuts) {
      (weighted_sum(conv(x.narrow(0, first, samples))) * (static_cast<double>(samples) / kSamples))
          .backward();
      first += samples;
    }
    return take_gradients(conv->parameters());
  };
  EXPECT_NE(gradients(kCuts[2]), gradients({kSamples}));
}

TEST(InvariantConvErrors, SayWhatToDo) {
  const at::Tensor x = torch::randn({2, 4, 8, 8}), volume = torch::randn({1, 2, 3, 3, 3}),
                   wide = torch::randn({3, 4, 9, 2});
  const at::Tensor weight = torch::randn({3, 4, 2, 2}).requires_grad_(true);
  torch::nn::BatchNorm2d batch_norm(4);
  torch::nn::BatchNorm1d line_norm(4);
  torch::nn::InstanceNorm2d tracked(torch::nn::InstanceNorm2dOptions(4).track_running_stats(true));
  torch::nn::ConvTranspose2d transposed(torch::nn::ConvTranspose2dOptions(4, 3, 2));
  const InvariantMode mode;
  const auto unsupported = [](const std::string& words, const std::function<void()>& call) {
    expect_error(ErrorCode::unsupported, words, call);
  };
  unsupported("torch::nn::GroupNorm", [&] { batch_norm(x); });
  unsupported("statistics are those of the whole batch", [&] { line_norm(x[0]); });
  unsupported("track_running_stats", [&] { tracked(x); });
  unsupported("a transposed one (ConvTranspose1d, ConvTranspose2d)", [&] { transposed(x); });
  unsupported("Convolutions of volumes", [&] { torch::conv3d(volume, volume); });
  unsupported("float16", [&] { torch::conv2d(x.to(torch::kHalf), weight.to(torch::kHalf)); });
  unsupported("create_graph",
              [&] { torch::autograd::grad({torch::conv2d(x, weight).sum()}, {weight}, {}, true, true); });
  expect_refusal([&] { torch::conv2d(x, weight.narrow(1, 0, 3)); }, "an input of 3 channels");
  expect_refusal([&] { torch::conv2d(x, weight, torch::ones({4})); }, "a bias of 3 elements");
  expect_refusal([&] { torch::conv2d(x, wide); }, "a kernel that fits");
  expect_refusal([&] { torch::max_pool2d(x, 2, 2, 2); }, "at most half of the window's 2");
  expect_refusal([&] { torch::avg_pool2d(x, 2, 2, 0, false, true, 0); }, "divisor_override");
  expect_refusal([&] { torch::group_norm(x, 3); }, "a divisor of 4 channels");
}

TEST(InvariantConv, FrozenBatchNormEvaluates) {
  torch::nn::BatchNorm2d norm(4);
  torch::manual_seed(41);
  for (at::Tensor tensor : {norm->weight, norm->bias, norm->running_mean})
    torch::nn::init::normal_(tensor, 0.2, 1.0);
  norm->eval();
  const at::Tensor x = images({4, 5, 7}, 43);
  const torch::NoGradGuard no_grad;
  const at::Tensor expected = norm(x);
  const InvariantMode mode;
  const at::Tensor y = norm(x);
  EXPECT_TRUE(torch::allclose(y, expected, 1e-5, 1e-6));
  EXPECT_EQ(digest(norm(x.narrow(0, 3, 1))), digest(y.narrow(0, 3, 1)));
  const torch::AutoGradMode with_gradients(true);
  expect_error(ErrorCode::unsupported, "a frozen BatchNorm that needs them", [&] { norm(x); });
}

}  // namespace
}  // namespace lockstep
