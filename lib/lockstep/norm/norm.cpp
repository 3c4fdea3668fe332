#include "lockstep/norm/norm.h"

#include <cmath>
#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/norm/norm_internal.h"
#include "lockstep/order/column_fold_internal.h"

namespace lockstep {
namespace {

/// The checks of one call, in the words of its operation.
class Check {
 public:
  explicit Check(const char* operation) : operation_(operation) {}

  void extent(const char* name, std::int64_t value, std::int64_t least = 0) const {
    internal::check_extent(operation_, name, value, least);
  }
  void eps(double value) const {
    if (!(value >= 0) || std::isinf(value))
      refuse("eps", "a finite number, 0 or more", std::to_string(value));
  }
  void memory(const char* name, const void* data, std::int64_t elements) const {
    internal::check_memory(operation_, name, data, elements);
  }
  void groups(std::int64_t channels, std::int64_t count) const {
    extent("groups", count, 1);
    if (channels % count != 0)
      refuse("groups", "a divisor of " + std::to_string(channels) + " channels", std::to_string(count));
  }
  void span(const order::FoldSpan& span) const {
    extent("span.first_row", span.first_row);
    extent("span.rows", span.rows);
  }
  template <class T>
  void fold(const char* name, const BasicNormFold<T>& fold, const order::FoldSpan& span,
            std::int64_t features) const {
    if (fold.total == nullptr || fold.open != nullptr || features == 0 || !order::needs_open_partial(span))
      return;
    refuse(std::string(name) + ".open", "memory, since the span's cuts leave a chunk open", "a null pointer");
  }
  template <class T>
  void scratch(const void* scratch, std::int64_t features, const BasicNormFold<T>& dgamma,
               const BasicNormFold<T>& dbeta, const order::FoldSpan& span, Device device) const {
    if (device == Device::cpu || scratch != nullptr) return;
    if (dgamma.total == nullptr && dbeta.total == nullptr) return;
    const std::int64_t bytes = scratch_bytes(features, span);
    if (bytes > 0)
      refuse("scratch", "memory of " + std::to_string(bytes) + " bytes on the device", "a null pointer");
  }
  std::int64_t scratch_bytes(std::int64_t features, const order::FoldSpan& of) const {
    extent("features", features);
    span(of);
    return order::fold_scratch_partials(features, of) * static_cast<std::int64_t>(sizeof(norm::FoldPartials));
  }
  template <class T>
  void device_of_rows(Device device) const {
    internal::check_device_of<T>(operation_, device);
  }
  [[noreturn]] void refuse(std::string what, std::string expected, std::string got) const {
    internal::refuse(operation_, std::move(what), std::move(expected), std::move(got));
  }

 private:
  const char* operation_;
};

template <class T>
bool is_wanted(const BasicNormFold<T>& fold) {
  return fold.total != nullptr;
}

// ---- What is computed, after all checks

template <class T>
void run_rows(const norm::BasicRows<T>& call, std::int64_t rows, Device device, void* stream) {
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return norm::rows_cuda(call, rows, stream);
  }
  norm::rows_cpu(call, rows);
}

template <class T>
void run_rows_backward(const norm::BasicRowsBackward<T>& call, const BasicNormFold<T>& dgamma,
                       const BasicNormFold<T>& dbeta, const order::FoldSpan& span, Device device,
                       void* stream) {
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return norm::rows_backward_cuda(call, dgamma, dbeta, span, stream);
  }
  norm::rows_backward_cpu(call, dgamma, dbeta, span);
}

