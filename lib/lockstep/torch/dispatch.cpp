// The mode's switch, its audit, and the registrations.

#include <ATen/FuncTorchTLS.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <atomic>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <torch/csrc/autograd/function.h>

#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/known_operations_internal.h"

namespace lockstep::invariant {
namespace {

// Dispatch keys that a plain tensor does not have, and that say that a tensor stands for something else.
const c10::DispatchKeySet kAutocast({c10::DispatchKey::AutocastCPU, c10::DispatchKey::AutocastCUDA});
const c10::DispatchKeySet kWrapped({c10::DispatchKey::FuncTorchBatched,
                                    c10::DispatchKey::FuncTorchGradWrapper, c10::DispatchKey::Batched,
                                    c10::DispatchKey::Functionalize, c10::DispatchKey::Python,
                                    c10::DispatchKey::BatchedNestedTensor});

struct Permissions {
  std::mutex mutex;
  std::set<std::string> names;
  std::set<std::string> ours;                   // with "aten::"
  std::map<std::string, CallCounter> counters;  // of what is ours; nodes of a map do not move
  std::map<std::string, std::int64_t> calls_on_permission;
};

// Never destroyed: operations may run while a program ends.
Permissions& permissions() {
  static auto* const all = new Permissions;
  return *all;
}

std::string full_name(const c10::OperatorName& name) { return toString(name); }

bool is_composite(const c10::OperatorHandle& op) {
  return op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd);
}

// What is returned shares an argument's memory, and nothing is written.
bool is_view(const c10::OperatorHandle& op) {
  if (!op.hasSchema()) return false;
  const auto& returns = op.schema().returns();
  if (returns.empty()) return false;
  for (const auto& result : returns)
    if (result.alias_info() == nullptr || result.alias_info()->isWrite()) return false;
  return true;
}

// torch.ops.lockstep: the shared library's operations, which compute inside the mode.
bool is_of_our_library(const c10::OperatorHandle& op) {
  return op.operator_name().getNamespace().value_or("") == "lockstep";
}

bool is_permitted(const c10::OperatorName& name) {
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  if (all.names.count(full_name(name)) == 0 && all.names.count(name.name) == 0) return false;
  ++all.calls_on_permission[full_name(name)];
  return true;
}

[[noreturn]] void refuse_unknown(const c10::OperatorHandle& op) {
  const auto node = torch::autograd::get_current_node();
  const std::string where = node == nullptr ? "" : fmt::format(", called in backward by {}", node->name());
  const std::string name = full_name(op.operator_name());
  fail(ErrorCode::unsupported,
       {"invariant mode", name + where, "an operation that is known to give the same bits in every batch",
        "one that is not",
        fmt::format("Leave the mode around it (InvariantMode off(false)), or take the risk: "
                    "allow_operation(\"{}\")",
                    name)});
}

bool is_whole(const c10::IValue& value) {
  if (value.isTensor())
    return !value.toTensor().defined() || at::isIntegralType(value.toTensor().scalar_type(), true);
  return !value.isDouble();
}

// A dtype among the arguments is a number like any other on the stack, and is told by its place in the
// schema.
bool asks_for_a_float(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> arguments) {
  const std::optional<int> place = schema.argumentIndexWithName("dtype");
  if (!place || arguments[static_cast<std::size_t>(*place)].isNone()) return false;
  return !at::isIntegralType(arguments[static_cast<std::size_t>(*place)].toScalarType(), true);
}

bool is_exact_here(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  if (!is_exact_for_whole_numbers(full_name(op.operator_name()))) return false;
  const c10::ArrayRef<c10::IValue> arguments = torch::jit::last(stack, op.schema().arguments().size());
  return std::all_of(arguments.begin(), arguments.end(), is_whole) &&
         !asks_for_a_float(op.schema(), arguments);
}

void audit(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  if (!is_composite(op) && !is_view(op) && !is_of_our_library(op) && !is_exact_here(op, *stack) &&
      !is_permitted(op.operator_name()))
    refuse_unknown(op);
  op.redispatchBoxed(past_high(keys), stack);
}

// LibTorch's CPU kernels take lists of tensors apart; so do the kernels that it has for any other device, to
// which a key resolves that has none of its own. CUDA's own round a list's sums as no single operation does.
void take_apart(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  op.redispatchBoxed(through_low(keys), stack);
}

// Of several that meet, a CUDA device keeps any.
void refuse_on_cuda(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  if (is_on_cuda(keys))
    fail(ErrorCode::unsupported,
         {"invariant mode", full_name(op.operator_name()), "an operation with one result on a CUDA device",
          "one that keeps any of several elements that meet",
          "Write it with gather or index_select, or do it on the CPU"});
  op.redispatchBoxed(past_high(keys), stack);
}

bool has_kernel(std::string_view name) {
  const std::size_t dot = name.find('.');
  const c10::OperatorName wanted("aten::" + std::string(name.substr(0, dot)),
                                 dot == std::string_view::npos ? "" : std::string(name.substr(dot + 1)));
  const auto op = c10::Dispatcher::singleton().findOp(wanted);
  return op && op->hasKernelForDispatchKey(kHigh);
}

// Libraries undo their registrations when they are destroyed, which must not happen while a program ends.
class Libraries {
 public:
  Libraries() {
    library("_", kHigh).fallback(torch::CppFunction::makeFromBoxedFunction<&audit>());
    torch::Library& high = library("aten", kHigh);
    torch::Library& low = library("aten", kLow);
    Registrar registrar{high, low};
    register_linear(registrar);
    register_matmul(registrar);
    register_rowwise(registrar);
    register_losses(registrar);
    register_element_losses(registrar);
    register_elementwise(registrar);
    register_clamps(registrar);
    register_activations(registrar);
    register_reductions(registrar);
    register_norms(registrar);
    register_group_norms(registrar);
    register_convolutions(registrar);
    register_pooling(registrar);
    register_embedding(registrar);
    register_dropout(registrar);
    register_attention(registrar);
    register_transformer(registrar);
    register_composed(registrar);
    register_vector_norms(registrar);
    pass_exact(high);
    pass_what_schemas_tell(high);
    pass_profiler(library("profiler", kHigh));
  }

