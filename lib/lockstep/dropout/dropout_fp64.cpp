// The double form of dropout: the reference, one element after the other.

#include "lockstep/base/float_mode.h"
#include "lockstep/dropout/dropout_internal.h"
#include "lockstep/dropout/dropout_ref.h"

namespace lockstep::dropout_draws {

void run_cpu(const double* x, double* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw) {
  const FloatMode mode;
  dropout_ref(x, y, samples, elements, p, draw);
}

}  // namespace lockstep::dropout_draws
