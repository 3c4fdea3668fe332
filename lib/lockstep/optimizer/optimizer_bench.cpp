#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/optimizer/optimizer.h"
#include "lockstep/optimizer/optimizer_internal.h"
#include "lockstep/optimizer/optimizer_ref.h"

namespace {

struct State {
  explicit State(const benchmark::State& state)
      : count(state.range(0)),
        parameter(static_cast<std::size_t>(count), 1.5f),
        gradient(parameter),
        a(parameter),
        b(parameter) {}
  void report(benchmark::State& state) const { state.SetItemsProcessed(state.iterations() * count); }

  std::int64_t count;
  std::vector<float> parameter, gradient, a, b;
};

void adamw(benchmark::State& state) {
  State p(state);
  lockstep::AdamOptions options;
  options.decoupled_weight_decay = true;
  options.weight_decay = 0.1;
  const lockstep::AdamParameter one{p.parameter.data(), p.gradient.data(), p.a.data(),
                                    p.b.data(),         nullptr,           p.count};
  for (auto _ : state) lockstep::adam({&one, 1}, options, 10);
  p.report(state);
}

void adam_reference(benchmark::State& state) {
  State p(state);
  const auto factors = lockstep::optimizer::adam_factors({}, 10);
  for (auto _ : state) {
    lockstep::adam_ref<float>(p.parameter.data(), p.gradient.data(), p.a.data(), p.b.data(), nullptr,
                              p.gradient.size(), factors);
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void sgd_with_momentum(benchmark::State& state) {
  State p(state);
  const lockstep::SgdParameter one{p.parameter.data(), p.gradient.data(), p.a.data(), p.count};
  for (auto _ : state) lockstep::sgd({&one, 1}, {1e-3, 0.9});
  p.report(state);
}

void gradient_norm(benchmark::State& state) {
  State p(state);
  const std::span<const float> one(p.gradient);
  for (auto _ : state) benchmark::DoNotOptimize(lockstep::gradient_norm({&one, 1}));
  p.report(state);
}

BENCHMARK(adamw)->Arg(1000)->Arg(1'000'000);
BENCHMARK(adam_reference)->Arg(1000)->Arg(1'000'000);
BENCHMARK(sgd_with_momentum)->Arg(1000)->Arg(1'000'000);
BENCHMARK(gradient_norm)->Arg(1000)->Arg(1'000'000);

}  // namespace
