// torch.ops.lockstep: the mode's switch, what it did, digests; and the mode's operations one by one
// (direct_operations.cpp).

#include <string>
#include <tuple>
#include <vector>

#include <torch/library.h>

#include "lockstep/base/version.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/tensor_view.h"

namespace {

using Row = std::tuple<std::string, std::string, std::int64_t>;

std::vector<Row> report() {
  std::vector<Row> rows;
  for (const lockstep::OperationReport& row : lockstep::invariant_mode_report())
    rows.emplace_back(row.name, row.handled, row.calls);
  return rows;
}

std::string digest(const at::Tensor& tensor) {
  const lockstep::InvariantMode off(false);
  return lockstep::digest_of(tensor.detach()).hex();
}

std::string version() { return lockstep::build_info().version + " (" + lockstep::build_info().commit + ")"; }

}  // namespace

// Kernels without a dispatch key are composite: the mode lets them through.
TORCH_LIBRARY(lockstep, library) {
  library.def("set_invariant_mode(bool on) -> bool", &lockstep::set_invariant_mode);
  library.def("invariant_mode_enabled() -> bool", &lockstep::invariant_mode_enabled);
  library.def("allow_operation(str name) -> ()", &lockstep::allow_operation);
  library.def("operation_class(str name) -> str", &lockstep::operation_class);
  library.def("report() -> ((str, str, int)[])", &report);
  library.def("reset_report() -> ()", &lockstep::reset_invariant_mode_report);
  library.def("digest(Tensor tensor) -> str", &digest);
  library.def("version() -> str", &version);

  library.def("matmul(Tensor left, Tensor right) -> Tensor");
  library.def("linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor");
  library.def("sum(Tensor input, int[] dim, bool keepdim=False) -> Tensor");
  library.def("softmax(Tensor input, int dim) -> Tensor");
  library.def("softmax_backward(Tensor gradient, Tensor output, int dim) -> Tensor");
  library.def("log_softmax(Tensor input, int dim) -> Tensor");
  library.def("log_softmax_backward(Tensor gradient, Tensor output, int dim) -> Tensor");
  library.def("gelu(Tensor input, str approximate='none') -> Tensor");
  library.def("gelu_backward(Tensor gradient, Tensor input, str approximate='none') -> Tensor");
  library.def("layer_norm(Tensor input, Tensor weight, Tensor bias, float eps=1e-05) -> Tensor");
  library.def(
      "layer_norm_backward(Tensor gradient, Tensor input, Tensor weight, Tensor bias, float eps=1e-05) "
      "-> (Tensor, Tensor, Tensor)");
}
