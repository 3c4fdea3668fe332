// Attention against LibTorch's flash kernels for the CPU. usage: attention_rival_bench [part of a name |
// errors]

#include <c10/core/InferenceMode.h>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include "accuracy.h"
#include "lockstep/attention/attention.h"
#include "rival.h"

namespace {

using at::Tensor;
using lockstep::AttentionExtents;
using lockstep::AttentionOptions;
using lockstep::ConstHeads;
using lockstep::Heads;

ConstHeads in(const Tensor& t) { return {t.const_data_ptr<float>(), t.stride(0), t.stride(1), t.stride(2)}; }
Heads out(const Tensor& t) { return {t.mutable_data_ptr<float>(), t.stride(0), t.stride(1), t.stride(2)}; }

struct Problem {
  std::int64_t samples, heads, tokens, size;
  bool causal, is_token_major;

  AttentionExtents extents() const { return {samples, heads, heads, tokens, tokens, size, size}; }
  AttentionOptions options() const {
    AttentionOptions of;
    of.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
    of.causal = causal ? lockstep::Causal::upper_left : lockstep::Causal::none;
    return of;
  }
  Tensor random() const {
    if (is_token_major) return at::randn({samples, tokens, heads, size}).transpose(1, 2);
    return at::randn({samples, heads, tokens, size});
  }
  std::string text() const {
    return std::to_string(samples) + "x" + std::to_string(heads) + "x" + std::to_string(tokens) + "x" +
           std::to_string(size) + (causal ? " causal" : "") + (is_token_major ? " BTHD" : "");
  }
};

struct Forward {
  Tensor o, lse;
};

Forward forward(const Problem& of, const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor o = at::empty_like(q), lse = at::empty({of.samples, of.heads, of.tokens});
  lockstep::attention(in(q), in(k), in(v), out(o),
                      {lse.mutable_data_ptr<float>(), lse.stride(0), lse.stride(1)}, of.extents(),
                      of.options());
  return {o, lse};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Problem& of, const Tensor& d_o, const Tensor& q,
                                            const Tensor& k, const Tensor& v, const Forward& from) {
  const Tensor d_q = at::empty_like(q), d_k = at::empty_like(k), d_v = at::empty_like(v);
  lockstep::attention_backward(in(d_o), in(q), in(k), in(v), in(from.o),
                               {from.lse.const_data_ptr<float>(), from.lse.stride(0), from.lse.stride(1)},
                               out(d_q), out(d_k), out(d_v), of.extents(), of.options());
  return {d_q, d_k, d_v};
}

void compare(const Problem& of, int argc, char** argv) {
  const std::string name = "attention " + of.text();
  if (!lockstep::bench::wanted(name, argc, argv)) return;
  const Tensor q = of.random(), k = of.random(), v = of.random(), d_o = of.random();
  const auto theirs = [&] {
    return at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, of.causal);
  };
  const auto theirs_backward = [&](const Tensor& o, const Tensor& lse) {
    return at::_scaled_dot_product_flash_attention_for_cpu_backward(d_o, q, k, v, o, lse, 0.0, of.causal);
  };
  const auto [o, lse] = theirs();
  const Forward own = forward(of, q, k, v);
  const double pairs =
      static_cast<double>(of.samples * of.heads * of.tokens * of.tokens) / (of.causal ? 2 : 1);
  const double flops = 4 * pairs * static_cast<double>(of.size);
  lockstep::bench::compare(
      name, [&] { forward(of, q, k, v); }, [&] { theirs(); }, flops, 15);
  lockstep::bench::compare(
      name + " backward", [&] { backward(of, d_o, q, k, v, own); },
      [&, &from = o, &rows = lse] { theirs_backward(from, rows); }, 2.5 * flops, 15);
  lockstep::bench::compare(
      name + " both", [&] { backward(of, d_o, q, k, v, forward(of, q, k, v)); },
      [&] {
        const auto [result, rows] = theirs();
        theirs_backward(result, rows);
      },
      3.5 * flops, 15);
}

/// Against LibTorch's composite form in double, at the same fp32 values.
void print_errors(const Problem& of) {
  Tensor q, k, v, d_o, o, d_q, d_k, d_v;
  q = of.random(), k = of.random(), v = of.random(), d_o = of.random();
  Tensor wide_q = q.to(at::kDouble), wide_k = k.to(at::kDouble), wide_v = v.to(at::kDouble),
         wide_d = d_o.to(at::kDouble);
  Tensor s = at::matmul(wide_q, wide_k.transpose(2, 3)) / std::sqrt(static_cast<double>(of.size));
  if (of.causal) s = s.masked_fill(at::ones({of.tokens, of.tokens}, at::kBool).triu(1), -INFINITY);
  const Tensor p = at::softmax(s, -1), exact = at::matmul(p, wide_v);
  const Tensor dp = at::matmul(wide_d, wide_v.transpose(2, 3));
  const Tensor ds = p * (dp - (wide_d * exact).sum(-1, true)) / std::sqrt(static_cast<double>(of.size));
  const Forward own = forward(of, q, k, v);
  const auto own_gradients = backward(of, d_o, q, k, v, own);
  const auto [their_o, their_lse] = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, of.causal);
  const auto their_gradients = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      d_o, q, k, v, their_o, their_lse, 0.0, of.causal);
  using lockstep::bench::print_errors;
  print_errors("o " + of.text(), own.o, their_o, exact);
  print_errors("d_q " + of.text(), std::get<0>(own_gradients), std::get<0>(their_gradients),
               at::matmul(ds, wide_k));
  print_errors("d_k " + of.text(), std::get<1>(own_gradients), std::get<1>(their_gradients),
               at::matmul(ds.transpose(2, 3), wide_q));
  print_errors("d_v " + of.text(), std::get<2>(own_gradients), std::get<2>(their_gradients),
               at::matmul(p.transpose(2, 3), wide_d));
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode no_autograd;
  at::manual_seed(0);
  if (argc > 1 && std::string(argv[1]) == "errors") {
    for (const Problem& of :
         {Problem{2, 2, 256, 64, true, false}, {1, 2, 1024, 64, true, false}, {1, 1, 4096, 64, false, false}})
      print_errors(of);
    return 0;
  }
  const Problem problems[] = {{8, 6, 256, 64, true, false},  {8, 6, 256, 64, true, true},
                              {8, 6, 1024, 64, true, false}, {8, 6, 256, 64, false, false},
                              {8, 12, 128, 64, false, true}, {2, 8, 512, 128, true, false},
                              {16, 4, 32, 32, false, false}, {1, 1, 2048, 64, true, false}};
  for (const Problem& of : problems) compare(of, argc, argv);
  return 0;
}
