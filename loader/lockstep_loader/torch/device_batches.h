#pragma once
// Batches on a device, each copied while the one before is computed on.

#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <deque>
#include <memory>
#include <optional>

#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/torch/batch_tensors.h"

namespace lockstep::loader {

/// A delivered batch. On the CPU both are the same memory.
struct DeviceBatch {
  Batch host;
  TensorBatch tensors;  ///< on the device
};

/// Hands on what a loader delivers, on a device:
///
///     LoaderOptions options{.batch_size = 64, .workers = 2, .allocate = pinned_memory()};
///     Loader loader(dataset, sampler, options);
///     DeviceBatches batches(loader, at::kCUDA);
///     loader.begin(epoch);
///     while (auto batch = batches.next()) {
///       …                     // gives the device its work
///       batches.prefetch();   // the next batch is fetched and copied beside it
///       …                     // waits for the loss, if it must
///     }
///
/// Order, errors and the loader's state are those of Loader::next(): a batch that was copied ahead is not
/// delivered until next() returns it, and begin() and restore() of the loader may be called at any time.
/// Copies go on a stream of their own; the current stream waits for them, the host never does. They run
/// beside the device's work from pinned memory alone. One consumer thread.
class DeviceBatches {
 public:
  /// `loader` must outlive it.
  DeviceBatches(Loader& loader, at::Device device);
  /// Waits for copies that are under way.
  ~DeviceBatches();
  DeviceBatches(const DeviceBatches&) = delete;
  DeviceBatches& operator=(const DeviceBatches&) = delete;

  /// As Loader::next(). Its tensors may be used on the stream that is current now; on another one, once that
  /// waits for it.
  std::optional<DeviceBatch> next();

  /// Begins to copy the batch after the one that next() returned last. Waits until the loader has fetched it,
  /// which without workers means: fetches it; what the fetch throws, next() throws. Does nothing on the CPU.
  void prefetch();

 private:
  /// Holds the memory that is read until the copy is done.
  struct Source {
    std::shared_ptr<std::byte> memory;
    c10::Event copied;
  };
  struct Copy {
    Source source;
    TensorBatch tensors;
  };

  Copy begin_copy(const Batch& batch) const;
  TensorBatch end_copy(Copy copy);

  Loader& loader_;
  at::Device device_;
  std::optional<c10::Stream> stream_;  ///< none on the CPU
  std::optional<Copy> ahead_;
  std::deque<Source> under_way_;
};

}  // namespace lockstep::loader
