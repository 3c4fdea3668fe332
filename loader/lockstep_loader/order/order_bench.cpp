// Cost of an id in either order, and of what torch order does once an epoch.

#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep_loader/order/index_cipher.h"
#include "lockstep_loader/order/torch_draws.h"
#include "lockstep_loader/order/torch_generator.h"
#include "lockstep_loader/order/weight_table.h"

namespace {

using namespace lockstep::loader;

constexpr std::size_t kBatch = 4096;

void per_id(benchmark::State& state, std::size_t ids) {
  state.counters["id"] = benchmark::Counter(
      static_cast<double>(ids), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void cipher_ids(benchmark::State& state) {
  const IndexCipher cipher(state.range(0), 1, 0);
  std::vector<std::int64_t> ids(std::min<std::size_t>(kBatch, static_cast<std::size_t>(state.range(0))));
  for (auto _ : state) {
    cipher.ids(0, ids);
    benchmark::DoNotOptimize(ids.data());
    benchmark::ClobberMemory();
  }
  per_id(state, ids.size());
}
BENCHMARK(cipher_ids)->Arg(1000)->Arg(60000)->Arg(1281167)->Arg(1000000000)->Arg(std::int64_t{1} << 62);

void cipher_one_by_one(benchmark::State& state) {
  const IndexCipher cipher(state.range(0), 1, 0);
  std::int64_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cipher.id(position));
    if (++position == state.range(0)) position = 0;
  }
  per_id(state, 1);
}
BENCHMARK(cipher_one_by_one)->Arg(1000)->Arg(60000)->Arg(1000000000);

void cipher_for_an_epoch(benchmark::State& state) {
  std::int64_t epoch = 0;
  for (auto _ : state) benchmark::DoNotOptimize(IndexCipher(state.range(0), 1, epoch++).id(0));
}
BENCHMARK(cipher_for_an_epoch)->Arg(60000)->Arg(1000000000);

void torch_permutation(benchmark::State& state) {
  TorchGenerator generator(1);
  for (auto _ : state) benchmark::DoNotOptimize(TorchPermutation(state.range(0), generator)[0]);
  per_id(state, static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(torch_permutation)->Arg(60000)->Arg(1281167)->Unit(benchmark::kMicrosecond);

void torch_skip_of_a_permutation(benchmark::State& state) {
  TorchGenerator generator(1);
  for (auto _ : state) generator.discard(TorchPermutation::outputs(state.range(0)));
  benchmark::DoNotOptimize(generator);
}
BENCHMARK(torch_skip_of_a_permutation)->Arg(60000)->Arg(1281167)->Unit(benchmark::kMicrosecond);

void weight_table_find(benchmark::State& state) {
  const WeightTable table(std::vector<double>(static_cast<std::size_t>(state.range(0)), 0.5));
  TorchGenerator generator(1);
  for (auto _ : state) benchmark::DoNotOptimize(table.find(generator.random64() % table.total()));
}
BENCHMARK(weight_table_find)->Arg(1000)->Arg(60000);

}  // namespace

BENCHMARK_MAIN();
