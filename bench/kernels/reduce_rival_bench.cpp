// Reductions over an axis against LibTorch's. Both sides allocate what they write.
// usage: reduce_rival_bench [last | inside | accuracy]

#include <c10/core/InferenceMode.h>

#include "accuracy.h"
#include "lockstep/reduce/reduce.h"
#include "rival.h"

namespace {

using at::Tensor;

const float* in(const Tensor& t) { return t.const_data_ptr<float>(); }
float* out(const Tensor& t) { return t.mutable_data_ptr<float>(); }

void compare_axis(std::int64_t outer, std::int64_t axis, std::int64_t inner) {
  const lockstep::ReduceShape shape{outer, axis, inner};
  const std::string name =
      " [" + std::to_string(outer) + ", " + std::to_string(axis) + ", " + std::to_string(inner) + "]";
  const Tensor x = at::randn({outer, axis, inner});
  lockstep::bench::compare(
      "sum" + name,
      [&] {
        lockstep::reduce_sum(in(x), out(at::empty({outer, inner})), shape);
      },
      [&] { at::sum(x, 1); });
  lockstep::bench::compare(
      "mean" + name,
      [&] {
        lockstep::reduce_mean(in(x), out(at::empty({outer, inner})), shape);
      },
      [&] { at::mean(x, 1); });
  lockstep::bench::compare(
      "var" + name,
      [&] {
        lockstep::reduce_variance(in(x), out(at::empty({outer, inner})), nullptr, shape);
      },
      [&] { at::var(x, 1); });
  lockstep::bench::compare(
      "max, argmax" + name,
      [&] {
        const Tensor values = at::empty({outer, inner}), indices = at::empty({outer, inner}, at::kLong);
        lockstep::reduce_max(in(x), out(values), indices.mutable_data_ptr<std::int64_t>(), shape);
      },
      [&] { at::max(x, 1); });
}

void print_accuracy(const Tensor& x, const std::string& name) {
  const lockstep::ReduceShape shape{x.size(0), x.size(1), x.size(2)};
  const Tensor y = at::empty({shape.outer, shape.inner}), wide = x.to(at::kDouble);
  lockstep::reduce_sum(in(x), out(y), shape);
  lockstep::bench::print_errors("sum" + name, y, at::sum(x, 1), at::sum(wide, 1));
  lockstep::reduce_variance(in(x), out(y), nullptr, shape);
  lockstep::bench::print_errors("var" + name, y, at::var(x, 1), at::var(wide, 1));
}

void print_accuracies() {
  at::manual_seed(1);
  for (const auto& [outer, axis, inner] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{4096, 768, 1},
                                           {512, 8192, 1},
                                           {16, 1'000'000, 1},
                                           {64, 512, 384},
                                           {1, 1'000'000, 16}}) {
    const std::string shape =
        " [" + std::to_string(outer) + ", " + std::to_string(axis) + ", " + std::to_string(inner) + "]";
    print_accuracy(at::randn({outer, axis, inner}), shape + ", normal");
    print_accuracy(at::rand({outer, axis, inner}) + 1, shape + ", 1 to 2");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const bool last = lockstep::bench::wanted("last", argc, argv),
             inside = lockstep::bench::wanted("inside", argc, argv);
  if (last) compare_axis(2048, 768, 1);
  if (last) compare_axis(256, 32'768, 1);
  if (last) compare_axis(16'384, 64, 1);
  if (last) compare_axis(1, 1'000'000, 1);
  if (inside) compare_axis(16, 64, 128);
  if (inside) compare_axis(32, 64, 256);
  if (inside) compare_axis(32, 512, 384);
  if (inside) compare_axis(1, 10'000, 256);
  if (lockstep::bench::wanted("accuracy", argc, argv)) print_accuracies();
}
