#include "lockstep/optimizer/optimizer.h"

#include <cmath>
#include <string>
#include <vector>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/optimizer/optimizer_cuda_internal.h"
#include "lockstep/optimizer/optimizer_internal.h"

namespace lockstep {
namespace {

[[noreturn]] void refuse(const char* where, std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument, {where, std::move(what), std::move(expected), std::move(got), {}});
}

void check_not_negative(const char* where, const char* what, double value) {
  if (!(value >= 0) || std::isinf(value))
    refuse(where, what, "a finite number, 0 or more", std::to_string(value));
}

void check_beta(const char* where, const char* what, double beta) {
  if (!(beta >= 0 && beta < 1)) refuse(where, what, "at least 0 and below 1", std::to_string(beta));
}

/// Refuses a count or an array that cannot be read.
void check_array(const char* where, std::size_t index, const char* name, const void* data,
                 std::int64_t count) {
  const std::string what = "parameters[" + std::to_string(index) + "]." + name;
  if (count < 0)
    refuse(where, "parameters[" + std::to_string(index) + "].count", "0 or more", std::to_string(count));
  if (data == nullptr && count > 0)
    refuse(where, what, std::to_string(count) + " elements of memory", "a null pointer");
}

void check(std::span<const SgdParameter> parameters, const SgdOptions& options) {
  check_not_negative("sgd", "lr", options.lr);
  check_not_negative("sgd", "momentum", options.momentum);
  check_not_negative("sgd", "weight_decay", options.weight_decay);
  if (!std::isfinite(options.dampening))
    refuse("sgd", "dampening", "a finite number", std::to_string(options.dampening));
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0))
    refuse(
        "sgd", "nesterov", "momentum above 0 and dampening 0",
        "momentum " + std::to_string(options.momentum) + ", dampening " + std::to_string(options.dampening));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const SgdParameter& p = parameters[i];
    check_array("sgd", i, "parameter", p.parameter, p.count);
    check_array("sgd", i, "gradient", p.gradient, p.count);
    if (options.momentum != 0) check_array("sgd", i, "momentum", p.momentum, p.count);
  }
}

void check(std::span<const AdamParameter> parameters, const AdamOptions& options, std::int64_t step) {
  check_not_negative("adam", "lr", options.lr);
  check_not_negative("adam", "eps", options.eps);
  check_not_negative("adam", "weight_decay", options.weight_decay);
  check_beta("adam", "beta1", options.beta1);
  check_beta("adam", "beta2", options.beta2);
  if (step < 1) refuse("adam", "step", "1 or more", std::to_string(step));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const AdamParameter& p = parameters[i];
    check_array("adam", i, "parameter", p.parameter, p.count);
    check_array("adam", i, "gradient", p.gradient, p.count);
    check_array("adam", i, "mean", p.mean, p.count);
    check_array("adam", i, "square", p.square, p.count);
    if (options.amsgrad) check_array("adam", i, "largest_square", p.largest_square, p.count);
  }
}

template <class Element>
void check_gradients(const char* where, std::span<const std::span<Element>> gradients) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].data() == nullptr && !gradients[i].empty())
      refuse(where, "gradients[" + std::to_string(i) + "]", "elements of memory", "a null pointer");
  }
}

/// Whether the CUDA form is meant.
bool is_cuda(const char* where, Device device) {
  internal::check_any_device(where, device);
  return device == Device::cuda;
}

/// For the forms that return a number: on a CUDA device they would have to wait for it.
void check_cpu(const char* where, Device device) {
  if (is_cuda(where, device))
    fail(ErrorCode::unsupported,
         {where, "device", "Device::cpu", "Device::cuda", "Take the form that writes the norm to memory."});
}

void check_max_norm(const char* where, float max_norm) {
  if (!(max_norm >= 0)) refuse(where, "max_norm", "0 or more", std::to_string(max_norm));
}

void check_norm(const char* where, const float* norm, const float* scratch, std::int64_t elements) {
  if (norm == nullptr) refuse(where, "norm", "memory of one element", "a null pointer");
  if (scratch == nullptr && elements > 0)
    refuse(where, "scratch", std::to_string(elements) + " elements of memory on the device",
           "a null pointer");
}

/// Scratch: the sums of all gradients, then the partials of each.
template <class Element>
std::vector<optimizer::GradientArray> arrays_of(std::span<const std::span<Element>> gradients,
                                                float* scratch) {
  std::vector<optimizer::GradientArray> arrays;
  float* partials = scratch + gradients.size();
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const auto count = static_cast<std::int64_t>(gradients[i].size());
    // A norm only reads.
    arrays.push_back({const_cast<float*>(gradients[i].data()), count, partials, scratch + i});  // NOLINT
    partials += optimizer::norm_blocks(count);
  }
  return arrays;
}

template <class Element>
std::int64_t scratch_elements(std::span<const std::span<Element>> gradients) {
  auto elements = static_cast<std::int64_t>(gradients.size());
  for (const auto& gradient : gradients)
    elements += optimizer::norm_blocks(static_cast<std::int64_t>(gradient.size()));
  return elements;
}

}  // namespace

