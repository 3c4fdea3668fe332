#pragma once
// Page-locked memory for batches, from which copies to a GPU run beside the CPU and the GPU's own work.

#include "lockstep_loader/batch/buffer_pool.h"

namespace lockstep::loader {

/// For LoaderOptions::allocate. From LibTorch's caching allocator of page-locked memory. Throws
/// Error(unsupported) where LibTorch sees no CUDA device.
Allocate pinned_memory();

}  // namespace lockstep::loader
