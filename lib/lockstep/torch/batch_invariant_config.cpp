#include "lockstep/torch/batch_invariant_config.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <array>
#include <c10/core/DefaultDtype.h>
#include <memory>
#include <mutex>
#include <type_traits>

#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/generator_internal.h"

namespace lockstep {
namespace {

void check_precision(const std::string& precision) {
  if (precision == "fp32" || precision == "float32") return;
  for (const char* name : {"bf16", "bfloat16", "fp16", "float16", "half"})
    if (precision == name)
      fail(ErrorCode::unsupported, {"BatchInvariantConfig", "precision", "fp32", precision,
                                    "The contract of 16-bit types is the order in which a GPU's tensor cores "
                                    "add; CPUs have no instruction "
                                    "for it"});
  fail(ErrorCode::invalid_argument, {"BatchInvariantConfig", "precision", "fp32", precision,
                                     "fp16 and bf16 are known, but have no kernels"});
}

void check(const BatchInvariantOptions& options) {
  check_precision(options.precision);
  if (const std::string trouble = options.force_cpu ? "" : cuda_trouble(); !trouble.empty())
    fail(ErrorCode::unsupported,
         {"BatchInvariantConfig", "force_cpu", "true", "false", "There is no CUDA device: " + trouble});
  if (options.threads < 0)
    fail(ErrorCode::invalid_argument, {"BatchInvariantConfig", "threads", "0 (as they are) or more",
                                       std::to_string(options.threads), "Pass a number of threads"});
}

/// LibTorch keeps the precision of float32 products in a tree (any backend; a backend; its convolutions, RNNs
/// and products), where a node that says nothing follows its parent, and beside it two older switches that
/// must agree with the tree wherever somebody asks for them.
class Float32Precisions {
 public:
  Float32Precisions()
      : products_(unless_mixed([] { return at::globalContext().float32MatmulPrecision(); })),
        cudnn_(unless_mixed([] { return at::globalContext().allowTF32CuDNN(); })) {
    for (Node& node : nodes_) node.before = at::globalContext().float32Precision(node.backend, node.op);
  }

  void make_ieee() {
    // Parents first: a node that is still reduced when its parents are not says so itself.
    for (Node& node : nodes_) {
      if (!is_reduced(at::globalContext().float32Precision(node.backend, node.op))) continue;
      node.says_so = true;
      write(node, at::Float32Precision::IEEE);
    }
    if (products_) at::globalContext().setFloat32MatmulPrecision("highest");
    if (cudnn_ && *cudnn_) at::globalContext().setAllowTF32CuDNN(false);
  }

  void restore() {
    constexpr const char* kNames[] = {"highest", "high", "medium"};
    if (products_) at::globalContext().setFloat32MatmulPrecision(kNames[static_cast<int>(*products_)]);
    if (cudnn_ && *cudnn_) at::globalContext().setAllowTF32CuDNN(true);
    for (const Node& node : nodes_)
      write(node, is_reduced(node.before) && !node.says_so ? at::Float32Precision::NONE : node.before);
  }

 private:
  struct Node {
    at::Float32Backend backend;
    at::Float32Op op;
    at::Float32Precision before = at::Float32Precision::NONE;
    bool says_so = false;  ///< reduced by itself, not by a parent
  };

  static bool is_reduced(at::Float32Precision precision) {
    return precision == at::Float32Precision::TF32 || precision == at::Float32Precision::BF16;
  }
  static void write(const Node& node, at::Float32Precision precision) {
    at::globalContext().setFloat32Precision(node.backend, node.op, precision);
  }
  /// The older switches throw where the tree says something else; then only the tree counts.
  template <class Ask>
  static auto unless_mixed(Ask ask) -> std::optional<decltype(ask())> {
    try {
      return ask();
    } catch (const c10::Error&) {
      return std::nullopt;
    }
  }

