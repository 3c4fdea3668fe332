#pragma once
// What the main() of every trainer shares: exit codes, errors in words, the result in words or as JSON.

#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/options.h"
#include "common/task.h"
#include "common/training.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

constexpr int kExitDone = 0;
constexpr int kExitDifferent = 1;  ///< --verify-batches found a difference
constexpr int kExitTrouble = 2;

/// Runs `body` and turns what it throws into one line on stderr and kExitTrouble.
int run_program(const std::string& program, const std::function<int()>& body);

/// Torch's determinism switches, signal handlers, and --verify-batches. Returns kExitDone, or what to exit
/// with.
int prepare(const TrainingSetup& setup, const TrainingOptions& options);

/// A result under a name, for people and for JSON.
struct Finding {
  std::string name;                               ///< "test_accuracy"
  std::string text;                               ///< "test accuracy 87.12 %"
  std::variant<double, std::string> value = 0.0;  ///< text need not be UTF-8
};

/// Prints how the run ended: findings, the digest of all parameters, what was skipped. With options.json one
/// object (docs/formats/trainer-json.md). Returns the exit code: 0, or 128 + signal.
int report(const TrainingSetup& setup, const TrainingOptions& options, const TrainingResult& result,
           Task& task, const std::vector<Finding>& findings);

}  // namespace lockstep::trainers
