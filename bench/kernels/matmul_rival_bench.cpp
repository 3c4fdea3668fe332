// matmul and matmul_fold against at::mm and friends. usage: matmul_rival_bench [part of a name]

#include <c10/core/InferenceMode.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
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

double relative_error(const at::Tensor& got, const at::Tensor& exact) {
  return ((got.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

/// Relative L2 errors against fp64, beside LibTorch's and those of one chain for the whole sum.
void accuracy(const char* values, std::int64_t k, const at::Tensor& a, const at::Tensor& b) {
  at::Tensor ours = at::empty({a.size(0), b.size(1)});
  lockstep::matmul(read(a), read(b), write(ours));
  at::Tensor chain = at::zeros({a.size(0), b.size(1)});
  for (std::int64_t i = 0; i < chain.size(0); ++i) {
    for (std::int64_t j = 0; j < chain.size(1); ++j) {
      const float* const x = a.data_ptr<float>() + i * a.stride(0);
      const float* const y = b.data_ptr<float>() + j * b.stride(1);
      float sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum = std::fma(x[p * a.stride(1)], y[p * b.stride(0)], sum);
      chain.data_ptr<float>()[i * chain.size(1) + j] = sum;
    }
  }
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  std::printf("error, %-7s k = %7lld   ours %.1e   LibTorch %.1e   one chain %.1e\n", values,
              static_cast<long long>(k), relative_error(ours, exact), relative_error(at::mm(a, b), exact),
              relative_error(chain, exact));
}

void accuracies(int argc, char** argv) {
  if (!wanted("error", argc, argv)) return;
  for (const std::int64_t k : {64, 1024, 16384, 1 << 20}) {
    accuracy("normal", k, at::randn({8, k}), at::randn({k, 8}));
    accuracy("uniform", k, at::rand({8, k}), at::rand({k, 8}));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  accuracies(argc, argv);
  layouts({512, 512, 512}, argc, argv);
  layouts({1024, 1024, 1024}, argc, argv);
  linear({4096, 3072, 768}, argc, argv);
  linear({4096, 768, 3072}, argc, argv);
  for (const std::int64_t m : {1, 8, 33}) layouts({m, 1024, 1024}, argc, argv);
  return 0;
}
