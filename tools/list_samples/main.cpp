// list_samples: which records a batch holds, offline. See README.md.

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include <fmt/format.h>

#include "listing.h"
#include "options.h"
#include "output.h"

namespace {

constexpr int kTrouble = 2;

extern "C" void on_interrupt(int) { lockstep::list_samples::interrupted = 1; }

// No SA_RESTART: a write that blocks is left when Ctrl-C is pressed.
void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int run(int argc, char** argv) {
  const auto options = lockstep::list_samples::parse_options(argc, argv);
  if (!options) return 0;
  lockstep::list_samples::Output output;
  lockstep::list_samples::list(*options, output);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  install_signal_handlers();
  try {
    return run(argc, argv);
  } catch (const lockstep::list_samples::Stopped& stopped) {
    return stopped.exit_code;
  } catch (const std::bad_alloc&) {
    fmt::print(
        stderr,
        "list_samples: not enough memory. Torch order keeps whole permutations; --order native keeps none\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  return kTrouble;
}
