#pragma once
// What a recorder learns of CUDA tensors without waiting for their device.

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "lockstep/fingerprint/fingerprints.h"
#include "lockstep/record/late_recorder.h"

namespace lockstep {

/// Comes when the streams have come so far that were LibTorch's current ones of `devices`.
class StreamArrival final : public record::Arrival {
 public:
  explicit StreamArrival(const std::vector<at::Device>& devices);
  bool has_come() override;
  void wait() override;

 private:
  std::vector<c10::Event> events_;
};

/// Fingerprints of tensors, in a few launches for all of a device.
class LateFingerprints {
 public:
  /// Whether this build has kernels for them and a device to run them on.
  static bool have_kernels();

  /// `dense` is what dense() gave of a CUDA tensor, and is held until start() is done. Numbered from 0.
  void add(const at::Tensor& dense, std::int64_t first_sample, bool statistics);
  /// Launches all on LibTorch's current streams, and starts to fetch the results.
  void start();
  std::vector<at::Device> devices() const;
  std::size_t bytes() const { return places_.size() * sizeof(fingerprint::Fingerprint); }
  /// Of the tensor that was added so many others before, once the streams have come so far.
  const fingerprint::Fingerprint& operator[](std::size_t index) const;

 private:
  struct OfDevice {
    at::Device device;
    std::vector<at::Tensor> held;
    std::vector<fingerprint::FingerprintRequest> requests;
    at::Tensor results;  ///< pinned memory
  };

  std::vector<OfDevice> devices_;
  std::vector<std::pair<std::size_t, std::size_t>> places_;  ///< device, and number there
};

}  // namespace lockstep
