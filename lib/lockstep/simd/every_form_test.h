#pragma once
// For the tests of rooms with vector forms: the same check in every form that this machine runs, and for
// several numbers of threads.

#include <string>

#include <gtest/gtest.h>

#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/targets.h"

namespace lockstep::simd {

/// Forces an instruction set for a scope.
class ForcedSet {
 public:
  explicit ForcedSet(const std::string& name) : before_(active_instruction_set()) {
    force_instruction_set(name);
  }
  ~ForcedSet() { force_instruction_set(before_); }
  ForcedSet(const ForcedSet&) = delete;
  ForcedSet& operator=(const ForcedSet&) = delete;

 private:
  std::string before_;
};

/// Calls check() in each instruction set with 1, 2 and 3 threads; a failure names both.
template <class Check>
void in_every_form(Check check) {
  for (const std::string& name : instruction_sets()) {
    const ForcedSet forced(name);
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(name + ", " + std::to_string(threads) + " threads");
      const int before = parallel::set_thread_count(threads);
      check();
      parallel::set_thread_count(before);
    }
  }
}

}  // namespace lockstep::simd
