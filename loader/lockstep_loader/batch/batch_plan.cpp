#include "lockstep_loader/batch/batch_plan.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

__extension__ using Wide = __int128;

/// floor(total · part / parts)
std::int64_t cut(std::int64_t total, int part, int parts) {
  return static_cast<std::int64_t>(Wide{total} * part / parts);
}

}  // namespace

void BatchPlan::check() const {
  if (batch_size < 1) {
    fail(ErrorCode::invalid_argument,
         {"batch plan", "batch size", "1 or more", std::to_string(batch_size), "Pass a positive batch size"});
  }
  if (positions < 0) {
    fail(ErrorCode::invalid_argument,
         {"batch plan", "positions", "0 or more", std::to_string(positions), {}});
  }
  if (world_size < 1) {
    fail(ErrorCode::invalid_argument,
         {"batch plan", "world size", "1 or more", std::to_string(world_size), {}});
  }
  if (rank < 0 || rank >= world_size) {
    fail(ErrorCode::invalid_argument, {"batch plan", "rank", "0 to " + std::to_string(world_size - 1),
                                       std::to_string(rank), "Ranks count from 0"});
  }
  if (world_size > batch_size) {
    fail(ErrorCode::invalid_argument,
         {"batch plan", "world size",
          "at most the " + std::to_string(batch_size) + " samples of a global batch",
          std::to_string(world_size), "Use fewer ranks or a larger batch: every rank needs a sample"});
  }
  if (batch_size % world_size != 0) {
    fail(ErrorCode::invalid_argument,
         {"batch plan", "world size", "a divisor of the global batch size " + std::to_string(batch_size),
          std::to_string(world_size), "Choose a batch size that is a multiple of the number of ranks"});
  }
}

std::int64_t BatchPlan::batches() const {
  const std::int64_t full = positions / batch_size;
  const bool rest = positions % batch_size != 0;
  return rest && last != LastBatch::drop ? full + 1 : full;
}

std::int64_t BatchPlan::samples() const {
  return last == LastBatch::keep ? positions : batches() * batch_size;
}

BatchRange BatchPlan::range(std::int64_t batch) const {
  const std::int64_t start = batch * batch_size;
  const std::int64_t samples = last == LastBatch::wrap ? batch_size : std::min(batch_size, positions - start);
  const std::int64_t begin = cut(samples, rank, world_size);
  const std::int64_t end = cut(samples, rank + 1, world_size);
  return {(start + begin) % positions, end - begin, samples, begin};
}

void BatchPlan::ids(const EpochOrder& order, const BatchRange& range, std::span<std::int64_t> out) const {
  std::int64_t first = range.first;
  while (!out.empty()) {
    const auto part = std::min<std::int64_t>(static_cast<std::int64_t>(out.size()), positions - first);
    order.ids(first, out.first(static_cast<std::size_t>(part)));
    out = out.subspan(static_cast<std::size_t>(part));
    first = 0;
  }
}

}  // namespace lockstep::loader
