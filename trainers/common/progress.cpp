#include "common/progress.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

namespace lockstep::trainers {
namespace {

constexpr int kBarWidth = 24;
constexpr auto kInterval = std::chrono::milliseconds(100);

std::string bar(std::int64_t done, std::int64_t total) {
  const auto filled = static_cast<std::size_t>(total > 0 ? std::min(done, total) * kBarWidth / total : 0);
  return std::string(filled, '#') + std::string(kBarWidth - filled, '.');
}

}  // namespace

Progress::Progress(bool wanted) : enabled_(wanted && isatty(STDERR_FILENO)) {}

void Progress::update(const ProgressState& state) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (now - last_ < kInterval) return;
  last_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const std::string accuracy =
      state.accuracy ? fmt::format("  accuracy {:5.2f} %", 100 * *state.accuracy) : std::string();
  fmt::print(stderr, "\r\033[Kepoch {}/{} [{}] {}/{}  loss {:.4f}{}  {:.0f} samples/s", state.epoch + 1,
             state.epochs, bar(state.batch, state.batches), state.batch, state.batches, state.loss, accuracy,
             static_cast<double>(state.samples) / std::max(seconds, 1e-9));
  std::fflush(stderr);
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace lockstep::trainers
