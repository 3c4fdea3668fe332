#pragma once
// What the programs of this folder share: an operation and LibTorch's, in turns, with 1 and 2 threads, one
// line each.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <cstdio>
#include <cstring>
#include <string>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::bench {

/// Times `operation` against `rival` with each number of threads and prints the rival's time over the
/// operation's (above 1: ours is the faster one), the median of `pairs` with a 95 % interval. `flops` of one
/// call, or 0.
template <class Operation, class Rival>
void compare(const std::string& name, Operation&& operation, Rival&& rival, double flops = 0, int pairs = 21,
             double seconds = 0.01) {
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    parallel::set_thread_count(threads);
    const auto clock = threads == 1 ? internal::Clock::thread : internal::Clock::wall;
    const internal::PairedRatio r = internal::time_pairs(operation, rival, clock, pairs, seconds);
    std::printf("%-44s %d  ratio %.2f [%.2f, %.2f]  ours %9.1f us  LibTorch %9.1f us", name.c_str(), threads,
                r.median, r.low, r.high, 1e6 * r.operation_seconds, 1e6 * r.rival_seconds);
    if (flops > 0)
      std::printf("  GFLOP/s %6.1f against %6.1f", 1e-9 * flops / r.operation_seconds,
                  1e-9 * flops / r.rival_seconds);
    std::printf("\n");
    std::fflush(stdout);
  }
  parallel::set_thread_count(0);
}

/// Whether a program's only argument, if any, is a part of the name.
inline bool wanted(const std::string& name, int argc, char** argv) {
  return argc < 2 || name.find(argv[1]) != std::string::npos;
}

}  // namespace lockstep::bench
