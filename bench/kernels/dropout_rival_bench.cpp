// Dropout against LibTorch's: the forward, and the backward, which LibTorch multiplies with the mask that it
// kept.

#include <c10/core/InferenceMode.h>

#include "lockstep/dropout/dropout.h"
#include "rival.h"

int main() {
  const c10::InferenceMode inference;
  for (const auto& [samples, elements] :
       {std::pair<std::int64_t, std::int64_t>{8, 98'304}, {64, 784}, {8, 786'432}}) {
    const std::string shape = " " + std::to_string(samples) + " x " + std::to_string(elements);
    const at::Tensor x = at::randn({samples, elements});
    const auto ours = [&, s = samples, e = elements] {
      const at::Tensor y = at::empty_like(x);
      lockstep::dropout(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), s, e, 0.1, {42, 1, 2, 3});
    };
    const at::Tensor mask = std::get<1>(at::native_dropout(x, 0.1, true));
    lockstep::bench::compare("dropout" + shape, ours, [&] { at::native_dropout(x, 0.1, true); });
    lockstep::bench::compare("dropout backward" + shape, ours,
                             [&] { at::native_dropout_backward(x, mask, 1 / 0.9); });
  }
}
