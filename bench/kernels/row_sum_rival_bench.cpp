// row_sum_fold and row_product_sum_fold against at::sum over rows. usage: row_sum_rival_bench [part of a
// name]

#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <cstdio>
#include <string>

#include "lockstep/row_sum/row_sum.h"
#include "rival.h"

namespace {

void sums(std::int64_t rows, std::int64_t cols, int argc, char** argv) {
  const std::string shape = std::to_string(rows) + "x" + std::to_string(cols);
  const at::Tensor x = at::randn({rows, cols}), y = at::randn({rows, cols});
  const at::Tensor ours = at::zeros({cols}, at::kDouble);
  at::Tensor theirs = at::empty({cols});
  if (lockstep::bench::wanted("sum " + shape, argc, argv))
    lockstep::bench::compare(
        "sum " + shape,
        [&] {
          lockstep::row_sum_fold(x.data_ptr<float>(), cols, cols, {0, rows, true}, ours.data_ptr<double>(),
                                 nullptr);
        },
        [&] { at::sum_out(theirs, x, 0); }, 0, 15, 0.004);
  if (lockstep::bench::wanted("product " + shape, argc, argv))
    lockstep::bench::compare(
        "product " + shape,
        [&] {
          lockstep::row_product_sum_fold(x.data_ptr<float>(), cols, y.data_ptr<float>(), cols, cols,
                                         {0, rows, true}, ours.data_ptr<double>(), nullptr);
        },
        [&] { at::sum_out(theirs, x * y, 0); }, 0, 15, 0.004);
}

double relative_error(const at::Tensor& got, const at::Tensor& exact) {
  return ((got.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

/// Relative L2 errors against fp64, beside LibTorch's and those of one chain for the whole sum.
void accuracy(const char* values, const at::Tensor& x) {
  const std::int64_t rows = x.size(0), cols = x.size(1);
  const at::Tensor ours = at::zeros({cols}, at::kDouble), chain = at::zeros({cols});
  lockstep::row_sum_fold(x.data_ptr<float>(), cols, cols, {0, rows, true}, ours.data_ptr<double>(), nullptr);
  for (std::int64_t i = 0; i < rows * cols; ++i) chain.data_ptr<float>()[i % cols] += x.data_ptr<float>()[i];
  const at::Tensor exact = x.to(at::kDouble).sum(0);
  std::printf("error, %-7s rows %7lld   ours %.1e   LibTorch %.1e   one chain %.1e\n", values,
              static_cast<long long>(rows), relative_error(ours.to(at::kFloat), exact),
              relative_error(x.sum(0), exact), relative_error(chain, exact));
}

void accuracies(int argc, char** argv) {
  if (!lockstep::bench::wanted("error", argc, argv)) return;
  for (const std::int64_t rows : {64, 1024, 16384, 1 << 20}) {
    accuracy("normal", at::randn({rows, 16}));
    accuracy("uniform", at::rand({rows, 16}));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  accuracies(argc, argv);
  sums(64, 128, argc, argv);
  sums(2048, 10, argc, argv);
  sums(2048, 384, argc, argv);
  sums(4096, 3072, argc, argv);
  sums(1 << 18, 16, argc, argv);
  sums(1 << 20, 1, argc, argv);
  return 0;
}