 private:
  torch::Library& library(const char* name, c10::DispatchKey key) {
    libraries_.push_back(
        std::make_unique<torch::Library>(torch::Library::IMPL, name, key, __FILE__, __LINE__));
    return *libraries_.back();
  }

  static void pass_exact(torch::Library& high) {
    for (const std::string_view name : list_operations())
      high.impl(std::string(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&take_apart>());
    for (const char* name : {"scatter.src", "scatter_.src"})
      high.impl(name, torch::CppFunction::makeFromBoxedFunction<&refuse_on_cuda>());
    for (const std::string_view name : exact_operations())
      if (!has_kernel(name)) high.impl(std::string(name).c_str(), torch::CppFunction::makeFallthrough());
  }

  // So that the frequent ones do not pay for the audit.
  static void pass_what_schemas_tell(torch::Library& high) {
    auto& dispatcher = c10::Dispatcher::singleton();
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
      const auto op = dispatcher.findOp(name);
      if (name.getNamespace() != "aten" || !op || op->hasKernelForDispatchKey(kHigh)) continue;
      if (is_composite(*op) || is_view(*op))
        high.impl(full_name(name).substr(6).c_str(), torch::CppFunction::makeFallthrough());
    }
  }

  // Optimizers mark their steps with these.
  static void pass_profiler(torch::Library& high) {
    for (const char* name : {"_record_function_enter", "_record_function_enter_new", "_record_function_exit",
                             "_record_function_exit._RecordFunction"})
      high.impl(name, torch::CppFunction::makeFallthrough());
  }

