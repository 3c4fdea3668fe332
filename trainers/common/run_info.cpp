#include "common/run_info.h"

#include <fmt/format.h>

#include "common/loading.h"

namespace lockstep::trainers {

std::map<std::string, std::string> semantic_settings(const TrainingSetup& setup,
                                                     const TrainingOptions& options) {
  std::map<std::string, std::string> settings = setup.semantic;
  settings["seed"] = fmt::to_string(options.seed);
  settings["data"] = setup.dataset->fingerprint().hex();
  settings["records"] = fmt::to_string(setup.dataset->size());
  settings["order"] = options.order == OrderKind::torch ? "torch" : "native";
  settings["batch_size"] = fmt::to_string(options.batch_size);
  settings["last_batch"] = last_batch_name(options.last);
  settings["bad_sample"] = bad_sample_name(options.bad_sample);
  settings["epochs"] = fmt::to_string(options.epochs);
  settings["arithmetic"] = options.invariant ? "invariant" : "libtorch";
  settings["learning_rate"] = fmt::to_string(options.learning_rate);
  return settings;
}

record::RunInfo make_run_info(const TrainingSetup& setup, const TrainingOptions& options) {
  record::RunInfo info;
  info.program = setup.program;
  info.command_line = options.command_line;
  info.semantic = semantic_settings(setup, options);
  info.placement = {{"workers", fmt::to_string(options.workers)},
                    {"prefetch_factor", fmt::to_string(options.prefetch_factor)},
                    {"threads", fmt::to_string(options.threads)},
                    {"micro_batch", fmt::to_string(options.micro_batch)},
                    {"device", options.device.str()}};
  info.environment["data.source"] = setup.dataset->describe();
  if (options.max_steps >= 0) info.environment["run.max_steps"] = fmt::to_string(options.max_steps);
  info.guarantees = {"run_to_run", "workers"};
  if (options.invariant) info.guarantees.insert(info.guarantees.end(), {"batch", "micro_batch", "threads"});
  return info;
}

}  // namespace lockstep::trainers
