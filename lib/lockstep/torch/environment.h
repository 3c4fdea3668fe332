#pragma once
// What torch is and how it is set: for a recording's header; and the one call that makes torch repeatable.

#include <c10/core/Device.h>
#include <cstdint>
#include <map>
#include <string>

namespace lockstep {

/// Versions (torch, MKL, oneDNN, OpenMP, CUDA, cuDNN, driver), CUDA devices, threads, TF32 and precision
/// switches, autocast, cuDNN flags, deterministic switches, default dtype, and the environment variables that
/// change torch's results. Keys begin with "torch.", "cuda." or "env."; unset variables are left out. Without
/// a CUDA device nothing of CUDA is initialised.
std::map<std::string, std::string> torch_environment();

/// Makes what torch computes repeatable, as far as torch can: deterministic algorithms on (operations without
/// one throw instead of warning), memory that is not initialised filled, cuDNN deterministic and not
/// benchmarking, TF32 off, reduced precision sums off, CUBLAS_WORKSPACE_CONFIG=:4096:8 unless it is set (call
/// this before the first use of CUDA), seeds set, `threads` intra-op threads (0: as they are). Returns each
/// switch with its value, for people. Throws Error(invalid_argument) for a negative number of threads.
std::map<std::string, std::string> enforce_determinism(std::uint64_t seed, int threads);

/// CUDA device `index`, ready for tensors. A program that is linked with LibTorch's CPU part alone gets its
/// CUDA part loaded (libtorch_cuda.so, beside libtorch_cpu.so): call this before anything else of LibTorch,
/// which asks for CUDA once and remembers that there was none. Throws Error(unsupported) where this lockstep
/// was built without CUDA, LibTorch has no CUDA part or cannot load it, or there is no such device;
/// Error(invalid_argument) for a negative index and for a call that comes too late.
c10::Device cuda_device(int index = 0);

/// The device that a command line names: "cpu", "cuda" for the first of CUDA's, or "cuda:N". Throws
/// Error(invalid_argument) for other words, and as cuda_device(), whose caution holds too.
c10::Device device_named(const std::string& text);

}  // namespace lockstep
