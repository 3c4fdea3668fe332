#include "lockstep/pool/pool.h"

#include <string>
#include <utility>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/pool/pool_internal.h"

namespace lockstep {
namespace {

/// The checks of one call, in the words of its operation.
class Check {
 public:
  explicit Check(const char* operation) : operation_(operation) {}

  void extent(const std::string& name, std::int64_t value, std::int64_t least = 0) const {
    internal::check_extent(operation_, name.c_str(), value, least);
  }
  void axes(const PoolAxis& h, const PoolAxis& w) const {
    axis("h.", h);
    axis("w.", w);
  }
  void no_dilation(const PoolAxis& h, const PoolAxis& w) const {
    if (h.dilation != 1 || w.dilation != 1)
      refuse("dilation", "1", std::to_string(h.dilation == 1 ? w.dilation : h.dilation));
  }
  void memory(const char* name, const void* data, std::int64_t elements) const {
    internal::check_memory(operation_, name, data, elements);
  }
  template <class T>
  void device(Device device) const {
    internal::check_device_of<T>(operation_, device);
  }

 private:
  void axis(const std::string& name, const PoolAxis& axis) const {
    extent(name + "in", axis.in, 1);
    extent(name + "kernel", axis.kernel, 1);
    extent(name + "stride", axis.stride, 1);
    extent(name + "pad", axis.pad);
    extent(name + "dilation", axis.dilation, 1);
    const std::int64_t span = axis.dilation * (axis.kernel - 1) + 1;
    if (axis.pad > span / 2)
      refuse(name + "pad", "at most half of the window's " + std::to_string(span), std::to_string(axis.pad));
    if (axis.out() < 1)
      refuse(name + "kernel",
             "a window that fits the padded image of " + std::to_string(axis.in + 2 * axis.pad),
             "one of " + std::to_string(span) + " with its dilation");
  }
  [[noreturn]] void refuse(std::string what, std::string expected, std::string got) const {
    internal::refuse(operation_, std::move(what), std::move(expected), std::move(got));
  }

  const char* operation_;
};

std::vector<pool::Window> windows_of(const pool::AverageAxis& a) {
  std::vector<pool::Window> all;
  for (std::int64_t i = 0; i < a.out; ++i)
    all.push_back(a.is_adaptive ? pool::adaptive_window_of(a.axis.in, a.out, i)
                                : pool::window_of(a.axis, i, a.count_include_pad));
  return all;
}

pool::Averages averages_of(const pool::AverageProblem& p) {
  return {p.planes, p.h.axis.in, p.w.axis.in, windows_of(p.h), windows_of(p.w), p.divisor};
}

template <class Call>
pool::AverageProblem averages(const Check& check, const Call& call) {
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.no_dilation(call.h, call.w);
  check.extent("divisor", call.divisor);
  return {call.planes,
          {call.h, call.h.out(), false, call.count_include_pad},
          {call.w, call.w.out(), false, call.count_include_pad},
          call.divisor};
}

template <class Call>
pool::AverageProblem adaptive(const Check& check, const Call& call) {
  check.extent("planes", call.planes);
  check.extent("in_h", call.in_h, 1);
  check.extent("in_w", call.in_w, 1);
  check.extent("out_h", call.out_h, 1);
  check.extent("out_w", call.out_w, 1);
  return {call.planes, {PoolAxis{call.in_h}, call.out_h, true}, {PoolAxis{call.in_w}, call.out_w, true}, 0};
}

std::int64_t in_elements(const pool::AverageProblem& p) { return p.planes * p.h.axis.in * p.w.axis.in; }
std::int64_t out_elements(const pool::AverageProblem& p) { return p.planes * p.h.out * p.w.out; }

template <class T>
void forward(const Check& check, const pool::AverageProblem& p, const T* x, T* y, Device device,
             void* stream) {
  check.memory("x", x, in_elements(p));
  check.memory("y", y, out_elements(p));
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return pool::average_cuda(p, x, y, stream);
  }
  pool::average_cpu(averages_of(p), x, y);
}

template <class T>
void backward(const Check& check, const pool::AverageProblem& p, const T* dy, T* dx, Device device,
              void* stream) {
  check.memory("dy", dy, out_elements(p));
  check.memory("dx", dx, in_elements(p));
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return pool::average_backward_cuda(p, dy, dx, stream);
  }
  pool::average_backward_cpu(averages_of(p), dy, dx);
}

