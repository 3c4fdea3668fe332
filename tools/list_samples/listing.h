#pragma once
// What is printed, in the order in which a training loop would meet it.

#include "options.h"
#include "output.h"

namespace lockstep::list_samples {

/// Throws Error for options that cannot be listed.
void list(const Options& options, Output& output);

}  // namespace lockstep::list_samples
