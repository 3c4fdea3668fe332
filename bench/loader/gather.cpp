#include "loader/gather.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include <benchmark/benchmark.h>

#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::bench {

Records::Records(std::int64_t count, std::size_t bytes)
    : count_(count),
      bytes_(bytes),
      memory_(std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>(count) * bytes)),
      order_(static_cast<std::size_t>(count)) {
  for (std::size_t i = 0; i < memory_->size(); ++i)
    (*memory_)[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
  loader::native_random({count, 1, false, {}})->begin_epoch(0, {})->ids(0, order_);
}

loader::DatasetPtr Records::dataset() const {
  const Shape shape{count_, static_cast<std::int64_t>(bytes_)};
  return std::make_shared<loader::InMemoryDataset>(
      std::vector<loader::NamedView>{{"record", {memory_->data(), DType::uint8, shape}}}, memory_);
}

void Records::gather(int threads) const {
  if (threads == 1) return gather_batches(0, 1);
  std::thread other([this] { gather_batches(1, 2); });
  gather_batches(0, 2);
  other.join();
}

void Records::gather_batches(std::int64_t first, std::int64_t step) const {
  std::vector<std::uint8_t> batch(kBatchSize * bytes_);
  for (std::int64_t start = first * kBatchSize; start < count_; start += step * kBatchSize) {
    const std::int64_t rows = std::min(kBatchSize, count_ - start);
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto record = static_cast<std::size_t>(order_[static_cast<std::size_t>(start + row)]);
      std::memcpy(batch.data() + static_cast<std::size_t>(row) * bytes_, memory_->data() + record * bytes_,
                  bytes_);
    }
    benchmark::ClobberMemory();
  }
}

}  // namespace lockstep::bench
