#include "lockstep/template/template.h"

#include <string>
#include <utility>

#include "lockstep/base/error.h"
#include "lockstep/template/template_internal.h"

namespace lockstep {
namespace {

[[noreturn]] void refuse(const char* argument, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument, {"template_op", argument, std::move(expected), std::move(got), {}});
}

void check_dtype(const char* argument, DType dtype) {
  if (dtype != DType::float32) refuse(argument, "float32", std::string(dtype_name(dtype)));
}

void check(const ConstView& x, const ConstView& y) {
  check_dtype("x", x.dtype);
  check_dtype("y", y.dtype);
  if (x.shape.rank() != 2) refuse("x", "shape [rows, features]", x.shape.text());
  const Shape rows{x.shape[0]};
  if (!(y.shape == rows))
    refuse("y", "shape " + rows.text() + ", one element for each row of x", y.shape.text());
  if (x.device != y.device) refuse("y", "the device of x", "another device");
  if (x.data == nullptr && x.bytes() > 0)
    refuse("x", x.shape.text() + " elements of memory", "a null pointer");
  if (y.data == nullptr && y.bytes() > 0)
    refuse("y", y.shape.text() + " elements of memory", "a null pointer");
}

}  // namespace

void template_op(const ConstView& x, const View& y, void* stream) {
  check(x, y);
  const auto* source = static_cast<const float*>(x.data);
  auto* target = static_cast<float*>(y.data);
  switch (x.device) {
    case Device::cpu:
      return template_op_cpu(source, target, x.shape[0], x.shape[1]);
    case Device::cuda:
      return template_op_cuda(source, target, x.shape[0], x.shape[1], stream);
  }
  refuse("x", "Device::cpu or Device::cuda", "another number");
}

}  // namespace lockstep
