#pragma once
// Two small classifiers of 28 x 28 images. Neither holds a layer whose result for one image depends on the
// others.

#include <cstdint>
#include <memory>
#include <string>

#include <torch/torch.h>

namespace lockstep::trainers {

constexpr std::int64_t kSide = 28, kPixels = kSide * kSide, kClasses = 10;

/// Takes images uint8 [B, 28, 28], gives logits float32 [B, 10].
class Classifier : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const torch::Tensor& images) = 0;
  virtual std::string description() const = 0;
};

/// 784 - hidden - 10 with ReLU.
std::shared_ptr<Classifier> make_mlp(std::int64_t hidden);
/// Two 3 x 3 convolutions (16 and 32 channels) with ReLU and 2 x 2 max pooling, then one linear layer.
std::shared_ptr<Classifier> make_cnn();

}  // namespace lockstep::trainers
