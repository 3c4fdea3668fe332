#include "lockstep_loader/torch/device_batches.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <utility>

#include <torch/torch.h>

namespace lockstep::loader {

DeviceBatches::DeviceBatches(Loader& loader, at::Device device) : loader_(loader), device_(device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl backend(device.type());
  if (!device.has_index()) device_ = backend.getDevice();
  stream_ = backend.getNewStream(device_);
}

DeviceBatches::~DeviceBatches() {
  if (ahead_) under_way_.push_back(std::move(ahead_->source));
  for (const Source& source : under_way_) source.copied.synchronize();
}

std::optional<DeviceBatch> DeviceBatches::next() {
  std::optional<Batch> batch = loader_.next();
  if (!batch) return std::nullopt;
  if (!stream_) return DeviceBatch{*batch, to_tensors(*batch)};
  // The memory tells whether it is the batch that was copied ahead: while it is held, no other batch has it.
  if (!ahead_ || ahead_->source.memory != batch->storage) {
    if (ahead_) under_way_.push_back(std::move(ahead_->source));
    ahead_ = begin_copy(*batch);
  }
  TensorBatch tensors = end_copy(*std::exchange(ahead_, std::nullopt));
  return DeviceBatch{std::move(*batch), std::move(tensors)};
}

void DeviceBatches::prefetch() {
  if (!stream_ || ahead_) return;
  if (const Batch* const batch = loader_.peek()) ahead_ = begin_copy(*batch);
}

DeviceBatches::Copy DeviceBatches::begin_copy(const Batch& batch) const {
  const c10::StreamGuard guard(*stream_);
  TensorBatch tensors = to_tensors(batch);
  for (NamedTensor& field : tensors.fields) field.tensor = field.tensor.to(device_, /*non_blocking=*/true);
  c10::Event copied(device_.type());
  copied.record(*stream_);
  return {{batch.storage, std::move(copied)}, std::move(tensors)};
}

TensorBatch DeviceBatches::end_copy(Copy copy) {
  const c10::impl::VirtualGuardImpl backend(device_.type());
  const c10::Stream current = backend.getStream(device_);
  copy.source.copied.block(current);
  // The tensors were allocated on the stream of copies; their memory must not serve another copy before the
  // work that reads them is done.
  for (const NamedTensor& field : copy.tensors.fields)
    backend.recordDataPtrOnStream(field.tensor.storage().data_ptr(), current);
  under_way_.push_back(std::move(copy.source));
  while (!under_way_.empty() && under_way_.front().copied.query()) under_way_.pop_front();
  return std::move(copy.tensors);
}

}  // namespace lockstep::loader
