#include "common/program.h"

#include <c10/util/Exception.h>
#include <cstdio>
#include <exception>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common/interrupt.h"
#include "common/loading.h"
#include "lockstep/base/error.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep::trainers {
namespace {

constexpr int kSignalBase = 128;  // the shell's rule: 130 for SIGINT, 143 for SIGTERM

void complain(const std::string& program, const std::string& message) {
  std::fflush(stdout);
  const bool named = message.starts_with(program + ": ");
  fmt::print(stderr, "{}{}\n", named ? "" : program + ": ", message);
}

std::string parameters_digest(Task& task) { return digest_of(task.module()).hex(); }

void print_json(const TrainingSetup& setup, const TrainingResult& result, Task& task,
                const std::vector<Finding>& findings) {
  nlohmann::ordered_json json;
  json["schema"] = "lockstep.trainer/1";
  json["program"] = setup.program;
  json["steps"] = result.steps;
  json["signal"] = result.signal;
  json["loss"] = result.last_loss ? nlohmann::ordered_json(*result.last_loss) : nullptr;
  json["accuracy"] = result.last_accuracy ? nlohmann::ordered_json(*result.last_accuracy) : nullptr;
  json["skipped"] = result.skipped;
  json["substituted"] = result.substituted;
  json["recording"] = result.recording.string();
  json["recording_failure"] = result.recording_failure;
  json["parameters"] = parameters_digest(task);
  json["findings"] = nlohmann::ordered_json::object();
  for (const Finding& finding : findings)
    std::visit([&](const auto& value) { json["findings"][finding.name] = value; }, finding.value);
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const TrainingResult& result, Task& task, const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) fmt::print("{}\n", finding.text);
  if (result.skipped + result.substituted > 0)
    fmt::print("bad samples: {} skipped, {} substituted\n", result.skipped, result.substituted);
  fmt::print("parameters {} after {} steps\n", parameters_digest(task), result.steps);
}

}  // namespace

int run_program(const std::string& program, const std::function<int()>& body) {
  try {
    return body();
  } catch (const c10::Error& error) {
    complain(program, fmt::format("torch: {}", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    complain(program, error.what());
  }
  return kExitTrouble;
}

int prepare(const TrainingSetup& setup, const TrainingOptions& options) {
  catch_interrupts();
  if (options.verify_batches == 0) return kExitDone;
  const auto difference = verify_batches(setup.dataset, options);
  if (difference) {
    complain(setup.program, "batches are NOT the same when they are read again: " + *difference +
                                ". A transform that depends on more than its record's generator does that.");
    return kExitDifferent;
  }
  if (!options.json && !options.quiet)
    fmt::print("batches verified: {} batches are the same when they are read again with other workers\n",
               options.verify_batches);
  return kExitDone;
}

int report(const TrainingSetup& setup, const TrainingOptions& options, const TrainingResult& result,
           Task& task, const std::vector<Finding>& findings) {
  if (!result.recording_failure.empty())
    complain(setup.program, "the recording is incomplete: " + result.recording_failure);
  if (options.json)
    print_json(setup, result, task, findings);
  else
    print_text(result, task, findings);
  if (result.signal == 0) return kExitDone;
  complain(setup.program, options.checkpoint.empty()
                              ? "interrupted"
                              : "interrupted; go on with the same command and --resume");
  return kSignalBase + result.signal;
}

}  // namespace lockstep::trainers
