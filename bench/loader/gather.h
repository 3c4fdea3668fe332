#pragma once
// The ceiling: shuffled records copied by memcpy into batch buffers that are used again, and nothing else.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::bench {

constexpr std::int64_t kBatchSize = 64;

/// `count` records of `bytes` bytes, and a shuffled order of them.
class Records {
 public:
  Records(std::int64_t count, std::size_t bytes);

  std::int64_t count() const { return count_; }
  /// The same memory as a dataset with one field.
  loader::DatasetPtr dataset() const;
  /// One epoch, by this many threads (1 or 2): each takes every such batch into a buffer of its own.
  void gather(int threads) const;

 private:
  void gather_batches(std::int64_t first, std::int64_t step) const;

  std::int64_t count_;
  std::size_t bytes_;
  std::shared_ptr<std::vector<std::uint8_t>> memory_;
  std::vector<std::int64_t> order_;
};

}  // namespace lockstep::bench
