// Pooling, forward and backward, against LibTorch's. Both sides allocate what they write.

#include <c10/core/InferenceMode.h>

#include "lockstep/pool/pool.h"
#include "rival.h"

namespace {

using at::Tensor;
using lockstep::PoolAxis;

const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

std::string text(const Tensor& x, const std::string& window) {
  return " " + std::to_string(x.size(0)) + " x " + std::to_string(x.size(1)) + " x " +
         std::to_string(x.size(2)) + ", " + window;
}

void compare_max(const Tensor& x, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  const PoolAxis axis{x.size(2), kernel, stride, pad};
  const std::int64_t planes = x.size(0) * x.size(1);
  const auto [y, indices] = at::max_pool2d_with_indices(x, kernel, stride, pad);
  const Tensor dy = at::randn_like(y);
  const std::string shape =
      text(x, std::to_string(kernel) + " / " + std::to_string(stride) + (pad > 0 ? " padded" : ""));
  lockstep::bench::compare(
      "max_pool" + shape,
      [&, &own = y, &where = indices] {
        const Tensor result = at::empty_like(own), places = at::empty_like(where);
        lockstep::max_pool({in(x), out(result), places.mutable_data_ptr<std::int64_t>(), planes, axis, axis});
      },
      [&] { at::max_pool2d_with_indices(x, kernel, stride, pad); });
  lockstep::bench::compare(
      "max_pool backward" + shape,
      [&, &where = indices] {
        const Tensor dx = at::empty_like(x);
        lockstep::max_pool_backward(
            {in(dy), where.const_data_ptr<std::int64_t>(), out(dx), planes, axis, axis});
      },
      [&, &where = indices] {
        at::max_pool2d_with_indices_backward(dy, x, kernel, stride, pad, 1, false, where);
      });
}

void compare_average(const Tensor& x, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  const PoolAxis axis{x.size(2), kernel, stride, pad};
  const std::int64_t planes = x.size(0) * x.size(1);
  const Tensor y = at::avg_pool2d(x, kernel, stride, pad), dy = at::randn_like(y);
  const std::string shape =
      text(x, std::to_string(kernel) + " / " + std::to_string(stride) + (pad > 0 ? " padded" : ""));
  lockstep::bench::compare(
      "average_pool" + shape,
      [&] {
        const Tensor result = at::empty_like(y);
        lockstep::average_pool({in(x), out(result), planes, axis, axis});
      },
      [&] { at::avg_pool2d(x, kernel, stride, pad); });
  lockstep::bench::compare(
      "average_pool backward" + shape,
      [&] {
        const Tensor dx = at::empty_like(x);
        lockstep::average_pool_backward({in(dy), out(dx), planes, axis, axis});
      },
      [&] { at::avg_pool2d_backward(dy, x, kernel, stride, pad, false, true, {}); });
}

void compare_adaptive(const Tensor& x, std::int64_t size) {
  const std::int64_t planes = x.size(0) * x.size(1), h = x.size(2), w = x.size(3);
  const Tensor y = at::_adaptive_avg_pool2d(x, {size, size}), dy = at::randn_like(y);
  const std::string shape = text(x, "to " + std::to_string(size));
  lockstep::bench::compare(
      "adaptive_average_pool" + shape,
      [&] {
        const Tensor result = at::empty_like(y);
        lockstep::adaptive_average_pool({in(x), out(result), planes, h, w, size, size});
      },
      [&] {
        at::_adaptive_avg_pool2d(x, {size, size});
      });
  lockstep::bench::compare(
      "adaptive_average_pool backward" + shape,
      [&] {
        const Tensor dx = at::empty_like(x);
        lockstep::adaptive_average_pool_backward({in(dy), out(dx), planes, h, w, size, size});
      },
      [&] { at::_adaptive_avg_pool2d_backward(dy, x); });
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const Tensor first = at::randn({64, 16, 28, 28}), second = at::randn({64, 32, 14, 14}),
               wide = at::randn({16, 64, 56, 56});
  if (lockstep::bench::wanted("max", argc, argv)) {
    compare_max(first, 2, 2, 0);
    compare_max(second, 2, 2, 0);
    compare_max(wide, 3, 2, 1);
  }
  if (lockstep::bench::wanted("average", argc, argv)) {
    compare_average(first, 2, 2, 0);
    compare_average(wide, 3, 1, 1);
  }
  if (lockstep::bench::wanted("adaptive", argc, argv)) {
    compare_adaptive(wide, 7);
    compare_adaptive(second, 4);
  }
}
