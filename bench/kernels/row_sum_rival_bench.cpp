// row_sum_fold and row_product_sum_fold against at::sum over rows. usage: row_sum_rival_bench [part of a
// name]

#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <string>

#include "lockstep/row_sum/row_sum.h"
#include "rival.h"

namespace {

void sums(std::int64_t rows, std::int64_t cols, int argc, char** argv) {
  const std::string shape = std::to_string(rows) + "x" + std::to_string(cols);
  const at::Tensor x = at::randn({rows, cols}), y = at::randn({rows, cols});
  at::Tensor ours = at::zeros({cols}), theirs = at::empty({cols});
  if (lockstep::bench::wanted("sum " + shape, argc, argv))
    lockstep::bench::compare(
        "sum " + shape,
        [&] {
          lockstep::row_sum_fold(x.data_ptr<float>(), cols, cols, {0, rows, true}, ours.data_ptr<float>(),
                                 nullptr);
        },
        [&] { at::sum_out(theirs, x, 0); }, 0, 15, 0.004);
  if (lockstep::bench::wanted("product " + shape, argc, argv))
    lockstep::bench::compare(
        "product " + shape,
        [&] {
          lockstep::row_product_sum_fold(x.data_ptr<float>(), cols, y.data_ptr<float>(), cols, cols,
                                         {0, rows, true}, ours.data_ptr<float>(), nullptr);
        },
        [&] { at::sum_out(theirs, x * y, 0); }, 0, 15, 0.004);
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  sums(64, 128, argc, argv);
  sums(2048, 10, argc, argv);
  sums(2048, 384, argc, argv);
  sums(4096, 3072, argc, argv);
  sums(1 << 18, 16, argc, argv);
  sums(1 << 20, 1, argc, argv);
  return 0;
}
