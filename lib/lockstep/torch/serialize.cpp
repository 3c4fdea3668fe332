#include "lockstep/torch/serialize.h"

#include <c10/util/Exception.h>
#include <cstring>
#include <sstream>

#include <fmt/format.h>

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/generator_internal.h"

namespace lockstep {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

[[noreturn]] void refuse(const char* part, const std::string& reason) {
  fail(ErrorCode::corruption,
       {"checkpoint", std::string("part ") + part, "what this program wrote for this model", reason,
        "Resume with the model, the optimizer and the version that wrote it, or start anew"});
}

std::string archive_bytes(const torch::serialize::OutputArchive& archive) {
  std::ostringstream stream;
  const_cast<torch::serialize::OutputArchive&>(archive).save_to(stream);
  return std::move(stream).str();
}

/// Tensors are read to the device of `there`, wherever they lay when they were written.
torch::serialize::InputArchive archive_of(const std::string& bytes, const std::vector<at::Tensor>& there) {
  torch::serialize::InputArchive archive;
  archive.load_from(bytes.data(), bytes.size(), there.empty() ? at::kCPU : there.front().device());
  return archive;
}

/// Runs `load`, whose torch errors mean that the bytes do not fit.
template <class Load>
void guarded(const char* part, Load load) {
  try {
    load();
  } catch (const c10::Error& error) {
    refuse(part, first_line(error.what_without_backtrace()));
  }
}

void check_shapes(const torch::nn::Module& module, const std::vector<at::Tensor>& before) {
  std::size_t index = 0;
  for (const auto& parameter : module.named_parameters()) {
    const at::Tensor& old = before[index++];
    if (old.sizes() != parameter.value().sizes() || old.scalar_type() != parameter.value().scalar_type())
      refuse("model", fmt::format("{} with shape {} instead of {}", parameter.key(),
                                  c10::str(parameter.value().sizes()), c10::str(old.sizes())));
  }
}

}  // namespace

std::string module_bytes(const torch::nn::Module& module) {
  torch::serialize::OutputArchive archive;
  module.save(archive);
  return archive_bytes(archive);
}

void load_module(torch::nn::Module& module, const std::string& bytes) {
  std::vector<at::Tensor> before;
  for (const at::Tensor& parameter : module.parameters()) before.push_back(parameter.detach());
  guarded("model", [&] {
    torch::serialize::InputArchive archive = archive_of(bytes, before);
    module.load(archive);
  });
  check_shapes(module, before);
}

std::string optimizer_bytes(const torch::optim::Optimizer& optimizer) {
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  return archive_bytes(archive);
}

void load_optimizer(torch::optim::Optimizer& optimizer, const std::string& bytes) {
  guarded("optimizer", [&] {
    torch::serialize::InputArchive archive = archive_of(bytes, optimizer.param_groups().front().params());
    optimizer.load(archive);
  });
}

std::string tensors_bytes(const std::vector<at::Tensor>& tensors) {
  std::ostringstream stream;
  torch::save(tensors, stream);
  return std::move(stream).str();
}

std::vector<at::Tensor> tensors_from_bytes(const std::string& bytes) {
  std::vector<at::Tensor> tensors;
  guarded("tensors", [&] { torch::load(tensors, bytes.data(), bytes.size()); });
  return tensors;
}

std::string generator_bytes() {
  const at::Tensor state = invariant::generator_state();
  return {static_cast<const char*>(state.const_data_ptr()), static_cast<std::size_t>(state.numel())};
}

void load_generator(const std::string& bytes) {
  at::Tensor state = torch::empty({static_cast<std::int64_t>(bytes.size())}, torch::kByte);
  std::memcpy(state.mutable_data_ptr(), bytes.data(), bytes.size());
  guarded("generator", [&] { invariant::set_generator_state(state); });
}

}  // namespace lockstep
