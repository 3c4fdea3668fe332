// Elementwise operations with more than one rounding against LibTorch's.

#include <c10/core/InferenceMode.h>

#include "lockstep/elementwise/elementwise.h"
#include "rival.h"

int main() {
  const c10::InferenceMode inference;
  for (const std::int64_t count : {1000, 100'000, 4'000'000}) {
    const std::string size = " " + std::to_string(count);
    const at::Tensor x = at::randn({count}), a = at::randn({count}), b = at::rand({count}) + 1;
    at::Tensor theirs = at::empty({count});
    const at::Tensor ours = at::empty({count});
    const auto in = [](const at::Tensor& t) { return t.const_data_ptr<float>(); };
    float* const out = ours.mutable_data_ptr<float>();
    lockstep::bench::compare(
        "add with alpha" + size, [&] { lockstep::add_scaled(out, in(x), in(a), 0.3f, count); },
        [&] { at::add_out(theirs, x, a, 0.3); });
    lockstep::bench::compare(
        "addcmul" + size, [&] { lockstep::addcmul(out, in(x), in(a), in(b), 0.3f, count); },
        [&] { at::addcmul_out(theirs, x, a, b, 0.3); });
    lockstep::bench::compare(
        "addcdiv" + size, [&] { lockstep::addcdiv(out, in(x), in(a), in(b), 0.3f, count); },
        [&] { at::addcdiv_out(theirs, x, a, b, 0.3); });
    lockstep::bench::compare(
        "lerp" + size, [&] { lockstep::lerp(out, in(x), in(a), 0.1f, count); },
        [&] { at::lerp_out(theirs, x, a, 0.1); });
  }
}
