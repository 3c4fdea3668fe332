// matmul and matmul_fold against at::mm and friends. usage: matmul_rival_bench [part of a name]

#include <c10/core/InferenceMode.h>
#include <cstdint>
#include <string>

#include "lockstep/matmul/matmul.h"
#include "rival.h"

namespace {

using lockstep::ConstMatrix;
using lockstep::Matrix;
using lockstep::bench::compare;
using lockstep::bench::wanted;

ConstMatrix read(const at::Tensor& t) {
  return {t.data_ptr<float>(), t.size(0), t.size(1), t.stride(0), t.stride(1)};
}

Matrix write(at::Tensor& t) { return {t.data_ptr<float>(), t.size(0), t.size(1), t.stride(0), t.stride(1)}; }

struct Shape {
  std::int64_t m, n, k;
  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  std::string text() const { return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k); }
};

void product(const std::string& name, const Shape& s, const at::Tensor& a, const at::Tensor& b, int argc,
             char** argv) {
  if (!wanted(name, argc, argv)) return;
  at::Tensor c = at::empty({s.m, s.n}), d = at::empty({s.m, s.n});
  compare(
      name, [&] { lockstep::matmul(read(a), read(b), write(c)); }, [&] { at::mm_out(d, a, b); }, s.flops());
}

/// dW [n, k] = dYᵀ [n, m] · X [m, k], added to what is there, as a gradient is.
void gradient(const std::string& name, const Shape& s, int argc, char** argv) {
  if (!wanted(name, argc, argv)) return;
  const at::Tensor dy = at::randn({s.m, s.n}), x = at::randn({s.m, s.k});
  at::Tensor ours = at::zeros({s.n, s.k}), theirs = at::empty({s.n, s.k});
  compare(
      name,
      [&] {
        ours.zero_();
        lockstep::matmul_fold(read(dy), read(x), {0, s.m, true}, write(ours), nullptr);
      },
      [&] { at::mm_out(theirs, dy.t(), x); }, s.flops());
}

void layouts(const Shape& s, int argc, char** argv) {
  const at::Tensor a = at::randn({s.m, s.k}), b = at::randn({s.k, s.n}), bt = at::randn({s.n, s.k});
  product("A·B " + s.text(), s, a, b, argc, argv);
  product("A·Bt " + s.text(), s, a, bt.t(), argc, argv);
}

void linear(const Shape& s, int argc, char** argv) {
  const at::Tensor x = at::randn({s.m, s.k}), w = at::randn({s.n, s.k}), dy = at::randn({s.m, s.n});
  product("Y = X·Wt " + s.text(), s, x, w.t(), argc, argv);
  product("dX = dY·W " + s.text(), {s.m, s.k, s.n}, dy, w, argc, argv);
  gradient("dW = dYt·X " + s.text(), s, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  layouts({512, 512, 512}, argc, argv);
  layouts({1024, 1024, 1024}, argc, argv);
  linear({4096, 3072, 768}, argc, argv);
  linear({4096, 768, 3072}, argc, argv);
  for (const std::int64_t m : {1, 8, 33}) layouts({m, 1024, 1024}, argc, argv);
  return 0;
}
