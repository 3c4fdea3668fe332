#include "model.h"

#include <fmt/format.h>

namespace lockstep::trainers {
namespace {

// Mean and standard deviation of the training images' pixels, from 0 to 255.
constexpr double kMean = 72.94, kDeviation = 90.02;

torch::Tensor normalised(const torch::Tensor& images) {
  return images.to(torch::kFloat).sub_(kMean).div_(kDeviation);
}

class Mlp final : public Classifier {
 public:
  explicit Mlp(std::int64_t hidden) : hidden_(hidden), fc1_(kPixels, hidden), fc2_(hidden, kClasses) {
    register_module("fc1", fc1_);
    register_module("fc2", fc2_);
  }

  torch::Tensor forward(const torch::Tensor& images) override {
    const torch::Tensor x = normalised(images).view({images.size(0), kPixels});  // [B, 784]
    return fc2_(torch::relu(fc1_(x)));                                           // [B, 10]
  }

  std::string description() const override { return fmt::format("mlp {}-{}-{}", kPixels, hidden_, kClasses); }

 private:
  std::int64_t hidden_;
  torch::nn::Linear fc1_, fc2_;
};

class Cnn final : public Classifier {
 public:
  Cnn() {
    register_module("conv1", conv1_);
    register_module("conv2", conv2_);
    register_module("fc", fc_);
  }

  torch::Tensor forward(const torch::Tensor& images) override {
    torch::Tensor x = normalised(images).unsqueeze(1);  // [B, 1, 28, 28]
    x = torch::max_pool2d(torch::relu(conv1_(x)), 2);   // [B, 16, 14, 14]
    x = torch::max_pool2d(torch::relu(conv2_(x)), 2);   // [B, 32, 7, 7]
    return fc_(x.flatten(1));                           // [B, 10]
  }

  std::string description() const override { return "cnn 16-32-10"; }

 private:
  torch::nn::Conv2d conv1_{torch::nn::Conv2dOptions(1, 16, 3).padding(1)};
  torch::nn::Conv2d conv2_{torch::nn::Conv2dOptions(16, 32, 3).padding(1)};
  torch::nn::Linear fc_{32 * 7 * 7, kClasses};
};

}  // namespace

std::shared_ptr<Classifier> make_mlp(std::int64_t hidden) { return std::make_shared<Mlp>(hidden); }
std::shared_ptr<Classifier> make_cnn() { return std::make_shared<Cnn>(); }

}  // namespace lockstep::trainers