  std::array<Node, 9> nodes_ = {{{at::Float32Backend::GENERIC, at::Float32Op::ALL},
                                 {at::Float32Backend::CUDA, at::Float32Op::ALL},
                                 {at::Float32Backend::MKLDNN, at::Float32Op::ALL},
                                 {at::Float32Backend::CUDA, at::Float32Op::CONV},
                                 {at::Float32Backend::CUDA, at::Float32Op::RNN},
                                 {at::Float32Backend::CUDA, at::Float32Op::MATMUL},
                                 {at::Float32Backend::MKLDNN, at::Float32Op::CONV},
                                 {at::Float32Backend::MKLDNN, at::Float32Op::RNN},
                                 {at::Float32Backend::MKLDNN, at::Float32Op::MATMUL}}};
  std::optional<at::Float32MatmulPrecision> products_;
  std::optional<bool> cudnn_;
};

/// Releases of torch differ in this switch: a bool, or an enumeration that its setter takes as two.
template <class Switch, class Set>
void with_reduced_sums(Switch value, Set set) {
  if constexpr (std::is_same_v<Switch, bool>)
    set(value);
  else
    set(value == Switch::AllowReducedPrecisionWithSplitK,
        value != Switch::DisallowReducedPrecisionDisallowSplitK);
}

}  // namespace

BatchInvariantConfig::Restorer::~Restorer() {
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
}

BatchInvariantConfig::BatchInvariantConfig(BatchInvariantOptions options) : options_(std::move(options)) {
  check(options_);
  set_precision();
  if (options_.manual_seed) set_seed();
  if (options_.enforce_deterministic_algorithms) set_determinism();
  if (options_.threads > 0)
    restorer_.change(at::get_num_threads(), options_.threads, [](int n) { at::set_num_threads(n); });
  const bool cpu_alone = invariant::set_cpu_alone(options_.force_cpu);
  restorer_.add([cpu_alone] { invariant::set_cpu_alone(cpu_alone); });
  mode_.emplace();
}

void BatchInvariantConfig::set_precision() {
  const auto precisions = std::make_shared<Float32Precisions>();
  restorer_.add([precisions] { precisions->restore(); });
  precisions->make_ieee();
  restorer_.change(c10::get_default_dtype(), caffe2::TypeMeta::Make<float>(),
                   [](caffe2::TypeMeta type) { c10::set_default_dtype(type); });
  for (const at::DeviceType device : {at::kCPU, at::kCUDA})
    restorer_.change(at::autocast::is_autocast_enabled(device), false,
                     [device](bool on) { at::autocast::set_autocast_enabled(device, on); });
}

void BatchInvariantConfig::set_seed() {
  const at::Tensor before = invariant::generator_state();
  restorer_.add([before] { invariant::set_generator_state(before); });
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(*options_.manual_seed);
}

void BatchInvariantConfig::set_determinism() {
  at::Context& context = at::globalContext();
  const bool warn_only = context.deterministicAlgorithmsWarnOnly(), on = context.deterministicAlgorithms();
  restorer_.add([&context, on, warn_only] { context.setDeterministicAlgorithms(on, warn_only); });
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  restorer_.change(context.deterministicFillUninitializedMemory(), true,
                   [&context](bool b) { context.setDeterministicFillUninitializedMemory(b); });
  restorer_.change(context.deterministicMkldnn(), true,
                   [&context](bool b) { context.setDeterministicMkldnn(b); });
  restorer_.change(context.deterministicCuDNN(), true,
                   [&context](bool b) { context.setDeterministicCuDNN(b); });
  restorer_.change(context.benchmarkCuDNN(), false, [&context](bool b) { context.setBenchmarkCuDNN(b); });
  const auto fp16 = context.allowFP16ReductionCuBLAS(), bf16 = context.allowBF16ReductionCuBLAS();
  restorer_.add([&context, fp16, bf16] {
    with_reduced_sums(fp16, [&](auto... how) { context.setAllowFP16ReductionCuBLAS(how...); });
    with_reduced_sums(bf16, [&](auto... how) { context.setAllowBF16ReductionCuBLAS(how...); });
  });
  context.setAllowFP16ReductionCuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
}

}  // namespace lockstep
