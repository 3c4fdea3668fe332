// CRC-32C in both forms against a copy of the same bytes, and SHA-256.

#include <cstdint>
#include <cstring>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/checksum/crc32c.h"
#include "lockstep/checksum/crc32c_internal.h"
#include "lockstep/checksum/sha256.h"

namespace {

namespace checksum = lockstep::checksum;

template <class Function>
void over_bytes(benchmark::State& state, Function function) {
  const std::vector<std::uint8_t> bytes(static_cast<std::size_t>(state.range(0)), 0x5a);
  for (auto _ : state) function(bytes);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void crc32c(benchmark::State& state) {
  over_bytes(state, [](const auto& bytes) {
    benchmark::DoNotOptimize(checksum::crc32c(bytes.data(), bytes.size()));
  });
}

void crc32c_portable(benchmark::State& state) {
  over_bytes(state, [](const auto& bytes) {
    benchmark::DoNotOptimize(checksum::internal::crc32c_portable(0, bytes.data(), bytes.size()));
  });
}

void sha256(benchmark::State& state) {
  over_bytes(state, [](const auto& bytes) {
    checksum::Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    benchmark::DoNotOptimize(hash.digest());
  });
}

void memory_copy(benchmark::State& state) {
  std::vector<std::uint8_t> target(static_cast<std::size_t>(state.range(0)));
  over_bytes(state, [&](const auto& bytes) {
    std::memcpy(target.data(), bytes.data(), bytes.size());
    benchmark::ClobberMemory();
  });
}

BENCHMARK(crc32c)->Arg(64)->Arg(784)->Arg(65536)->Arg(1 << 20);
BENCHMARK(crc32c_portable)->Arg(64)->Arg(784)->Arg(65536)->Arg(1 << 20);
BENCHMARK(sha256)->Arg(64)->Arg(65536);
BENCHMARK(memory_copy)->Arg(64)->Arg(784)->Arg(65536)->Arg(1 << 20);

}  // namespace

BENCHMARK_MAIN();