double bias_correction(double beta, std::int64_t step) {
  check_beta("bias_correction", "beta", beta);
  if (step < 0) refuse("bias_correction", "step", "0 or more", std::to_string(step));
  const FloatMode mode;
  constexpr double kUnseen = 0x1p-60;  // powers below are lost beside 1, and so are all that follow
  double power = 1;
  for (std::int64_t i = 0; i < step && power >= kUnseen; ++i) power = power * beta;
  return 1 - power;
}

namespace optimizer {

SgdFactors<float> sgd_factors(const SgdOptions& options) {
  const FloatMode mode;
  SgdFactors<float> factors;
  factors.minus_lr = static_cast<float>(-options.lr);
  factors.momentum = static_cast<float>(options.momentum);
  factors.take = static_cast<float>(1 - options.dampening);
  factors.weight_decay = static_cast<float>(options.weight_decay);
  factors.nesterov = options.nesterov;
  factors.maximize = options.maximize;
  return factors;
}

AdamFactors<float> adam_factors(const AdamOptions& options, std::int64_t step) {
  const FloatMode mode;
  AdamFactors<float> factors;
  factors.minus_step_size = static_cast<float>(-(options.lr / bias_correction(options.beta1, step)));
  factors.root_of_correction = static_cast<float>(std::sqrt(bias_correction(options.beta2, step)));
  factors.mean_weight = static_cast<float>(1 - options.beta1);
  factors.beta2 = static_cast<float>(options.beta2);
  factors.square_take = static_cast<float>(1 - options.beta2);
  factors.eps = static_cast<float>(options.eps);
  factors.maximize = options.maximize;
  if (options.decoupled_weight_decay)
    factors.keep = static_cast<float>(1 - options.lr * options.weight_decay);
  else
    factors.weight_decay = static_cast<float>(options.weight_decay);
  return factors;
}

}  // namespace optimizer

void sgd(std::span<const SgdParameter> parameters, const SgdOptions& options, Device device, void* stream) {
  check(parameters, options);
  const auto factors = optimizer::sgd_factors(options);
  if (is_cuda("sgd", device))
    return optimizer::sgd_cuda(parameters.data(), parameters.size(), factors, stream);
  optimizer::sgd_cpu(parameters, factors);
}

void adam(std::span<const AdamParameter> parameters, const AdamOptions& options, std::int64_t step,
          Device device, void* stream) {
  check(parameters, options, step);
  const auto factors = optimizer::adam_factors(options, step);
  if (is_cuda("adam", device))
    return optimizer::adam_cuda(parameters.data(), parameters.size(), factors, options.amsgrad, stream);
  optimizer::adam_cpu(parameters, factors, options.amsgrad);
}

float gradient_norm(std::span<const std::span<const float>> gradients, Device device, void*) {
  check_gradients("gradient_norm", gradients);
  check_cpu("gradient_norm", device);
  return optimizer::gradient_norm_cpu(gradients);
}

std::int64_t gradient_norm_scratch_elements(std::span<const std::span<const float>> gradients) {
  return scratch_elements(gradients);
}

void gradient_norm(std::span<const std::span<const float>> gradients, float* norm, float* scratch,
                   Device device, void* stream) {
  const char* const where = "gradient_norm";
  check_gradients(where, gradients);
  const bool cuda = is_cuda(where, device);
  check_norm(where, norm, scratch, cuda ? scratch_elements(gradients) : 0);
  if (!cuda) {
    *norm = optimizer::gradient_norm_cpu(gradients);
    return;
  }
  const auto arrays = arrays_of(gradients, scratch);
  optimizer::gradient_norm_cuda(arrays.data(), arrays.size(), scratch, norm, stream);
}

float clip_factor(float norm, float max_norm) {
  check_max_norm("clip_factor", max_norm);
  const FloatMode mode;
  return optimizer::clip_factor(norm, max_norm);
}

float clip_gradient_norm(std::span<const std::span<float>> gradients, float max_norm, Device device, void*) {
  check_cpu("clip_gradient_norm", device);
  float norm = 0;
  clip_gradient_norm(gradients, max_norm, &norm, nullptr, device);
  return norm;
}

void clip_gradient_norm(std::span<const std::span<float>> gradients, float max_norm, float* norm,
                        float* scratch, Device device, void* stream) {
  const char* const where = "clip_gradient_norm";
  check_gradients(where, gradients);
  check_max_norm(where, max_norm);
  const bool cuda = is_cuda(where, device);
  check_norm(where, norm, scratch, cuda ? scratch_elements(gradients) : 0);
  if (!cuda) {
    *norm =
        optimizer::gradient_norm_cpu(std::vector<std::span<const float>>(gradients.begin(), gradients.end()));
    return optimizer::scale_cpu(gradients, clip_factor(*norm, max_norm));
  }
  const auto arrays = arrays_of(gradients, scratch);
  optimizer::gradient_norm_cuda(arrays.data(), arrays.size(), scratch, norm, stream);
  optimizer::clip_cuda(arrays.data(), arrays.size(), norm, max_norm, stream);
}

}  // namespace lockstep
