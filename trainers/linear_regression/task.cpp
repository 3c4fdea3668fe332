#include "task.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/matmul/matmul.h"
#include "lockstep/row_sum/row_sum.h"
#include "lockstep/torch/initialize.h"
#include "lockstep/torch/optimizer.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kShown = 8;  // predictions that a report shows
constexpr double kInitialDeviation = 0.01;

std::vector<float> values_of(const torch::Tensor& tensor, std::int64_t most) {
  const torch::Tensor flat = tensor.detach().reshape({-1}).cpu();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + std::min(flat.numel(), most)};
}

std::string row(const char* name, const torch::Tensor& tensor, std::int64_t most = 64) {
  return fmt::format("  {:<9} {:.6f}{}\n", name, fmt::join(values_of(tensor, most), " "),
                     tensor.numel() > most ? fmt::format(" … ({})", tensor.numel()) : "");
}

class Parameters : public torch::nn::Module {
 public:
  Parameters(std::int64_t columns, std::uint64_t seed)
      : weight(register_parameter("weight", torch::empty({columns}), false)),
        bias(register_parameter("bias", torch::zeros({1}), false)) {
    fill_normal(weight, 0, kInitialDeviation, {seed, 0});
  }

  torch::Tensor weight, bias;
};

order::FoldSpan span_of(const MicroBatch& part) { return {part.first_sample, part.rows, part.last()}; }

// Sums over the rows of the global batch, whatever it is cut into: lockstep's folds, called by hand, on the
// CPU.

/// Of rowsᵀ · factor.
class ProductFold {
 public:
  explicit ProductFold(std::int64_t columns)
      : total_(torch::zeros({columns})), open_(torch::zeros({columns})) {}

  /// rows [B, columns], factor [B].
  void add(const torch::Tensor& rows_anywhere, const torch::Tensor& factor_anywhere, const MicroBatch& part) {
    const torch::Tensor rows = rows_anywhere.cpu(), factor = factor_anywhere.cpu();
    matmul_fold({rows.const_data_ptr<float>(), rows.size(0), rows.size(1), rows.stride(0), rows.stride(1)},
                {factor.const_data_ptr<float>(), factor.size(0), 1, factor.stride(0), 1}, span_of(part),
                {total_.mutable_data_ptr<float>(), rows.size(1), 1, 1, 1}, open_.mutable_data_ptr<float>());
  }
  const torch::Tensor& total() const { return total_; }

 private:
  torch::Tensor total_, open_;
};

/// Of values.
class ValueFold {
 public:
  /// values [B].
  void add(const torch::Tensor& values_anywhere, const MicroBatch& part) {
    const torch::Tensor values = values_anywhere.cpu();
    row_sum_fold(values.const_data_ptr<float>(), values.stride(0), 1, span_of(part), &total_, &open_);
  }
  float total() const { return static_cast<float>(total_); }

 private:
  double total_ = 0, open_ = 0;
};

class Scratch final : public RegressionTask {
 public:
  Scratch(std::int64_t columns, LossReduction reduction, double learning_rate, std::uint64_t seed)
      : RegressionTask(reduction), parameters_(columns, seed), learning_rate_(learning_rate) {}

  torch::nn::Module& module() override { return parameters_; }
  torch::optim::Optimizer* optimizer() override { return nullptr; }

  bool uses_autograd() const override { return false; }

  PartResult accumulate(const MicroBatch& part) override {
    const torch::Tensor& x = part.field("x");                            // [B, columns]
    predictions_ = torch::mv(x, parameters_.weight) + parameters_.bias;  // [B]
    const torch::Tensor error = predictions_ - part.field("y");
    batch_ = part.global_rows;
    if (part.invariant) return accumulate_in_order(part, x, error);
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
  PartResult accumulate_in_order(const MicroBatch& part, const torch::Tensor& x, const torch::Tensor& error) {
    if (part.first_sample == 0) folds_.emplace(x.size(1));
    folds_->weight.add(x, error, part);
    folds_->bias.add(error, part);
    folds_->loss.add(error * error / 2, part);
    const torch::Tensor loss = torch::full({}, folds_->loss.total()) / static_cast<double>(batch_);
    if (part.last()) {
      loss_ = loss.item<float>();
      add(parameters_.weight, folds_->weight.total());
      add(parameters_.bias, torch::full({1}, folds_->bias.total()));
    }
    return {loss, std::nullopt};
  }

  void add(torch::Tensor& parameter, const torch::Tensor& sum) {
    const torch::Tensor part = reduction_ == LossReduction::mean ? sum / batch_ : sum;
    torch::Tensor& gradient = parameter.mutable_grad();
    gradient = gradient.defined() ? gradient + part : part.to(parameter.device());
  }

  torch::Tensor mean_gradient(const torch::Tensor& gradient) const {
    return reduction_ == LossReduction::mean ? gradient : gradient / batch_;
  }

  struct Folds {
    explicit Folds(std::int64_t columns) : weight(columns) {}
    ProductFold weight;
    ValueFold bias, loss;
  };

  Parameters parameters_;
  double learning_rate_;
  std::int64_t batch_ = 1;
  std::optional<Folds> folds_;  // of the global batch, in the invariant mode
};

class Linear final : public RegressionTask {
 public:
  Linear(std::int64_t columns, LossReduction reduction, double learning_rate, std::uint64_t seed)
      : RegressionTask(reduction), linear_(columns, 1), sgd_(linear_->parameters(), learning_rate) {
    initialize_parameters(*linear_, seed);
  }

  torch::nn::Module& module() override { return *linear_; }
  torch::optim::Optimizer* optimizer() override { return &sgd_; }

  PartResult accumulate(const MicroBatch& part) override {
    predictions_ = linear_->forward(part.field("x")).squeeze(1);  // [B]
    batch_ = part.global_rows;
    if (part.invariant) return accumulate_in_order(part);
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

 protected:
  float half_of_mean(float accumulated) const override {
    return reduction_ == LossReduction::mean ? accumulated / 2 : accumulated / 2 / static_cast<float>(batch_);
  }

 private:
  PartResult accumulate_in_order(const MicroBatch& part) {
    const auto reduction = reduction_ == LossReduction::mean ? at::Reduction::Mean : at::Reduction::Sum;
    const torch::Tensor loss = torch::mse_loss(predictions_, part.field("y"), reduction) / 2;
    loss.backward();
    return {loss, std::nullopt};
  }

  torch::nn::Linear linear_;
  Sgd sgd_;
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
                                             double learning_rate, std::uint64_t seed) {
  return std::make_unique<Scratch>(columns, reduction, learning_rate, seed);
}

std::unique_ptr<RegressionTask> make_module(std::int64_t columns, LossReduction reduction,
                                            double learning_rate, std::uint64_t seed) {
  return std::make_unique<Linear>(columns, reduction, learning_rate, seed);
}

}  // namespace lockstep::trainers
