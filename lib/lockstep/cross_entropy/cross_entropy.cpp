#include "lockstep/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/error.h"
#include "lockstep/cross_entropy/cross_entropy_internal.h"

namespace lockstep {
namespace {

[[noreturn]] void refuse(const char* where, std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument, {where, std::move(what), std::move(expected), std::move(got), {}});
}

void check_pointer(const char* where, const char* what, const void* pointer, std::int64_t elements) {
  if (pointer == nullptr && elements > 0)
    refuse(where, what, "memory of " + std::to_string(elements) + " elements", "a null pointer");
}

template <class T>
void check_classes(const char* where, const BasicClassTargets<T>& of) {
  if (of.rows < 0) refuse(where, "rows", "0 or more", std::to_string(of.rows));
  if (of.classes < 0) refuse(where, "classes", "0 or more", std::to_string(of.classes));
  if (!(of.label_smoothing >= 0 && of.label_smoothing <= 1))
    refuse(where, "label_smoothing", "0 to 1", std::to_string(of.label_smoothing));
  check_pointer(where, "targets", of.targets, of.rows);
}

/// Checks every target, and counts those that are not ignored.
template <class T>
std::int64_t count(const char* where, const BasicClassTargets<T>& of) {
  check_classes(where, of);
  std::int64_t counted = 0;
  for (std::int64_t r = 0; r < of.rows; ++r) {
    const std::int64_t target = of.targets[r];
    if (target == of.ignore_index) continue;
    if (target < 0 || target >= of.classes)
      refuse(where, "targets[" + std::to_string(r) + "]",
             "a class 0 to " + std::to_string(of.classes - 1) + ", or " + std::to_string(of.ignore_index) +
                 " to ignore the row",
             std::to_string(target));
    ++counted;
  }
  return counted;
}

template <class T>
void check(const char* where, const BasicClassTargets<T>& targets, Device device) {
  internal::check_device_of<T>(where, device);
  if (device == Device::cpu)
    count(where, targets);
  else
    check_classes(where, targets);  // the host cannot read the targets
}

// ---- What is computed, after all checks

template <class T>
void forward(const BasicClassTargets<T>& targets, const cross_entropy_internal::BasicForward<T>& to,
             Device device, void* stream) {
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return cross_entropy_internal::forward_cuda(targets, to, stream);
  }
  cross_entropy_internal::forward_cpu(targets, to);
}

template <class T>
void backward(const BasicClassTargets<T>& targets, const cross_entropy_internal::BasicBackward<T>& from,
              Device device, void* stream) {
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return cross_entropy_internal::backward_cuda(targets, from, stream);
  }
  cross_entropy_internal::backward_cpu(targets, from);
}

template <class T>
void weights_of_targets(const BasicClassTargets<T>& targets, T* weights) {
  for (std::int64_t r = 0; r < targets.rows; ++r) {
    const std::int64_t target = targets.targets[r];
    const T of_class =
        target != targets.ignore_index && targets.weight != nullptr ? targets.weight[target] : T(1);
    weights[r] = target == targets.ignore_index ? T(0) : of_class;
  }
}

