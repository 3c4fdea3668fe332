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
  void device(Device device) const { internal::check_device(operation_, device); }

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

std::vector<pool::Window> windows(const PoolAxis& axis, bool count_include_pad) {
  std::vector<pool::Window> all;
  for (std::int64_t i = 0; i < axis.out(); ++i) all.push_back(pool::window_of(axis, i, count_include_pad));
  return all;
}

std::vector<pool::Window> adaptive_windows(std::int64_t in, std::int64_t out) {
  std::vector<pool::Window> all;
  for (std::int64_t i = 0; i < out; ++i) all.push_back(pool::adaptive_window_of(in, out, i));
  return all;
}

template <class Call>
pool::Averages averages(const Check& check, const Call& call) {
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.no_dilation(call.h, call.w);
  check.extent("divisor", call.divisor);
  return {call.planes,
          call.h.in,
          call.w.in,
          windows(call.h, call.count_include_pad),
          windows(call.w, call.count_include_pad),
          call.divisor};
}

template <class Call>
pool::Averages adaptive(const Check& check, const Call& call) {
  check.extent("planes", call.planes);
  check.extent("in_h", call.in_h, 1);
  check.extent("in_w", call.in_w, 1);
  check.extent("out_h", call.out_h, 1);
  check.extent("out_w", call.out_w, 1);
  return {call.planes,
          call.in_h,
          call.in_w,
          adaptive_windows(call.in_h, call.out_h),
          adaptive_windows(call.in_w, call.out_w),
          0};
}

std::int64_t in_elements(const pool::Averages& a) { return a.planes * a.in_h * a.in_w; }
std::int64_t out_elements(const pool::Averages& a) {
  return a.planes * static_cast<std::int64_t>(a.rows.size() * a.cols.size());
}

template <class T>
void forward(const Check& check, const pool::Averages& a, const T* x, T* y, Device device) {
  check.memory("x", x, in_elements(a));
  check.memory("y", y, out_elements(a));
  check.device(device);
  pool::average_cpu(a, x, y);
}

template <class T>
void backward(const Check& check, const pool::Averages& a, const T* dy, T* dx, Device device) {
  check.memory("dy", dy, out_elements(a));
  check.memory("dx", dx, in_elements(a));
  check.device(device);
  pool::average_backward_cpu(a, dy, dx);
}

// Each call checked, then computed.
namespace checked {

template <class T>
void max_pool(const BasicMaxPool<T>& call, Device device) {
  const Check check("max_pool");
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.memory("x", call.x, call.planes * call.h.in * call.w.in);
  check.memory("y", call.y, call.planes * call.h.out() * call.w.out());
  check.device(device);
  pool::max_pool_cpu(call);
}

template <class T>
void max_pool_backward(const BasicMaxPoolBackward<T>& call, Device device) {
  const Check check("max_pool_backward");
  check.extent("planes", call.planes);
  check.axes(call.h, call.w);
  check.memory("dy", call.dy, call.planes * call.h.out() * call.w.out());
  check.memory("indices", call.indices, call.planes * call.h.out() * call.w.out());
  check.memory("dx", call.dx, call.planes * call.h.in * call.w.in);
  check.device(device);
  pool::max_pool_backward_cpu(call);
}

template <class T>
void average_pool(const BasicAveragePool<T>& call, Device device) {
  const Check check("average_pool");
  forward(check, averages(check, call), call.x, call.y, device);
}

template <class T>
void average_pool_backward(const BasicAveragePoolBackward<T>& call, Device device) {
  const Check check("average_pool_backward");
  backward(check, averages(check, call), call.dy, call.dx, device);
}

template <class T>
void adaptive_average_pool(const BasicAdaptiveAveragePool<T>& call, Device device) {
  const Check check("adaptive_average_pool");
  forward(check, adaptive(check, call), call.x, call.y, device);
}

template <class T>
void adaptive_average_pool_backward(const BasicAdaptiveAveragePoolBackward<T>& call, Device device) {
  const Check check("adaptive_average_pool_backward");
  backward(check, adaptive(check, call), call.dy, call.dx, device);
}

}  // namespace checked

}  // namespace

void max_pool(const MaxPool& call, Device device, void* /*stream*/) { checked::max_pool(call, device); }
void max_pool_backward(const MaxPoolBackward& call, Device device, void* /*stream*/) {
  checked::max_pool_backward(call, device);
}
void average_pool(const AveragePool& call, Device device, void* /*stream*/) {
  checked::average_pool(call, device);
}
void average_pool_backward(const AveragePoolBackward& call, Device device, void* /*stream*/) {
  checked::average_pool_backward(call, device);
}
void adaptive_average_pool(const AdaptiveAveragePool& call, Device device, void* /*stream*/) {
  checked::adaptive_average_pool(call, device);
}
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward& call, Device device,
                                    void* /*stream*/) {
  checked::adaptive_average_pool_backward(call, device);
}

void max_pool(const MaxPool64& call, Device device, void* /*stream*/) { checked::max_pool(call, device); }
void max_pool_backward(const MaxPoolBackward64& call, Device device, void* /*stream*/) {
  checked::max_pool_backward(call, device);
}
void average_pool(const AveragePool64& call, Device device, void* /*stream*/) {
  checked::average_pool(call, device);
}
void average_pool_backward(const AveragePoolBackward64& call, Device device, void* /*stream*/) {
  checked::average_pool_backward(call, device);
}
void adaptive_average_pool(const AdaptiveAveragePool64& call, Device device, void* /*stream*/) {
  checked::adaptive_average_pool(call, device);
}
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward64& call, Device device,
                                    void* /*stream*/) {
  checked::adaptive_average_pool_backward(call, device);
}

void pool::refuse_index(std::int64_t index, std::int64_t pixels) {
  internal::refuse("max_pool_backward", "indices",
                   "a pixel of the plane, 0 … " + std::to_string(pixels - 1) + ", or -1",
                   std::to_string(index));
}

}  // namespace lockstep
