#pragma once
// The invariant mode together with every switch of LibTorch that it is used with, set on entry and put back
// on exit.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/torch/invariant_mode.h"

namespace lockstep {

struct BatchInvariantOptions {
  /// Tensors on the CPU alone: the mode's operations refuse those on a CUDA device. false lets them; it is
  /// refused where this build has no kernels for CUDA, or the machine no device.
  bool force_cpu = true;
  /// "fp32" (or "float32"): IEEE single precision, autocast off, default dtype float32, and wherever LibTorch
  /// would compute float32 products in TF32 or bfloat16 it does not.
  std::string precision = "fp32";
  /// Seeds LibTorch's default CPU generator; on exit it goes on where it was on entry.
  std::optional<std::uint64_t> manual_seed = std::nullopt;
  /// Deterministic algorithms on (an operation that has none throws), uninitialised memory filled, oneDNN and
  /// cuDNN deterministic, cuDNN not benchmarking, no sums of reduced precision.
  bool enforce_deterministic_algorithms = true;
  /// Intra-op threads; 0: as they are.
  int threads = 0;
};

/// Holds an InvariantMode and the switches above while it lives:
///
///     const BatchInvariantConfig config({.manual_seed = 42, .threads = 2});
///
/// The destructor restores exactly what the constructor changed, in reverse order, also after an exception:
/// the generator's state, deterministic switches (with "warn only"), the fill of uninitialised memory,
/// cuDNN's and oneDNN's switches, precisions (LibTorch's tree of them and its older switches), autocast, the
/// default dtype, the number of threads. Objects nest; they die in the thread that made them, in reverse
/// order. Most of these switches belong to the process: two threads must not hold objects at the same time.
///
/// CUDA's switches are set too: no TF32 in products and convolutions, no sums of reduced precision. The
/// mode's own kernels need none of them, nor CUBLAS_WORKSPACE_CONFIG, since they call neither cuBLAS nor
/// cuDNN.
///
/// Throws, with nothing changed: Error(unsupported) for fp16 and bf16, for force_cpu = false without a CUDA
/// device and where InvariantMode does; Error(invalid_argument) for another precision and a negative number
/// of threads.
class BatchInvariantConfig {
 public:
  explicit BatchInvariantConfig(BatchInvariantOptions options = {});
  ~BatchInvariantConfig() = default;
  BatchInvariantConfig(const BatchInvariantConfig&) = delete;
  BatchInvariantConfig& operator=(const BatchInvariantConfig&) = delete;

  const BatchInvariantOptions& options() const { return options_; }

 private:
  /// What puts things back, run from the last to the first.
  class Restorer {
   public:
    Restorer() = default;
    ~Restorer();
    Restorer(const Restorer&) = delete;
    Restorer& operator=(const Restorer&) = delete;
    void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
    /// set(now), and set(before) in the end.
    template <class Value, class Set>
    void change(Value before, Value now, Set set) {
      add([set, before] { set(before); });
      set(now);
    }

   private:
    std::vector<std::function<void()>> steps_;
  };

  void set_precision();
  void set_seed();
  void set_determinism();

  BatchInvariantOptions options_;
  Restorer restorer_;
  std::optional<InvariantMode> mode_;  ///< ends before anything is restored
};

}  // namespace lockstep
