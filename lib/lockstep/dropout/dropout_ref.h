#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type.

#include <cmath>
#include <cstdint>

#include "lockstep/dropout/dropout.h"
#include "lockstep/random/philox.h"

namespace lockstep {

inline bool dropout_keeps_ref(std::int64_t sample, std::int64_t element, double p, const DropoutDraw& draw) {
  const random::Block words = random::philox4x32(
      draw.seed,
      {static_cast<std::uint32_t>(draw.stream), static_cast<std::uint32_t>(draw.step),
       static_cast<std::uint32_t>(draw.first_sample + sample), static_cast<std::uint32_t>(element / 4)});
  return static_cast<double>(words[static_cast<std::size_t>(element % 4)]) >= std::floor(std::ldexp(p, 32));
}

template <class T>
void dropout_ref(const T* x, T* y, std::int64_t samples, std::int64_t elements, double p,
                 const DropoutDraw& draw) {
  const T scale = static_cast<T>(1 / (1 - p));
  for (std::int64_t s = 0; s < samples; ++s) {
    for (std::int64_t i = 0; i < elements; ++i)
      y[s * elements + i] = dropout_keeps_ref(s, i, p, draw) ? x[s * elements + i] * scale : T(0);
  }
}

}  // namespace lockstep