// Each call checked, then computed.
namespace checked {

template <class T>
void max_pool(const BasicMaxPool<T>& call, Device device, void* stream) {
  const Check check("max_pool");
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.memory("x", call.x, call.planes * call.h.in * call.w.in);
  check.memory("y", call.y, call.planes * call.h.out() * call.w.out());
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return pool::max_pool_cuda(call, stream);
  }
  pool::max_pool_cpu(call);
}

template <class T>
void max_pool_backward(const BasicMaxPoolBackward<T>& call, Device device, void* stream) {
  const Check check("max_pool_backward");
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.memory("dy", call.dy, call.planes * call.h.out() * call.w.out());
  check.memory("indices", call.indices, call.planes * call.h.out() * call.w.out());
  check.memory("dx", call.dx, call.planes * call.h.in * call.w.in);
  check.device<T>(device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return pool::max_pool_backward_cuda(call, stream);
  }
  pool::max_pool_backward_cpu(call);
}

template <class T>
void average_pool(const BasicAveragePool<T>& call, Device device, void* stream) {
  const Check check("average_pool");
  forward(check, averages(check, call), call.x, call.y, device, stream);
}

template <class T>
void average_pool_backward(const BasicAveragePoolBackward<T>& call, Device device, void* stream) {
  const Check check("average_pool_backward");
  backward(check, averages(check, call), call.dy, call.dx, device, stream);
}

template <class T>
void adaptive_average_pool(const BasicAdaptiveAveragePool<T>& call, Device device, void* stream) {
  const Check check("adaptive_average_pool");
  forward(check, adaptive(check, call), call.x, call.y, device, stream);
}

template <class T>
void adaptive_average_pool_backward(const BasicAdaptiveAveragePoolBackward<T>& call, Device device,
                                    void* stream) {
  const Check check("adaptive_average_pool_backward");
  backward(check, adaptive(check, call), call.dy, call.dx, device, stream);
}

}  // namespace checked

}  // namespace

void max_pool(const MaxPool& call, Device device, void* stream) { checked::max_pool(call, device, stream); }
void max_pool_backward(const MaxPoolBackward& call, Device device, void* stream) {
  checked::max_pool_backward(call, device, stream);
}
void average_pool(const AveragePool& call, Device device, void* stream) {
  checked::average_pool(call, device, stream);
}
void average_pool_backward(const AveragePoolBackward& call, Device device, void* stream) {
  checked::average_pool_backward(call, device, stream);
}
void adaptive_average_pool(const AdaptiveAveragePool& call, Device device, void* stream) {
  checked::adaptive_average_pool(call, device, stream);
}
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward& call, Device device, void* stream) {
  checked::adaptive_average_pool_backward(call, device, stream);
}

void max_pool(const MaxPool64& call, Device device, void* stream) { checked::max_pool(call, device, stream); }
void max_pool_backward(const MaxPoolBackward64& call, Device device, void* stream) {
  checked::max_pool_backward(call, device, stream);
}
void average_pool(const AveragePool64& call, Device device, void* stream) {
  checked::average_pool(call, device, stream);
}
void average_pool_backward(const AveragePoolBackward64& call, Device device, void* stream) {
  checked::average_pool_backward(call, device, stream);
}
void adaptive_average_pool(const AdaptiveAveragePool64& call, Device device, void* stream) {
  checked::adaptive_average_pool(call, device, stream);
}
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward64& call, Device device, void* stream) {
  checked::adaptive_average_pool_backward(call, device, stream);
}

void pool::refuse_index(std::int64_t index, std::int64_t pixels) {
  internal::refuse("max_pool_backward", "indices",
                   "a pixel of the plane, 0 … " + std::to_string(pixels - 1) + ", or -1",
                   std::to_string(index));
}

}  // namespace lockstep
