// A program that wants digests alone: no loader, no LibTorch.
#include <cstdio>
#include <vector>

#include "lockstep/base/error.h"
#include "lockstep/base/version.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/template/template.h"

int main() {
  using namespace lockstep;
  std::vector<float> x{1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
  std::vector<float> y(2);
  template_op({x.data(), DType::float32, Shape{2, 3}, Device::cpu},
              {y.data(), DType::float32, Shape{2}, Device::cpu});
  const ConstView view{x.data(), DType::float32, Shape{6}, Device::cpu};
  const auto before = fingerprint::digest(view);
  x[3] = -x[3];
  const auto after = fingerprint::digest(view);
  std::printf("%ssums %g %g\n", version_text("core_only").c_str(), y[0], y[1]);
  return y[0] == 6.0f && y[1] == 15.0f && !(before == after) ? 0 : 1;
}
