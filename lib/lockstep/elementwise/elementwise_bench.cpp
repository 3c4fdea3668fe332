#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
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

// ---- CUDA, beside a copy of the device's memory

void cuda_addcdiv(benchmark::State& state) {
  if (lockstep::cuda_device_count() == 0) return state.SkipWithError(lockstep::cuda_trouble().c_str());
  const std::int64_t count = state.range(0);
  const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
  lockstep::DeviceBuffer x(bytes), a(bytes), b(bytes), out(bytes);
  const std::vector<float> ones(static_cast<std::size_t>(count), 1.5f);
  for (lockstep::DeviceBuffer* each : {&x, &a, &b}) each->copy_from_host(ones.data());
  const auto floats = [](const lockstep::DeviceBuffer& of) { return static_cast<float*>(of.data()); };
  lockstep::internal::time_beside_device_copy(state, 4 * bytes, [&] {
    lockstep::addcdiv(floats(out), floats(x), floats(a), floats(b), 0.3f, count, lockstep::Device::cuda);
  });
}
BENCHMARK(cuda_addcdiv)->Arg(1 << 27)->Iterations(1)->UseManualTime();

}  // namespace
