#pragma once
// The invariant mode: while it is on, unchanged torch::nn models run on lockstep's kernels, forward and
// backward, and one gradient comes out, bit for bit, whatever the batch is cut into (contracts, sections 2 to
// 9 and 11).

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep {

/// Switches the mode on (or off, with `on` false) in this thread until the object dies. The threads that
/// serve this thread's backward() take the mode from the call of backward(); a thread of your own makes its
/// own object. Objects nest, must die in the thread that made them, in reverse order, and restore exactly
/// what was before, also after an exception.
///
/// While the mode is on, every operation is one of these, or is refused with an Error(unsupported) that names
/// it:
///   ours       runs on a kernel of lockstep, with the guarantees of its room
///   exact      one IEEE operation an element, a comparison, a selection, a copy, a view, a factory:
///   LibTorch's own
///              kernel, whose bits cannot depend on the batch
///   composite  made of other operations, each of which is looked at
///   allowed    named to allow_operation(): LibTorch's own kernel, at the caller's risk
/// float32, on the CPU and on CUDA devices with the same bits; float64 on the CPU, for tests. 16-bit floats
/// and other devices are refused by the operations that are ours, as are tensors on two devices.
///
/// The first object of a process registers the kernels (about 10 ms): make it before other threads run
/// LibTorch operations. Until then, and while no object is alive, nothing is changed and nothing costs.
///
/// Throws Error(unsupported) inside torch.compile, under a Python dispatch mode (FakeTensor) or a torch.func
/// transform.
class InvariantMode {
 public:
  explicit InvariantMode(bool on = true);
  ~InvariantMode();
  InvariantMode(const InvariantMode&) = delete;
  InvariantMode& operator=(const InvariantMode&) = delete;

 private:
  bool included_before_, excluded_before_;
};

/// Whether the mode is on in this thread.
bool invariant_mode_enabled();

/// Switches the mode in this thread, for callers without objects (Python's `__enter__` and `__exit__`).
/// Returns what it was. Throws as InvariantMode does.
bool set_invariant_mode(bool on);

/// Lets an operation that is not known to be invariant through, for the whole process and for good, by its
/// name with or without overload: "aten::cumsum", "aten::cumsum.out". What ran on such permission stands in
/// report(). Throws Error(invalid_argument) for a name that no loaded library registers.
void allow_operation(const std::string& name);

/// What has run since the process began or reset_invariant_mode_report() was called.
struct OperationReport {
  std::string name;     ///< "aten::addmm"
  std::string handled;  ///< "ours" or "allowed"
  std::int64_t calls = 0;
};

/// Operations that ran on lockstep's kernels or on a permission, by name. What is exact or composite passes
/// without being counted: operation_class() tells of each.
std::vector<OperationReport> invariant_mode_report();
void reset_invariant_mode_report();

/// "ours", "exact", "composite", "allowed" or "refused": what the mode does with an operation of this name.
/// Throws Error(invalid_argument) for a name that no loaded library registers.
std::string operation_class(const std::string& name);

}  // namespace lockstep