// Each call checked, then computed.
namespace checked {

template <class T>
void layer_norm(const BasicLayerNorm<T>& call, Device device, void* stream) {
  const Check check("layer_norm");
  check.extent("rows", call.rows);
  check.extent("features", call.features);
  check.eps(call.eps);
  check.memory("x", call.x, call.rows * call.features);
  check.memory("y", call.y, call.rows * call.features);
  check.device_of_rows<T>(device);
  run_rows(norm::BasicRows<T>{call.x, call.gamma, call.beta, call.y, call.mean, call.rstd, call.features, 1,
                              call.features, static_cast<T>(call.eps), true, 0},
           call.rows, device, stream);
}

template <class T>
void layer_norm_backward(const BasicLayerNormBackward<T>& call, Device device, void* stream) {
  const Check check("layer_norm_backward");
  check.span(call.span);
  check.extent("features", call.features);
  const std::int64_t elements = call.span.rows * call.features;
  check.memory("dy", call.dy, elements);
  if (call.dx != nullptr || is_wanted(call.dgamma)) {
    check.memory("x", call.x, elements);
    check.memory("mean", call.mean, call.span.rows);
    check.memory("rstd", call.rstd, call.span.rows);
  }
  check.fold("dgamma", call.dgamma, call.span, call.features);
  check.fold("dbeta", call.dbeta, call.span, call.features);
  check.device_of_rows<T>(device);
  check.scratch(call.scratch, call.features, call.dgamma, call.dbeta, call.span, device);
  run_rows_backward(norm::BasicRowsBackward<T>{call.dy, call.x, call.mean, call.rstd, call.gamma, call.dx,
                                               call.features, 1, call.features, true, 0, call.scratch},
                    call.dgamma, call.dbeta, call.span, device, stream);
}

template <class T>
void rms_norm(const BasicRmsNorm<T>& call, Device device, void* stream) {
  const Check check("rms_norm");
  check.extent("rows", call.rows);
  check.extent("features", call.features);
  check.eps(call.eps);
  check.memory("x", call.x, call.rows * call.features);
  check.memory("y", call.y, call.rows * call.features);
  check.device_of_rows<T>(device);
  run_rows(norm::BasicRows<T>{call.x, call.gamma, nullptr, call.y, nullptr, call.rstd, call.features, 1,
                              call.features, static_cast<T>(call.eps), false, 0},
           call.rows, device, stream);
}

template <class T>
void rms_norm_backward(const BasicRmsNormBackward<T>& call, Device device, void* stream) {
  const Check check("rms_norm_backward");
  check.span(call.span);
  check.extent("features", call.features);
  const std::int64_t elements = call.span.rows * call.features;
  check.memory("dy", call.dy, elements);
  check.memory("x", call.x, elements);
  check.memory("rstd", call.rstd, call.span.rows);
  check.fold("dgamma", call.dgamma, call.span, call.features);
  check.device_of_rows<T>(device);
  check.scratch(call.scratch, call.features, call.dgamma, {}, call.span, device);
  run_rows_backward(norm::BasicRowsBackward<T>{call.dy, call.x, nullptr, call.rstd, call.gamma, call.dx,
                                               call.features, 1, call.features, false, 0, call.scratch},
                    call.dgamma, BasicNormFold<T>{}, call.span, device, stream);
}

template <class T>
void group_norm(const BasicGroupNorm<T>& call, Device device, void* stream) {
  const Check check("group_norm");
  check.extent("samples", call.samples);
  check.extent("channels", call.channels);
  check.extent("pixels", call.pixels);
  check.groups(call.channels, call.groups);
  check.eps(call.eps);
  check.memory("x", call.x, call.samples * call.channels * call.pixels);
  check.memory("y", call.y, call.samples * call.channels * call.pixels);
  check.device_of_rows<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return norm::group_norm_cuda(call, stream);
  }
  norm::group_norm_cpu(call);
}

template <class T>
void group_norm_backward(const BasicGroupNormBackward<T>& call, Device device, void* stream) {
  const Check check("group_norm_backward");
  check.extent("samples", call.samples);
  check.extent("channels", call.channels);
  check.extent("pixels", call.pixels);
  check.groups(call.channels, call.groups);
  check.span(call.span);
  if (call.span.rows != call.samples * call.pixels)
    check.refuse("span.rows", "samples · pixels, " + std::to_string(call.samples * call.pixels),
                 std::to_string(call.span.rows));
  const std::int64_t elements = call.span.rows * call.channels;
  check.memory("dy", call.dy, elements);
  if (call.dx != nullptr || is_wanted(call.dgamma)) {
    check.memory("x", call.x, elements);
    check.memory("mean", call.mean, call.samples * call.groups);
    check.memory("rstd", call.rstd, call.samples * call.groups);
  }
  check.fold("dgamma", call.dgamma, call.span, call.channels);
  check.fold("dbeta", call.dbeta, call.span, call.channels);
  check.device_of_rows<T>(device);
  check.scratch(call.scratch, call.channels, call.dgamma, call.dbeta, call.span, device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return norm::group_norm_backward_cuda(call, stream);
  }
  norm::group_norm_backward_cpu(call);
}

}  // namespace checked

}  // namespace

std::int64_t norm_backward_scratch_bytes(std::int64_t features, const order::FoldSpan& span) {
  return Check("norm_backward_scratch_bytes").scratch_bytes(features, span);
}

void layer_norm(const LayerNorm& call, Device device, void* stream) {
  checked::layer_norm(call, device, stream);
}
void layer_norm_backward(const LayerNormBackward& call, Device device, void* stream) {
  checked::layer_norm_backward(call, device, stream);
}
void rms_norm(const RmsNorm& call, Device device, void* stream) { checked::rms_norm(call, device, stream); }
void rms_norm_backward(const RmsNormBackward& call, Device device, void* stream) {
  checked::rms_norm_backward(call, device, stream);
}
void group_norm(const GroupNorm& call, Device device, void* stream) {
  checked::group_norm(call, device, stream);
}
void group_norm_backward(const GroupNormBackward& call, Device device, void* stream) {
  checked::group_norm_backward(call, device, stream);
}

void layer_norm(const LayerNorm64& call, Device device, void* stream) {
  checked::layer_norm(call, device, stream);
}
void layer_norm_backward(const LayerNormBackward64& call, Device device, void* stream) {
  checked::layer_norm_backward(call, device, stream);
}
void rms_norm(const RmsNorm64& call, Device device, void* stream) { checked::rms_norm(call, device, stream); }
void rms_norm_backward(const RmsNormBackward64& call, Device device, void* stream) {
  checked::rms_norm_backward(call, device, stream);
}
void group_norm(const GroupNorm64& call, Device device, void* stream) {
  checked::group_norm(call, device, stream);
}
void group_norm_backward(const GroupNormBackward64& call, Device device, void* stream) {
  checked::group_norm_backward(call, device, stream);
}

}  // namespace lockstep
