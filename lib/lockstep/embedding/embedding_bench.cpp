#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

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

}  // namespace
