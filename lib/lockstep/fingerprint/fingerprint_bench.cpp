// Digests against a memory copy of the same bytes, pair by pair. "cold" walks through more memory than the
// caches hold.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/fingerprint/statistics.h"

namespace {

using lockstep::ConstView;
using lockstep::DType;
using lockstep::Shape;
using lockstep::internal::Clock;
namespace fingerprint = lockstep::fingerprint;

struct Case {
  const char* name;
  DType dtype;
  Shape shape;
  bool cold;
};

const std::vector<Case> kCases{
    {"uint8[64,784]", DType::uint8, {64, 784}, false},
    {"uint8[64,784]/cold", DType::uint8, {64, 784}, true},
    {"uint8[1,784]", DType::uint8, {1, 784}, false},
    {"uint8[65536]", DType::uint8, {65536}, false},
    {"uint8[64,75]", DType::uint8, {64, 75}, false},
    {"uint16[64,1025]", DType::uint16, {64, 1025}, false},
    {"int64[64]", DType::int64, {64}, false},
    {"int64[1]", DType::int64, {1}, false},
    {"float32[64,784]", DType::float32, {64, 784}, false},
    {"float32[64,784]/cold", DType::float32, {64, 784}, true},
    {"float32[1024,1024]", DType::float32, {1024, 1024}, false},
    {"float32[1024,1024]/cold", DType::float32, {1024, 1024}, true},
    {"bfloat16[1024,1024]/cold", DType::bfloat16, {1024, 1024}, true},
    {"float16[1024,1024]/cold", DType::float16, {1024, 1024}, true},
    {"float64[1024,1024]/cold", DType::float64, {1024, 1024}, true},
};

constexpr std::size_t kArenaBytes = std::size_t{512} << 20;

const std::vector<std::uint8_t>& arena() {
  static const std::vector<std::uint8_t> bytes = [] {
    std::vector<std::uint8_t> filled(kArenaBytes);
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < filled.size(); i += 4) {
      state = state * 1664525 + 1013904223;
      const std::uint32_t word = state & 0xbfffffff;  // floats of ordinary size
      std::memcpy(filled.data() + i, &word, 4);
    }
    return filled;
  }();
  return bytes;
}

/// Walks through the arena, or stays at its beginning.
class Cursor {
 public:
  Cursor(std::size_t bytes, bool cold) : bytes_(bytes), stride_(cold ? (bytes + 4095) / 4096 * 4096 : 0) {}
  const std::uint8_t* next() {
    offset_ = offset_ + stride_ + bytes_ > kArenaBytes ? 0 : offset_ + stride_;
    return arena().data() + offset_;
  }

 private:
  std::size_t bytes_, stride_, offset_ = 0;
};

void report(benchmark::State& state, const lockstep::internal::PairedRatio& ratio, std::size_t bytes) {
  state.SetIterationTime(ratio.operation_seconds);
  const auto gigabytes = static_cast<double>(bytes) / 1e9;
  state.counters["GB/s"] = gigabytes / ratio.operation_seconds;
  state.counters["rival_GB/s"] = gigabytes / ratio.rival_seconds;
  state.counters["ratio"] = ratio.median;
  state.counters["ratio_low"] = ratio.low;
  state.counters["ratio_high"] = ratio.high;
}

template <class Operation, class Rival>
void compare(benchmark::State& state, const Case& test, Operation operation, Rival rival) {
  const std::size_t bytes = ConstView{nullptr, test.dtype, test.shape, lockstep::Device::cpu}.bytes();
  Cursor for_operation(bytes, test.cold), for_rival(bytes, test.cold);
  for (auto _ : state) {
    const auto ratio = lockstep::internal::time_pairs(
        [&] {
          operation(ConstView{for_operation.next(), test.dtype, test.shape, lockstep::Device::cpu});
        },
        [&] { rival(for_rival.next(), bytes); }, Clock::thread);
    report(state, ratio, bytes);
  }
}

void digest_against_copy(benchmark::State& state, const Case& test) {
  std::vector<std::uint8_t> target(std::size_t{16} << 20);
  compare(
      state, test, [](const ConstView& view) { benchmark::DoNotOptimize(fingerprint::digest(view)); },
      [&](const std::uint8_t* source, std::size_t bytes) {
        std::memcpy(target.data(), source, bytes);
        benchmark::ClobberMemory();
      });
}

void digest_against_crc32c(benchmark::State& state, const Case& test) {
  compare(
      state, test, [](const ConstView& view) { benchmark::DoNotOptimize(fingerprint::digest(view)); },
      [](const std::uint8_t* source, std::size_t bytes) {
        benchmark::DoNotOptimize(lockstep::checksum::crc32c(source, bytes));
      });
}

void unordered_against_copy(benchmark::State& state, const Case& test) {
  std::vector<std::uint8_t> target(std::size_t{16} << 20);
  compare(
      state, test,
      [](const ConstView& view) { benchmark::DoNotOptimize(fingerprint::digest_samples_unordered(view)); },
      [&](const std::uint8_t* source, std::size_t bytes) {
        std::memcpy(target.data(), source, bytes);
        benchmark::ClobberMemory();
      });
}

void statistics_against_copy(benchmark::State& state, const Case& test) {
  std::vector<std::uint8_t> target(std::size_t{16} << 20);
  compare(
      state, test, [](const ConstView& view) { benchmark::DoNotOptimize(fingerprint::statistics(view)); },
      [&](const std::uint8_t* source, std::size_t bytes) {
        std::memcpy(target.data(), source, bytes);
        benchmark::ClobberMemory();
      });
}

// A gather of 64 shuffled records with the digest on the way, against the same gather by memcpy.
void gather(benchmark::State& state, std::size_t record_bytes) {
  const std::size_t records = kArenaBytes / 8 / record_bytes;
  std::vector<std::uint8_t> batch(64 * record_bytes);
  std::uint64_t a = 1, b = 1;
  const auto pick = [&](std::uint64_t& position) {
    position = position * 6364136223846793005 + 1442695040888963407;
    return arena().data() + (position >> 33) % records * record_bytes;
  };
  std::vector<const void*> sources(64);
  const auto digested = [&] {
    for (const void*& source : sources) source = pick(a);
    benchmark::DoNotOptimize(fingerprint::copy_and_digest_samples(batch.data(), sources, record_bytes, 0));
  };
  const auto copied = [&] {
    for (std::size_t i = 0; i < 64; ++i) std::memcpy(batch.data() + i * record_bytes, pick(b), record_bytes);
    benchmark::ClobberMemory();
  };
  for (auto _ : state)
    report(state, lockstep::internal::time_pairs(digested, copied, Clock::thread), 64 * record_bytes);
}

template <class Function>
void add(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), function)->Iterations(1)->UseManualTime();
}

const bool kRegistered = [] {
  for (const Case& test : kCases) {
    const std::string name(test.name);
    add("digest/memcpy/" + name, [&test](benchmark::State& state) { digest_against_copy(state, test); });
    add("digest/crc32c/" + name, [&test](benchmark::State& state) { digest_against_crc32c(state, test); });
    add("unordered/memcpy/" + name,
        [&test](benchmark::State& state) { unordered_against_copy(state, test); });
    add("statistics/memcpy/" + name,
        [&test](benchmark::State& state) { statistics_against_copy(state, test); });
  }
  for (const std::size_t bytes : {784, 3072}) {
    add("gather/memcpy/" + std::to_string(bytes), [bytes](benchmark::State& state) { gather(state, bytes); });
  }
  benchmark::AddCustomContext("instruction set", fingerprint::digest_instruction_set());
  return true;
}();

}  // namespace
