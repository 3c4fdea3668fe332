// Shows where results depend on the batch, and that they do not in the invariant mode. README.md says what
// each experiment computes.

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "common/output.h"
#include "common/program.h"
#include "lockstep/record/environment.h"
#include "lockstep/simd/targets.h"
#include "lockstep/torch/environment.h"
#include "options.h"
#include "report.h"
#include "table.h"

namespace lockstep::tools {
namespace {

struct Experiment {
  char letter;
  void (*run)(Bench&);
};

constexpr Experiment kExperiments[] = {
    {'a', single_operations}, {'b', seeds},     {'c', batch_sizes},        {'d', transformer_layer},
    {'e', layer_by_layer},    {'f', gradients}, {'g', orders_of_addition},
};

std::map<std::string, std::string> whole_environment() {
  std::map<std::string, std::string> all = record::environment();
  all.merge(torch_environment());
  all["cpu.active"] = simd::active_instruction_set();
  return all;
}

/// LibTorch's products and convolutions in IEEE float32 but where a row asks for another precision, and
/// cuBLAS ready for deterministic algorithms. Before anything else of LibTorch.
at::Device prepared_device(const std::string& name) {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  const at::Device device = device_named(name);
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  return device;
}

std::string device_text(at::Device device, const Table& table) {
  return table.environment.at(device.is_cpu() ? "cpu.model" : fmt::format("cuda.device.{}", device.index()));
}

int run(const InvarianceTableOptions& options) {
  if (options.threads > 0) at::set_num_threads(options.threads);
  const bool color = use_color(options.color);
  const at::Device device = prepared_device(options.device);
  Table table;
  table.environment = whole_environment();
  table.environment["device"] = device_text(device, table);
  Bench bench(table, device, options.reduced, options.repeats);
  for (const auto& [letter, experiment] : kExperiments) {
    if (options.experiments.find(letter) == std::string::npos) continue;
    if (!options.quiet && isatty(STDERR_FILENO))
      fmt::print(stderr, "({}) {} …\n", letter, experiment_title(letter));
    experiment(bench);
  }
  const bool prints = !options.quiet && options.csv != "-" && options.json != "-" && options.html != "-";
  if (prints) write_report("-", to_text(table, color));
  if (!options.csv.empty()) write_report(options.csv, to_csv(table));
  if (!options.json.empty()) write_report(options.json, to_json(table));
  if (!options.html.empty()) write_report(options.html, to_html(table));
  return table.broken() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  using namespace lockstep::tools;
  exit_on_interrupt();
  return run_program("invariance_table", argc, argv, parse_options, help_text, run);
}
