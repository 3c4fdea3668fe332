#include "loader/torch_rival.h"

#include <memory>
#include <utility>

#include <benchmark/benchmark.h>

#include <torch/torch.h>

namespace lockstep::bench {
namespace {

// What torch::data::datasets::MNIST is after it has read its files, for bytes as well as for floats.
class Images : public torch::data::datasets::Dataset<Images> {
 public:
  Images(torch::Tensor images, torch::Tensor labels)
      : images_(std::move(images)), labels_(std::move(labels)) {}
  torch::data::Example<> get(std::size_t index) override {
    return {images_[static_cast<std::int64_t>(index)], labels_[static_cast<std::int64_t>(index)]};
  }
  torch::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }

 private:
  torch::Tensor images_, labels_;
};

torch::Tensor copy_of(std::span<const std::uint8_t> bytes, at::IntArrayRef shape) {
  return torch::from_blob(const_cast<std::uint8_t*>(bytes.data()), shape, torch::kByte).clone();
}

}  // namespace

std::function<void()> torch_data_epoch(std::span<const std::uint8_t> images,
                                       std::span<const std::uint8_t> labels, Pixels pixels,
                                       std::int64_t batch_size, int workers) {
  torch::set_num_threads(1);
  const auto count = static_cast<std::int64_t>(labels.size());
  torch::Tensor pictures = copy_of(images, {count, 1, 28, 28});
  if (pixels == Pixels::floats) pictures = pictures.to(torch::kFloat32).div_(255);
  auto dataset =
      Images(pictures, copy_of(labels, {count}).to(torch::kLong)).map(torch::data::transforms::Stack<>());
  auto loader = torch::data::make_data_loader<torch::data::samplers::RandomSampler>(
      std::move(dataset), torch::data::DataLoaderOptions(static_cast<std::size_t>(batch_size))
                              .workers(static_cast<std::size_t>(workers)));
  return [loader = std::shared_ptr(std::move(loader))] {
    for (auto& batch : *loader) benchmark::DoNotOptimize(batch.data.data_ptr());
  };
}

}  // namespace lockstep::bench
