#include "task.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kShown = 8;  // predictions that a report shows
constexpr double kInitialDeviation = 0.01;

std::vector<float> values_of(const torch::Tensor& tensor, std::int64_t most) {
  const torch::Tensor flat = tensor.detach().reshape({-1}).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + std::min(flat.numel(), most)};
}

std::string row(const char* name, const torch::Tensor& tensor, std::int64_t most = 64) {
  return fmt::format("  {:<9} {:.6f}{}\n", name, fmt::join(values_of(tensor, most), " "),
                     tensor.numel() > most ? fmt::format(" … ({})", tensor.numel()) : "");
}

class Parameters : public torch::nn::Module {
 public:
  explicit Parameters(std::int64_t columns)
      : weight(register_parameter("weight", torch::randn({columns}).mul_(kInitialDeviation), false)),
        bias(register_parameter("bias", torch::zeros({1}), false)) {}

  torch::Tensor weight, bias;
};

class Scratch final : public RegressionTask {
 public:
  Scratch(std::int64_t columns, LossReduction reduction, double learning_rate)
      : RegressionTask(reduction), parameters_(columns), learning_rate_(learning_rate) {}

  torch::nn::Module& module() override { return parameters_; }
  torch::optim::Optimizer* optimizer() override { return nullptr; }

  PartResult accumulate(const MicroBatch& part) override {
    const torch::Tensor& x = part.field("x");                            // [B, columns]
    predictions_ = torch::mv(x, parameters_.weight) + parameters_.bias;  // [B]
    const torch::Tensor error = predictions_ - part.field("y");
    batch_ = part.global_rows;
    add(parameters_.weight, torch::mv(x.t(), error));
    add(parameters_.bias, error.sum().reshape({1}));
    const torch::Tensor loss = (error * error / 2).sum() / static_cast<double>(batch_);
    loss_ = loss.item<float>() + (part.first_sample == 0 ? 0.0F : loss_);
    return {loss, std::nullopt};
  }

  void update() override {
    for (torch::Tensor& parameter : parameters_.parameters())
      parameter.sub_(learning_rate_ * mean_gradient(parameter.grad()));
  }

 private:
  void add(torch::Tensor& parameter, const torch::Tensor& sum) {
    const torch::Tensor part = reduction_ == LossReduction::mean ? sum / batch_ : sum;
    torch::Tensor& gradient = parameter.mutable_grad();
    gradient = gradient.defined() ? gradient + part : part;
  }

  torch::Tensor mean_gradient(const torch::Tensor& gradient) const {
    return reduction_ == LossReduction::mean ? gradient : gradient / batch_;
  }

  Parameters parameters_;
  double learning_rate_;
  std::int64_t batch_ = 1;
};

class Linear final : public RegressionTask {
 public:
  Linear(std::int64_t columns, LossReduction reduction, double learning_rate)
      : RegressionTask(reduction), linear_(columns, 1), sgd_(linear_->parameters(), learning_rate) {}

  torch::nn::Module& module() override { return *linear_; }
  torch::optim::Optimizer* optimizer() override { return &sgd_; }

  PartResult accumulate(const MicroBatch& part) override {
    predictions_ = linear_->forward(part.field("x")).squeeze(1);  // [B]
    batch_ = part.global_rows;
    const torch::Tensor sum = torch::mse_loss(predictions_, part.field("y"), at::Reduction::Sum) / 2;
    const torch::Tensor mean = sum / batch_;
    (reduction_ == LossReduction::mean ? mean : sum).backward();
    loss_ = mean.item<float>() + (part.first_sample == 0 ? 0.0F : loss_);
    return {mean, std::nullopt};
  }

  void update() override {
    if (reduction_ == LossReduction::sum_over_batch)
      for (torch::Tensor& parameter : linear_->parameters()) parameter.mutable_grad().div_(batch_);
    sgd_.step();
  }

 private:
  torch::nn::Linear linear_;
  torch::optim::SGD sgd_;
  std::int64_t batch_ = 1;
};

}  // namespace

std::string RegressionTask::step_report() {
  const torch::Tensor weight = parameter("weight"), bias = parameter("bias");
  return row("y_hat", predictions_, kShown) + fmt::format("  {:<9} {:.6f}\n", "loss", loss_) +
         row("d weight", weight.grad()) + row("d bias", bias.grad()) + row("weight", weight) +
         row("bias", bias);
}

std::unique_ptr<RegressionTask> make_scratch(std::int64_t columns, LossReduction reduction,
                                             double learning_rate) {
  return std::make_unique<Scratch>(columns, reduction, learning_rate);
}

std::unique_ptr<RegressionTask> make_module(std::int64_t columns, LossReduction reduction,
                                            double learning_rate) {
  return std::make_unique<Linear>(columns, reduction, learning_rate);
}

}  // namespace lockstep::trainers
