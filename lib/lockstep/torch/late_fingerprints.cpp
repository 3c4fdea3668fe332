#include <ATen/ATen.h>
#include <algorithm>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/torch/late_fingerprints_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

/// Calls `call`, and makes LibTorch's error one of ours.
template <class Call>
auto ask_device(Call call) {
  try {
    return call();
  } catch (const c10::Error& error) {
    fail(ErrorCode::internal, {"recorder",
                               "values on their way from a CUDA device",
                               {},
                               error.what_without_backtrace(),
                               "They are lost, and what was recorded after them; look for the operation "
                               "that failed with CUDA_LAUNCH_BLOCKING=1"});
  }
}

}  // namespace

StreamArrival::StreamArrival(const std::vector<at::Device>& devices) {
  for (const at::Device device : devices) {
    events_.emplace_back(device.type());
    events_.back().record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }
}

bool StreamArrival::has_come() {
  return ask_device([this] {
    return std::all_of(events_.begin(), events_.end(), [](const c10::Event& event) { return event.query(); });
  });
}

void StreamArrival::wait() {
  ask_device([this] {
    for (const c10::Event& event : events_) event.synchronize();
  });
}

bool LateFingerprints::have_kernels() {
  static const bool have = cuda_device_count() > 0;
  return have;
}

void LateFingerprints::add(const at::Tensor& dense, std::int64_t first_sample, bool statistics) {
  auto of = std::find_if(devices_.begin(), devices_.end(),
                         [&](const OfDevice& one) { return one.device == dense.device(); });
  if (of == devices_.end()) of = devices_.insert(of, OfDevice{dense.device(), {}, {}, {}});
  places_.emplace_back(of - devices_.begin(), of->requests.size());
  of->requests.push_back({view_of_dense(dense), first_sample, false, statistics});
  of->held.push_back(dense);
}

void LateFingerprints::start() {
  for (OfDevice& of : devices_) {
    OnDevice on("recorder", of.held.front());
    const auto count = static_cast<std::int64_t>(of.requests.size() * sizeof(fingerprint::Fingerprint));
    const at::Tensor results = at::empty({count}, at::TensorOptions(of.device).dtype(at::kByte));
    std::uint8_t* const scratch =
        on.scratch<std::uint8_t>(fingerprint::fingerprints_scratch_bytes(of.requests));
    fingerprint::fingerprints(of.requests, static_cast<fingerprint::Fingerprint*>(results.mutable_data_ptr()),
                              scratch, Device::cuda, on.stream());
    of.results = start_fetching(results);
    of.held.clear();
    of.requests.clear();
  }
}

std::vector<at::Device> LateFingerprints::devices() const {
  std::vector<at::Device> devices;
  for (const OfDevice& of : devices_) devices.push_back(of.device);
  return devices;
}

const fingerprint::Fingerprint& LateFingerprints::operator[](std::size_t index) const {
  const auto [device, place] = places_[index];
  return static_cast<const fingerprint::Fingerprint*>(devices_[device].results.const_data_ptr())[place];
}

}  // namespace lockstep