  std::vector<std::unique_ptr<torch::Library>> libraries_;
};

c10::OperatorHandle find_operation(const char* caller, const std::string& name) {
  const std::size_t dot = name.find('.');
  const c10::OperatorName wanted(name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot + 1));
  if (const auto op = c10::Dispatcher::singleton().findOp(wanted)) return *op;
  // A name without an overload stands for all of them, of which one may be the unnamed.
  for (const c10::OperatorName& known : c10::Dispatcher::singleton().getAllOpNames())
    if (dot == std::string::npos && known.name == name) return *c10::Dispatcher::singleton().findOp(known);
  fail(ErrorCode::invalid_argument, {caller,
                                     "name",
                                     "an operation of LibTorch or of a loaded library, such as "
                                     "aten::cumsum",
                                     name,
                                     {}});
}

void require_plain_thread(const char* caller) {
  if (c10::impl::TorchDispatchModeTLS::any_modes_set() ||
      c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::PythonDispatcher) ||
      c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerFrontMode))
    fail(ErrorCode::unsupported, {caller, "call", "plain eager execution",
                                  "a call inside torch.compile, a Python dispatch mode such as "
                                  "FakeTensorMode, or a torch.func transform",
                                  "Switch the mode outside of it"});
}

}  // namespace

CallCounter& call_counter(const std::string& operation) {
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  return all.counters[operation];
}

void Registrar::note(const char* name) {
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  all.ours.insert(std::string("aten::") + name);
}

void Registrar::redirect_to_low(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                                torch::jit::Stack* stack) {
  // Below, a tensor that stands for another would never reach our kernel.
  if (keys.has_any(kWrapped)) require_plain(full_name(op.operator_name()).c_str(), keys);
  op.redispatchBoxed(through_low(keys), stack);
}

at::Tensor& write_into(at::Tensor& out, const at::Tensor& result) {
  const InsideKernel inside;
  if (out.sizes() != result.sizes()) out.resize_(result.sizes());
  return out.copy_(result);
}

void Registrar::redirect_cuda_to_low(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                                     torch::jit::Stack* stack) {
  op.redispatchBoxed(is_on_cuda(keys) ? through_low(keys) : past_high(keys), stack);
}

void require_plain(const char* operation, c10::DispatchKeySet keys) {
  if (c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerFrontMode))
    fail(ErrorCode::unsupported, {operation, "call", "plain eager execution in the invariant mode",
                                  "a torch.func transform (vmap, grad, jvp)", "Leave the mode first"});
  // It would record what our kernels call, which is memory and not the sums.
  if (keys.has(c10::DispatchKey::Tracer))
    fail(ErrorCode::unsupported,
         {operation, "call", "plain eager execution in the invariant mode", "torch.jit.trace",
          "Trace outside of the mode: the traced module runs on the mode's kernels inside it"});
  if (keys.has_any(kAutocast))
    fail(ErrorCode::unsupported, {operation, "precision", "float32 in the invariant mode", "autocast",
                                  "Leave autocast: the contracts hold for float32 alone"});
  if (keys.has_any(kWrapped))
    fail(ErrorCode::unsupported,
         {operation, "tensor", "a plain tensor in the invariant mode", toString(keys & kWrapped),
          "torch.compile, FakeTensor, tensor subclasses and dispatch modes do not work inside the mode"});
}

thread_local bool t_cpu_alone = false;

bool set_cpu_alone(bool on) { return std::exchange(t_cpu_alone, on); }

static void require_device(const char* operation, at::Device device) {
  if (device.is_cpu()) return;
  if (t_cpu_alone)
    fail(ErrorCode::unsupported, {operation, "device", "cpu, since force_cpu is true", device.str(),
                                  "Make the BatchInvariantConfig with force_cpu = false"});
  if (!device.is_cuda())
    fail(ErrorCode::unsupported, {operation, "device", "cpu or cuda in the invariant mode", device.str(),
                                  "Move the model and its input to the CPU or to a CUDA device"});
  static const std::string trouble = cuda_trouble();
  if (!trouble.empty())
    fail(ErrorCode::unsupported,
         {operation, "device", "cpu in the invariant mode of this build", device.str() + " (" + trouble + ")",
          "Move the model and its input to the CPU"});
}

