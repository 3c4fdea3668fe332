#include <cstdint>
#include <random>

#include <benchmark/benchmark.h>

#include "lockstep/random/philox.h"

namespace {

using lockstep::random::Generator;
using lockstep::random::RecordKey;

void philox_block(benchmark::State& state) {
  std::uint32_t counter = 0;
  for (auto _ : state) benchmark::DoNotOptimize(lockstep::random::philox4x32(42, {counter++, 0, 0, 0}));
}

void generator_and_first_word(benchmark::State& state) {
  std::int64_t record = 0;
  for (auto _ : state) benchmark::DoNotOptimize(Generator(RecordKey{42, 1, record++, 0}, 0).next_u32());
}

// The rival: a Mersenne Twister seeded for each record, as per-record seeding is often done.
void mersenne_and_first_word(benchmark::State& state) {
  std::uint32_t record = 0;
  for (auto _ : state) benchmark::DoNotOptimize(std::mt19937(record++)());
}

void next_u32(benchmark::State& state) {
  Generator generator(42);
  for (auto _ : state) benchmark::DoNotOptimize(generator.next_u32());
}

void below(benchmark::State& state) {
  Generator generator(42);
  for (auto _ : state) benchmark::DoNotOptimize(generator.below(60000));
}

BENCHMARK(philox_block);
BENCHMARK(generator_and_first_word);
BENCHMARK(mersenne_and_first_word);
BENCHMARK(next_u32);
BENCHMARK(below);

}  // namespace

BENCHMARK_MAIN();
