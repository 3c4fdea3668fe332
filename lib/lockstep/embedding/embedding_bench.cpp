#include <algorithm>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/embedding/embedding.h"
#include "lockstep/embedding/embedding_ref.h"

namespace {

constexpr std::int64_t kRows = 4096, kVocabulary = 8192, kDim = 384;

/// Tokens among the first `distinct` of the vocabulary.
struct Problem {
  explicit Problem(const benchmark::State& state)
      : index(kRows), table(kVocabulary * kDim, 1.5f), total(table.size()), rows(kRows * kDim, 0.5f) {
    for (std::size_t r = 0; r < index.size(); ++r)
      index[r] = static_cast<std::int64_t>(r * 2654435761u % static_cast<std::uint64_t>(state.range(0)));
  }
  void report(benchmark::State& state) const { state.SetItemsProcessed(state.iterations() * kRows); }

  std::vector<std::int64_t> index;
  std::vector<float> table, total, rows;
};

void embedding(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::embedding({p.table.data(), p.index.data(), p.rows.data(), kVocabulary, kDim, kRows});
  p.report(state);
}

void embedding_backward(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::embedding_backward(
        {p.rows.data(), p.index.data(), kVocabulary, kDim, -1, {0, kRows, true}, p.total.data(), nullptr});
  p.report(state);
}

void embedding_backward_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    lockstep::embedding_backward_ref(p.rows.data(), p.index.data(), kRows, kDim, -1, p.total.data());
    benchmark::ClobberMemory();
  }
  p.report(state);
}

BENCHMARK(embedding)->Arg(1)->Arg(256)->Arg(kVocabulary);
BENCHMARK(embedding_backward)->Arg(1)->Arg(256)->Arg(kVocabulary);
BENCHMARK(embedding_backward_reference)->Arg(1)->Arg(256)->Arg(kVocabulary);

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

constexpr std::int64_t kManyRows = 32'768, kManyTokens = 50'304, kWide = 768;

/// GPT-2's tokens among the first `distinct`.
struct DeviceProblem {
  explicit DeviceProblem(std::int64_t distinct)
      : index(tokens(distinct)),
        table(kManyTokens * kWide, 1.5f),
        rows(kManyRows * kWide, 0.5f),
        scratch(lockstep::embedding_backward_scratch_bytes(kManyTokens, kWide, span())) {}
  static std::vector<std::int64_t> tokens(std::int64_t distinct) {
    std::vector<std::int64_t> all(kManyRows);
    for (std::size_t r = 0; r < all.size(); ++r)
      all[r] = static_cast<std::int64_t>(r * 2654435761u % static_cast<std::uint64_t>(distinct));
    return all;
  }
  static lockstep::order::FoldSpan span() { return {0, kManyRows, true}; }

  DeviceArray<std::int64_t> index;
  DeviceArray<float> table, rows;
  DeviceArray<char> scratch;
};

void cuda_embedding(benchmark::State& state) {
  const DeviceProblem p(state.range(0));
  time_beside_device_copy(state, 2 * p.rows.bytes(), [&] {
    lockstep::embedding({p.table.data(), p.index.data(), p.rows.data(), kManyTokens, kWide, kManyRows},
                        Device::cuda);
  });
}

/// Counted is what is read of dy, and each table row that is hit read and written.
void cuda_embedding_backward(benchmark::State& state) {
  const DeviceProblem p(state.range(0));
  const std::size_t hit =
      static_cast<std::size_t>(std::min(state.range(0), kManyRows) * kWide) * sizeof(float);
  time_beside_device_copy(state, p.rows.bytes() + 2 * hit, [&] {
    lockstep::embedding_backward({p.rows.data(), p.index.data(), kManyTokens, kWide, -1, p.span(),
                                  p.table.data(), nullptr, p.scratch.data()},
                                 Device::cuda);
  });
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  const auto add = [](const char* name, void (*function)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, function)
        ->Arg(1)
        ->Arg(256)
        ->Arg(kManyTokens)
        ->Iterations(1)
        ->UseManualTime();
  };
  add("cuda_embedding", cuda_embedding);
  add("cuda_embedding_backward", cuda_embedding_backward);
  return true;
}();

}  // namespace