// Each call checked, then computed.
namespace checked {

template <class T>
void nll(const T* log_probabilities, const BasicClassTargets<T>& targets, T* loss, Device device,
         void* stream) {
  check("nll", targets, device);
  check_pointer("nll", "log_probabilities", log_probabilities, targets.rows * targets.classes);
  check_pointer("nll", "loss", loss, targets.rows);
  forward(targets, cross_entropy_internal::BasicForward<T>{log_probabilities, loss, nullptr, nullptr}, device,
          stream);
}

template <class T>
void nll_backward(const BasicClassTargets<T>& targets, const BasicRowGradients<T>& gradients,
                  T* log_probabilities_gradient, Device device, void* stream) {
  check("nll_backward", targets, device);
  check_pointer("nll_backward", "log_probabilities_gradient", log_probabilities_gradient,
                targets.rows * targets.classes);
  backward(targets,
           cross_entropy_internal::BasicBackward<T>{nullptr, nullptr, nullptr, gradients,
                                                    log_probabilities_gradient},
           device, stream);
}

template <class T>
void cross_entropy(const T* logits, const BasicClassTargets<T>& targets, T* loss, T* row_max, T* row_log_sum,
                   Device device, void* stream) {
  check("cross_entropy", targets, device);
  check_pointer("cross_entropy", "logits", logits, targets.rows * targets.classes);
  check_pointer("cross_entropy", "loss", loss, targets.rows);
  check_pointer("cross_entropy", "row_max", row_max, targets.rows);
  check_pointer("cross_entropy", "row_log_sum", row_log_sum, targets.rows);
  forward(targets, cross_entropy_internal::BasicForward<T>{logits, loss, row_max, row_log_sum}, device,
          stream);
}

template <class T>
void cross_entropy_backward(const T* logits, const BasicClassTargets<T>& targets, const T* row_max,
                            const T* row_log_sum, const BasicRowGradients<T>& gradients, T* logits_gradient,
                            Device device, void* stream) {
  const char* const where = "cross_entropy_backward";
  check(where, targets, device);
  const std::int64_t elements = targets.rows * targets.classes;
  check_pointer(where, "logits", logits, elements);
  check_pointer(where, "row_max", row_max, targets.rows);
  check_pointer(where, "row_log_sum", row_log_sum, targets.rows);
  check_pointer(where, "logits_gradient", logits_gradient, elements);
  if (elements > 0)
    backward(
        targets,
        cross_entropy_internal::BasicBackward<T>{logits, row_max, row_log_sum, gradients, logits_gradient},
        device, stream);
}

template <class T>
void target_weights(const BasicClassTargets<T>& targets, T* weights, Device device, void* stream) {
  check("target_weights", targets, device);
  check_pointer("target_weights", "weights", weights, targets.rows);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return cross_entropy_internal::target_weights_cuda(targets, weights, stream);
  }
  weights_of_targets(targets, weights);
}

}  // namespace checked

}  // namespace

void nll(const float* log_probabilities, const ClassTargets& targets, float* loss, Device device,
         void* stream) {
  checked::nll(log_probabilities, targets, loss, device, stream);
}

void nll_backward(const ClassTargets& targets, const RowGradients& gradients,
                  float* log_probabilities_gradient, Device device, void* stream) {
  checked::nll_backward(targets, gradients, log_probabilities_gradient, device, stream);
}

void cross_entropy(const float* logits, const ClassTargets& targets, float* loss, float* row_max,
                   float* row_log_sum, Device device, void* stream) {
  checked::cross_entropy(logits, targets, loss, row_max, row_log_sum, device, stream);
}

void cross_entropy_backward(const float* logits, const ClassTargets& targets, const float* row_max,
                            const float* row_log_sum, const RowGradients& gradients, float* logits_gradient,
                            Device device, void* stream) {
  checked::cross_entropy_backward(logits, targets, row_max, row_log_sum, gradients, logits_gradient, device,
                                  stream);
}

std::int64_t counted_targets(const ClassTargets& targets) { return count("counted_targets", targets); }

void target_weights(const ClassTargets& targets, float* weights, Device device, void* stream) {
  checked::target_weights(targets, weights, device, stream);
}

float loss_scale(std::int64_t count) {
  if (count <= 0)
    refuse("loss_scale", "count", "1 or more targets that are not ignored", std::to_string(count));
  return static_cast<float>(1.0 / static_cast<double>(count));
}

// ---- float64

void nll(const double* log_probabilities, const ClassTargets64& targets, double* loss, Device device,
         void* stream) {
  checked::nll(log_probabilities, targets, loss, device, stream);
}

void nll_backward(const ClassTargets64& targets, const RowGradients64& gradients,
                  double* log_probabilities_gradient, Device device, void* stream) {
  checked::nll_backward(targets, gradients, log_probabilities_gradient, device, stream);
}

void cross_entropy(const double* logits, const ClassTargets64& targets, double* loss, double* row_max,
                   double* row_log_sum, Device device, void* stream) {
  checked::cross_entropy(logits, targets, loss, row_max, row_log_sum, device, stream);
}

void cross_entropy_backward(const double* logits, const ClassTargets64& targets, const double* row_max,
                            const double* row_log_sum, const RowGradients64& gradients,
                            double* logits_gradient, Device device, void* stream) {
  checked::cross_entropy_backward(logits, targets, row_max, row_log_sum, gradients, logits_gradient, device,
                                  stream);
}

std::int64_t counted_targets(const ClassTargets64& targets) { return count("counted_targets", targets); }

void target_weights(const ClassTargets64& targets, double* weights, Device device, void* stream) {
  checked::target_weights(targets, weights, device, stream);
}

}  // namespace lockstep