static std::string dtype_text(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    default:
      return c10::toString(type);
  }
}

void require_supported(const char* operation, c10::DispatchKeySet keys, const at::Tensor& tensor) {
  require_plain(operation, keys);
  require_device(operation, tensor.device());
  if (!is_computed_in(tensor.scalar_type()))
    fail(ErrorCode::unsupported,
         {operation, "dtype", "float32 (or, for tests, float64 on the CPU) in the invariant mode",
          dtype_text(tensor.scalar_type()),
          "The contracts hold for float32 alone; convert with .to(torch::kFloat)"});
  if (tensor.is_cuda() && tensor.scalar_type() == at::kDouble)
    fail(ErrorCode::unsupported,
         {operation, "dtype", "float32 on a CUDA device in the invariant mode", "float64",
          "float64 is there for tests, on the CPU: convert with .to(torch::kFloat) or .to(torch::kCPU)"});
}

void take_over_thread_count() {
  parallel::set_thread_count(at::in_parallel_region() ? 1 : at::get_num_threads());
}

void ensure_registered() {
  static const auto* const libraries = new Libraries;
  (void)libraries;
}

}  // namespace lockstep::invariant

namespace lockstep {

using namespace invariant;

// Handlers of dispatch modes and subclasses run with the key excluded, whether it is included or not.
bool invariant_mode_enabled() {
  return c10::impl::tls_is_dispatch_key_included(kHigh) && !c10::impl::tls_is_dispatch_key_excluded(kHigh);
}

bool set_invariant_mode(bool on) {
  const bool before = invariant_mode_enabled();
  if (on == before) return before;
  require_plain_thread("set_invariant_mode");
  if (on) ensure_registered();
  c10::impl::tls_set_dispatch_key_included(kHigh, on);
  if (on) c10::impl::tls_set_dispatch_key_excluded(kHigh, false);
  return before;
}

InvariantMode::InvariantMode(bool on)
    : included_before_(c10::impl::tls_is_dispatch_key_included(kHigh)),
      excluded_before_(c10::impl::tls_is_dispatch_key_excluded(kHigh)) {
  set_invariant_mode(on);
}

InvariantMode::~InvariantMode() {
  c10::impl::tls_set_dispatch_key_included(kHigh, included_before_);
  c10::impl::tls_set_dispatch_key_excluded(kHigh, excluded_before_);
}

void allow_operation(const std::string& name) {
  find_operation("allow_operation", name);
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  all.names.insert(name);
}

std::vector<OperationReport> invariant_mode_report() {
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  std::vector<OperationReport> rows;
  for (const auto& [name, counter] : all.counters)
    if (counter.calls() > 0) rows.push_back({name, "ours", counter.calls()});
  for (const auto& [name, calls] : all.calls_on_permission) rows.push_back({name, "allowed", calls});
  return rows;
}

void reset_invariant_mode_report() {
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  for (auto& [name, counter] : all.counters) counter.reset();
  all.calls_on_permission.clear();
}

std::string operation_class(const std::string& name) {
  ensure_registered();
  const c10::OperatorHandle op = find_operation("operation_class", name);
  const std::string found = full_name(op.operator_name());
  const auto& exact = exact_operations();
  if (found.rfind("aten::", 0) == 0 &&
      std::find(exact.begin(), exact.end(), std::string_view(found).substr(6)) != exact.end())
    return "exact";
  Permissions& all = permissions();
  const std::lock_guard lock(all.mutex);
  const bool allowed = all.names.count(found) != 0 || all.names.count(op.operator_name().name) != 0;
  if (!op.hasKernelForDispatchKey(kHigh)) {
    if (is_of_our_library(op)) return "ours";
    if (is_composite(op)) return "composite";
    if (is_view(op)) return "exact";
    return allowed ? "allowed" : "refused";
  }
  if (all.ours.count(found) != 0) return "ours";
  return is_view(op) ? "exact" : "composite";
}

}  // namespace lockstep
