#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/elementwise/elementwise.h"
#include "lockstep/elementwise/elementwise_ref.h"

namespace {

struct Arrays {
  explicit Arrays(const benchmark::State& state)
      : count(state.range(0)), x(static_cast<std::size_t>(count), 1.5f), a(x), b(x), out(x) {}
  void report(benchmark::State& state) const { state.SetItemsProcessed(state.iterations() * count); }

  std::int64_t count;
  std::vector<float> x, a, b, out;
};

void add_scaled(benchmark::State& state) {
  Arrays p(state);
  for (auto _ : state) lockstep::add_scaled(p.out.data(), p.x.data(), p.a.data(), 0.3f, p.count);
  p.report(state);
}

void addcdiv(benchmark::State& state) {
  Arrays p(state);
  for (auto _ : state) lockstep::addcdiv(p.out.data(), p.x.data(), p.a.data(), p.b.data(), 0.3f, p.count);
  p.report(state);
}

void lerp_to_a_number(benchmark::State& state) {
  Arrays p(state);
  for (auto _ : state) lockstep::lerp(p.out.data(), p.x.data(), p.a.data(), 0.1f, p.count);
  p.report(state);
}

void addcdiv_reference(benchmark::State& state) {
  Arrays p(state);
  const auto at = [](const std::vector<float>& v) { return [&v](std::size_t i) { return v[i]; }; };
  for (auto _ : state) {
    lockstep::addcdiv_ref<float>(p.out.data(), at(p.x), at(p.a), at(p.b), 0.3f, p.out.size());
    benchmark::ClobberMemory();
  }
  p.report(state);
}

BENCHMARK(add_scaled)->Arg(1000)->Arg(1'000'000);
BENCHMARK(addcdiv)->Arg(1000)->Arg(1'000'000);
BENCHMARK(lerp_to_a_number)->Arg(1000)->Arg(1'000'000);
BENCHMARK(addcdiv_reference)->Arg(1000)->Arg(1'000'000);

}  // namespace
