#include "lockstep/torch/environment.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include <torch/version.h>

#include "lockstep/base/device.h"
#include "lockstep/base/error.h"

namespace lockstep {
namespace {

using Settings = std::map<std::string, std::string>;

constexpr const char* kVariables[] = {"CUBLAS_WORKSPACE_CONFIG",
                                      "CUDA_VISIBLE_DEVICES",
                                      "CUDA_LAUNCH_BLOCKING",
                                      "NVIDIA_TF32_OVERRIDE",
                                      "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
                                      "OMP_NUM_THREADS",
                                      "MKL_NUM_THREADS",
                                      "MKL_CBWR",
                                      "MKL_ENABLE_INSTRUCTIONS",
                                      "MKL_DYNAMIC",
                                      "ATEN_CPU_CAPABILITY",
                                      "ONEDNN_MAX_CPU_ISA",
                                      "DNNL_MAX_CPU_ISA",
                                      "LD_PRELOAD"};

const char* on_off(bool on) { return on ? "on" : "off"; }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// Releases of torch differ in the type of this switch: a bool, or an enumeration whose 0 is "allowed".
template <class Switch>
bool reduced_precision_allowed(Switch value) {
  if constexpr (std::is_same_v<Switch, bool>)
    return value;
  else
    return static_cast<int>(value) == 0;
}

void add_cuda(Settings& settings) {
  if (!at::hasCUDA()) {
    settings["torch.cuda"] = "none (the program links the CPU part of LibTorch, or there is no driver)";
    return;
  }
  const auto& hooks = at::detail::getCUDAHooks();
  settings["torch.cuda"] = fmt::to_string(hooks.versionCUDART());
  const int devices = hooks.deviceCount();
  settings["torch.cuda.devices"] = fmt::to_string(devices);
  for (int i = 0; i < devices; ++i) settings[fmt::format("cuda.device.{}", i)] = cuda_device_name(i);
  settings["cuda.driver"] = cuda_driver_version();
  if (at::Context::hasCuDNN()) settings["torch.cudnn"] = fmt::to_string(at::Context::versionCuDNN());
}

void add_versions(Settings& settings) {
  settings["torch.version"] = TORCH_VERSION;
  settings["torch.cpu_capability"] = at::get_cpu_capability();
  settings["torch.mkl"] = at::hasMKL() ? first_line(at::get_mkl_version()) : "none";
  settings["torch.onednn"] = at::get_mkldnn_version();
  settings["torch.openmp"] = first_line(at::get_openmp_version());
  add_cuda(settings);
}

void add_switches(Settings& settings) {
  const at::Context& context = at::globalContext();
  settings["torch.deterministic_algorithms"] =
      context.deterministicAlgorithms() ? (context.deterministicAlgorithmsWarnOnly() ? "warn" : "on") : "off";
  settings["torch.fill_uninitialized_memory"] = on_off(context.deterministicFillUninitializedMemory());
  settings["torch.deterministic_onednn"] = on_off(context.deterministicMkldnn());
  settings["torch.cudnn.enabled"] = on_off(context.userEnabledCuDNN());
  settings["torch.cudnn.deterministic"] = on_off(context.deterministicCuDNN());
  settings["torch.cudnn.benchmark"] = on_off(context.benchmarkCuDNN());
  settings["torch.tf32.cublas"] = on_off(context.allowTF32CuBLAS());
  settings["torch.tf32.cudnn"] = on_off(context.allowTF32CuDNN());
  constexpr const char* kPrecisions[] = {"highest", "high", "medium"};
  settings["torch.float32_matmul_precision"] =
      kPrecisions[static_cast<int>(context.float32MatmulPrecision())];
  settings["torch.fp16_reduced_sums"] = on_off(reduced_precision_allowed(context.allowFP16ReductionCuBLAS()));
  settings["torch.bf16_reduced_sums"] = on_off(reduced_precision_allowed(context.allowBF16ReductionCuBLAS()));
  settings["torch.autocast.cpu"] = on_off(at::autocast::is_autocast_enabled(at::kCPU));
  settings["torch.autocast.cuda"] = on_off(at::autocast::is_autocast_enabled(at::kCUDA));
  settings["torch.default_dtype"] = std::string(c10::get_default_dtype().name());
}

[[noreturn]] void refuse_cuda(std::string what, std::string expected, std::string got, std::string next,
                              ErrorCode code = ErrorCode::unsupported) {
  fail(code, {"cuda_device", std::move(what), std::move(expected), std::move(got), std::move(next)});
}

/// The folder that libtorch_cpu.so was loaded from.
std::filesystem::path libtorch_folder() {
  Dl_info found;
  if (dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &found) == 0)
    refuse_cuda("LibTorch", "a shared library", "one that the loader does not know", {});
  return std::filesystem::path(found.dli_fname).parent_path();
}

void load_cuda_part() {
  if (c10::impl::hasDeviceGuardImpl(at::kCUDA)) return;
  const std::filesystem::path file = libtorch_folder() / "libtorch_cuda.so";
  if (!std::filesystem::exists(file))
    refuse_cuda("LibTorch", "a CUDA part", "none: no " + file.string(), "Install a LibTorch with CUDA");
  if (dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
    refuse_cuda("LibTorch's CUDA part", "a library that can be loaded", dlerror(),
                "Install what it needs, or name its folder in LD_LIBRARY_PATH");
}

}  // namespace

c10::Device cuda_device(int index) {
  const int devices = cuda_device_count();
  if (index < 0) refuse_cuda("index", "0 or more", fmt::to_string(index), {}, ErrorCode::invalid_argument);
  if (devices == 0) refuse_cuda("device", "a CUDA device", "none: " + cuda_trouble(), "Use the CPU");
  if (index >= devices)
    refuse_cuda("device", fmt::format("one of the {} CUDA devices, counted from 0", devices),
                fmt::to_string(index), {});
  load_cuda_part();
  if (!at::hasCUDA())
    refuse_cuda("call", "one before LibTorch is asked for CUDA for the first time", "one after that",
                "Call cuda_device() first, or link the program with libtorch_cuda.so",
                ErrorCode::invalid_argument);
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

std::map<std::string, std::string> torch_environment() {
  Settings settings;
  add_versions(settings);
  add_switches(settings);
  settings["torch.threads"] = fmt::to_string(at::get_num_threads());
  settings["torch.interop_threads"] = fmt::to_string(at::get_num_interop_threads());
  for (const char* variable : kVariables)
    if (const char* value = std::getenv(variable)) settings[std::string("env.") + variable] = value;
  return settings;
}

c10::Device device_named(const std::string& text) {
  constexpr std::string_view kCuda = "cuda:";
  const std::string number = text.starts_with(kCuda) ? text.substr(kCuda.size()) : text == "cuda" ? "0" : "";
  if (text == "cpu") return c10::kCPU;
  if (number.empty() || number.size() > 3 || number.find_first_not_of("0123456789") != std::string::npos)
    fail(ErrorCode::invalid_argument,
         {"--device", "name", "cpu, cuda or cuda:N", text, "Pass --device cuda for the first GPU"});
  return cuda_device(std::stoi(number));
}

std::map<std::string, std::string> enforce_determinism(std::uint64_t seed, int threads) {
  if (threads < 0)
    fail(ErrorCode::invalid_argument, {"enforce_determinism", "threads", "0 (as they are) or more",
                                       fmt::to_string(threads), "Pass a number of threads"});
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(true);
  context.setDeterministicMkldnn(true);
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setFloat32MatmulPrecision("highest");
  context.setAllowFP16ReductionCuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
  at::manual_seed(seed);
  if (threads > 0) at::set_num_threads(threads);

  Settings settings;
  add_switches(settings);
  settings["torch.seed"] = fmt::to_string(seed);
  settings["torch.threads"] = fmt::to_string(at::get_num_threads());
  settings["env.CUBLAS_WORKSPACE_CONFIG"] = std::getenv("CUBLAS_WORKSPACE_CONFIG");
  return settings;
}

}  // namespace lockstep
