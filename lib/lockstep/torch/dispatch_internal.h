#pragma once
// How the mode gets between a program and LibTorch's kernels: one dispatch key that a thread switches, and a
// second one that no thread ever has, as a hidden place for kernels.
//
//   kHigh  above autocast and autograd. Here lie: a boxed fallback, which refuses what is not known;
//   fallthroughs for
//          what is exact or composite; and the operations with an autograd node of ours.
//   kLow   below autograd. A kernel at kHigh that only wants the computation replaced redispatches with kLow
//   added to
//          the key set, so that PyTorch's own derivative formula runs and then, in place of the backend's
//          kernel, ours. kLow is never in a thread's set: operations without a kernel there would resolve to
//          other kernels.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <atomic>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cstdint>
#include <string>
#include <utility>

#include <torch/library.h>

namespace lockstep::invariant {

constexpr c10::DispatchKey kHigh = c10::DispatchKey::DeferredInit;
constexpr c10::DispatchKey kLow = c10::DispatchKey::CustomRNGKeyId;

inline c10::DispatchKeySet below(c10::DispatchKey key) {
  return c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, key);
}
/// The key set with which LibTorch's own kernel is called, autograd included.
inline c10::DispatchKeySet past_high(c10::DispatchKeySet keys) { return keys & below(kHigh); }
/// The key set with which PyTorch's derivative formula is called and then our kernel at kLow.
inline c10::DispatchKeySet through_low(c10::DispatchKeySet keys) { return past_high(keys).add(kLow); }

/// For the inside of a kernel: what it calls is not looked at again.
class InsideKernel {
 public:
  InsideKernel() : guard_(kHigh) {}

 private:
  c10::impl::ExcludeDispatchKeyGuard guard_;
};

/// Whether autograd records what is called now. Below its kernels it does not, though gradients stay enabled.
inline bool records_gradients() {
  return at::GradMode::is_enabled() &&
         !c10::impl::tls_is_dispatch_key_excluded(c10::DispatchKey::AutogradCPU);
}

/// Counts a call of an operation of ours.
#define LOCKSTEP_COUNT_CALL(name)                                                                   \
  do {                                                                                              \
    static ::lockstep::invariant::CallCounter& counter = ::lockstep::invariant::call_counter(name); \
    counter.add();                                                                                  \
  } while (false)

class CallCounter {
 public:
  void add() { calls_.fetch_add(1, std::memory_order_relaxed); }
  std::int64_t calls() const { return calls_.load(std::memory_order_relaxed); }
  void reset() { calls_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> calls_{0};
};
CallCounter& call_counter(const std::string& operation);

/// Refuses tensors that are not plain: fake and meta tensors, subclasses, torch.func's wrappers.
/// Throws Error(unsupported).
void require_plain(const char* operation, c10::DispatchKeySet keys);
/// require_plain, and float32 on the CPU or on a CUDA device that this build has kernels for, or float64 on
/// the CPU. Throws Error(unsupported).
void require_supported(const char* operation, c10::DispatchKeySet keys, const at::Tensor& tensor);
/// Whether this thread's mode refuses tensors on a CUDA device. Returns what was before.
bool set_cpu_alone(bool on);
/// The kernels use as many threads as LibTorch does.
void take_over_thread_count();

/// A name as a template argument.
template <std::size_t size>
struct Name {
  constexpr Name(const char (&letters)[size]) { std::copy_n(letters, size, text); }
  char text[size];
};

/// The two libraries that a file of operations registers into.
struct Registrar {
  torch::Library& high;
  torch::Library& low;

  /// An operation whose computation alone is ours.
  template <class Function>
  void compute(const char* name, Function&& function) {
    note(name);
    high.impl(name, torch::CppFunction::makeFromBoxedFunction<&redirect_to_low>());
    low.impl(name, std::forward<Function>(function));
  }
  /// An exact operation of which LibTorch's CUDA kernel has other bits than its CPU kernel: the CUDA form is
  /// ours, with the bits of the CPU's.
  template <class Function>
  void compute_on_cuda(const char* name, Function&& function) {
    high.impl(name, torch::CppFunction::makeFromBoxedFunction<&redirect_cuda_to_low>());
    low.impl(name, std::forward<Function>(function));
  }
  /// An operation with an autograd node of ours.
  template <class Function>
  void whole(const char* name, Function&& function) {
    note(name);
    high.impl(name, std::forward<Function>(function));
  }

 private:
  static void note(const char* name);
  static void redirect_to_low(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                              torch::jit::Stack* stack);
  static void redirect_cuda_to_low(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                                   torch::jit::Stack* stack);
};

/// Whether a tensor among the arguments of a call lies on a CUDA device.
inline bool is_on_cuda(c10::DispatchKeySet keys) { return keys.has_backend(c10::BackendComponent::CUDABit); }

/// The result of an operation that writes to `out`, which is resized where it does not fit.
at::Tensor& write_into(at::Tensor& out, const at::Tensor& result);

void register_linear(Registrar& registrar);
void register_matmul(Registrar& registrar);
void register_rowwise(Registrar& registrar);
void register_losses(Registrar& registrar);
void register_element_losses(Registrar& registrar);
void register_elementwise(Registrar& registrar);
void register_clamps(Registrar& registrar);
void register_activations(Registrar& registrar);
void register_reductions(Registrar& registrar);
void register_norms(Registrar& registrar);
void register_group_norms(Registrar& registrar);
void register_convolutions(Registrar& registrar);
void register_pooling(Registrar& registrar);
void register_embedding(Registrar& registrar);
void register_dropout(Registrar& registrar);
void register_attention(Registrar& registrar);
void register_transformer(Registrar& registrar);
void register_composed(Registrar& registrar);
void register_vector_norms(Registrar& registrar);

/// Makes the registrations, once.
void ensure_registered();

}  // namespace lockstep::invariant
