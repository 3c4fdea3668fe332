// What a view costs over the copy that it cannot do without, on shuffled records of 784 and 3,072 bytes and
// their labels. Each line prints a ratio of rates from interleaved pairs (1: as fast as the rival).

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/dataset/subset.h"

namespace {

using namespace lockstep::loader;
using lockstep::DType;
namespace internal = lockstep::internal;

constexpr std::int64_t kRecords = 60000;

struct Table {
  explicit Table(std::int64_t record_bytes)
      : bytes(record_bytes),
        images(static_cast<std::size_t>(kRecords * record_bytes), std::byte{1}),
        labels(kRecords),
        order(kRecords) {
    lockstep::random::Generator random(1);
    for (std::int64_t at = 0; at < kRecords; ++at) order[static_cast<std::size_t>(at)] = at;
    for (std::size_t at = order.size(); at > 1; --at) std::swap(order[at - 1], order[random.below(at)]);
  }
  DatasetPtr dataset() const {
    return std::make_shared<InMemoryDataset>(
        std::vector<NamedView>{{"image", {images.data(), DType::uint8, {kRecords, bytes}}},
                               {"label", {labels.data(), DType::int64, {kRecords}}}});
  }

  std::int64_t bytes;
  std::vector<std::byte> images;
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> order;
};

/// Fills a batch of 64 over and over.
template <class Copy>
void gather(const Table& table, std::vector<std::byte>& batch, std::int64_t* labels, Copy&& copy) {
  for (std::int64_t at = 0; at < kRecords; ++at) {
    const std::int64_t row = at % 64;
    copy(at, table.order[static_cast<std::size_t>(at)], batch.data() + row * table.bytes,
         reinterpret_cast<std::byte*>(labels + row));
  }
}

void compare(benchmark::State& state, bool through_subset, bool prefetch) {
  const Table table(state.range(0));
  DatasetPtr dataset = table.dataset();
  if (through_subset) {
    std::vector<std::int64_t> identity(kRecords);
    for (std::int64_t at = 0; at < kRecords; ++at) identity[static_cast<std::size_t>(at)] = at;
    dataset = std::make_shared<SubsetDataset>(dataset, std::move(identity));
  }
  const std::int64_t ahead = std::clamp<std::int64_t>(3328 / table.bytes, 2, 16);  // as the loader does
  std::vector<std::byte> batch(static_cast<std::size_t>(64 * table.bytes));
  std::int64_t labels[64];
  const auto ours = [&] {
    gather(table, batch, labels,
           [&](std::int64_t at, std::int64_t record, std::byte* image, std::byte* label) {
             if (prefetch && at + ahead < kRecords)
               dataset->prefetch(table.order[static_cast<std::size_t>(at + ahead)]);
             std::byte* const out[2] = {image, label};
             dataset->get(record, {}, out);
           });
  };
  const auto rival = [&] {
    gather(table, batch, labels, [&](std::int64_t, std::int64_t record, std::byte* image, std::byte* label) {
      std::memcpy(image, table.images.data() + record * table.bytes, static_cast<std::size_t>(table.bytes));
      std::memcpy(label, &table.labels[static_cast<std::size_t>(record)], 8);
    });
  };
  for (auto _ : state) {
    const internal::PairedRatio ratio = internal::time_pairs(ours, rival, internal::Clock::thread, 21, 0.02);
    state.SetIterationTime(ratio.operation_seconds);
    state.counters["records/s"] = kRecords / ratio.operation_seconds;
    state.counters["ratio"] = ratio.median;
    state.counters["ratio_low"] = ratio.low;
    state.counters["ratio_high"] = ratio.high;
  }
}

BENCHMARK_CAPTURE(compare, in_memory, false, false)->Arg(784)->Arg(3072)->Iterations(1)->UseManualTime();
BENCHMARK_CAPTURE(compare, in_memory_prefetched, false, true)
    ->Arg(784)
    ->Arg(3072)
    ->Iterations(1)
    ->UseManualTime();
BENCHMARK_CAPTURE(compare, subset_prefetched, true, true)
    ->Arg(784)
    ->Arg(3072)
    ->Iterations(1)
    ->UseManualTime();

}  // namespace
