// Embedding, forward and backward, against LibTorch's: tokens all over the vocabulary, few of them, and one
// alone. LibTorch's backward makes a gradient of zeros first, ours adds to one that is kept.

#include <c10/core/InferenceMode.h>

#include "accuracy.h"
#include "lockstep/embedding/embedding.h"
#include "rival.h"

namespace {

using at::Tensor;

void compare_tokens(const std::string& name, std::int64_t vocabulary, std::int64_t dim, std::int64_t rows,
                    std::int64_t distinct) {
  const Tensor table = at::randn({vocabulary, dim}), dy = at::randn({rows, dim});
  const Tensor index = at::randint(distinct, {rows}, at::kLong);
  const Tensor total = at::zeros({vocabulary, dim});
  const auto* const tokens = index.const_data_ptr<std::int64_t>();
  const std::string shape =
      name + " " + std::to_string(rows) + " of " + std::to_string(vocabulary) + " x " + std::to_string(dim);
  lockstep::bench::compare(
      "embedding" + shape,
      [&] {
        const Tensor y = at::empty({rows, dim});
        lockstep::embedding(
            {table.const_data_ptr<float>(), tokens, y.mutable_data_ptr<float>(), vocabulary, dim, rows});
      },
      [&] { at::embedding(table, index); });
  lockstep::bench::compare(
      "embedding backward" + shape,
      [&] {
        lockstep::embedding_backward({dy.const_data_ptr<float>(),
                                      tokens,
                                      vocabulary,
                                      dim,
                                      -1,
                                      {0, rows, true},
                                      total.mutable_data_ptr<float>(),
                                      nullptr});
      },
      [&] { at::embedding_dense_backward(dy, index, vocabulary, -1, false); });
}

void print_accuracy(std::int64_t vocabulary, std::int64_t rows) {
  at::manual_seed(1);
  const Tensor dy = at::randn({rows, 16}), index = at::randint(vocabulary, {rows}, at::kLong);
  const Tensor total = at::zeros({vocabulary, 16});
  lockstep::embedding_backward({dy.const_data_ptr<float>(),
                                index.const_data_ptr<std::int64_t>(),
                                vocabulary,
                                16,
                                -1,
                                {0, rows, true},
                                total.mutable_data_ptr<float>(),
                                nullptr});
  lockstep::bench::print_errors(
      "embedding backward " + std::to_string(rows) + " of " + std::to_string(vocabulary), total,
      at::embedding_dense_backward(dy, index, vocabulary, -1, false),
      at::embedding_dense_backward(dy.to(at::kDouble), index, vocabulary, -1, false));
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  if (lockstep::bench::wanted("accuracy", argc, argv)) {
    print_accuracy(1000, 8192);
    print_accuracy(10, 1'000'000);
    print_accuracy(1, 1'000'000);
  }
  if (!lockstep::bench::wanted("speed", argc, argv)) return 0;
  compare_tokens(", spread,", 8192, 384, 2048, 8192);
  compare_tokens(", spread,", 50'257, 768, 8192, 50'257);
  compare_tokens(", bytes,", 256, 384, 2048, 256);
  compare_tokens(", one token,", 256, 384, 2048, 1);
  compare_tokens(", one token,", 50'257, 768, 8192, 1);
}
