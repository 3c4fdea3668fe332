#include "common/checkpointing.h"

#include <limits>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/state/archive.h"
#include "lockstep/torch/serialize.h"

namespace lockstep::trainers {
namespace {

constexpr std::uint32_t kStateVersion = 1;

void check_version(const TrainerState& state) {
  if (state.version != kStateVersion)
    fail(ErrorCode::unsupported, {"checkpoint", "version of the part trainer", std::to_string(kStateVersion),
                                  std::to_string(state.version), "Resume with the release that wrote it"});
}

void check_program(const TrainerState& state, const std::string& program) {
  if (state.program != program)
    fail(ErrorCode::invalid_argument, {"--resume", "program of the checkpoint", program, state.program,
                                       "Name this program's own --checkpoint folder"});
}

std::string value_of(const std::map<std::string, std::string>& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? "nothing" : found->second;
}

void check_settings(const std::map<std::string, std::string>& then,
                    const std::map<std::string, std::string>& now) {
  std::map<std::string, std::string> all = then;
  all.insert(now.begin(), now.end());
  for (const auto& [name, unused] : all) {
    if (name == "epochs") continue;
    const std::string before = value_of(then, name), after = value_of(now, name);
    if (before != after)
      fail(ErrorCode::invalid_argument, {"--resume", name, before, after,
                                         "Resume with the settings of the first part, or start a new run "
                                         "with another --checkpoint folder"});
  }
}

std::vector<torch::Tensor> gradients(const torch::nn::Module& module) {
  std::vector<torch::Tensor> all;
  for (const torch::Tensor& parameter : module.parameters())
    all.push_back(parameter.grad().defined() ? parameter.grad() : torch::zeros_like(parameter));
  return all;
}

}  // namespace

state::Checkpoint make_checkpoint(const TrainerState& trainer, const loader::Loader& loader, Task& task) {
  state::Checkpoint checkpoint;
  checkpoint.step = trainer.next_step;
  checkpoint.parts.emplace_back("trainer", state::to_bytes(trainer));
  checkpoint.parts.emplace_back("loader", loader::to_bytes(loader.state()));
  checkpoint.parts.emplace_back("model", module_bytes(task.module()));
  if (task.optimizer() != nullptr)
    checkpoint.parts.emplace_back("optimizer", optimizer_bytes(*task.optimizer()));
  checkpoint.parts.emplace_back("generator", generator_bytes());
  return checkpoint;
}

void keep_checkpoint(const std::filesystem::path& directory, state::Checkpoint checkpoint, Task& task) {
  checkpoint.parts.emplace_back("gradients", tensors_bytes(gradients(task.module())));
  state::write_checkpoint(directory / "kept", checkpoint, std::numeric_limits<int>::max());
}

TrainerState restore_checkpoint(const state::Checkpoint& checkpoint, const std::string& program,
                                const std::map<std::string, std::string>& semantic, loader::Loader& loader,
                                Task& task) {
  auto trainer = state::from_bytes<TrainerState>(checkpoint.part("trainer"));
  check_version(trainer);
  check_program(trainer, program);
  loader.restore(loader::loader_state_from_bytes(checkpoint.part("loader")));
  check_settings(trainer.semantic, semantic);
  load_module(task.module(), checkpoint.part("model"));
  if (task.optimizer() != nullptr) load_optimizer(*task.optimizer(), checkpoint.part("optimizer"));
  load_generator(checkpoint.part("generator"));
  return trainer;
}

}  // namespace lockstep::trainers
