#include "table.h"

#include <algorithm>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <chrono>
#include <exception>
#include <utility>

#include <torch/torch.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/invariant_mode.h"

namespace lockstep::tools {
namespace {

/// LibTorch's deterministic algorithms while it lives. main() has prepared cuBLAS.
class DeterministicAlgorithms {
 public:
  DeterministicAlgorithms() {
    context_.setDeterministicAlgorithms(true, /*warn_only=*/false);
    context_.setDeterministicCuDNN(true);
  }
  ~DeterministicAlgorithms() {
    context_.setDeterministicAlgorithms(false, /*warn_only=*/false);
    context_.setDeterministicCuDNN(false);
  }
  DeterministicAlgorithms(const DeterministicAlgorithms&) = delete;
  DeterministicAlgorithms& operator=(const DeterministicAlgorithms&) = delete;

 private:
  at::Context& context_ = at::globalContext();
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::int64_t Table::broken() const {
  return std::count_if(rows.begin(), rows.end(), [](const Row& row) {
    return row.promised && row.ours.refused.empty() && row.ours.difference.differing > 0;
  });
}

Difference difference_of(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes())
    fail(ErrorCode::internal, {"comparison", "shapes", c10::str(a.sizes()), c10::str(b.sizes()), {}});
  const at::Tensor x = a.detach().to(torch::kDouble).contiguous(),
                   y = b.detach().to(torch::kDouble).contiguous();
  Difference difference;
  difference.elements = x.numel();
  // In double, -0 and +0 compare equal but are other bits: signbit tells.
  const at::Tensor both_nan = x.isnan().logical_and(y.isnan());
  const at::Tensor same = x.eq(y).logical_and(x.signbit().eq(y.signbit())).logical_or(both_nan);
  difference.differing = same.logical_not().sum().item<std::int64_t>();
  const at::Tensor apart = (x - y).abs();
  const at::Tensor finite = torch::where(apart.isfinite(), apart, torch::zeros_like(apart));
  if (finite.numel() > 0) difference.largest = finite.max().item<double>();
  return difference;
}

/// On a device by its own clock, from the first kernel to the last: what the host takes counts where the
/// device waits for it.
double Bench::milliseconds_of(const Computation& computation) const {
  if (device_.is_cpu()) {
    const auto start = std::chrono::steady_clock::now();
    computation();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  const c10::Stream stream = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  c10::Event start(device_.type(), c10::EventFlag::BACKEND_DEFAULT),
      end(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  start.record(stream);
  computation();
  end.record(stream);
  end.synchronize();
  return start.elapsedTime(end);
}

Side Bench::measure(const Computation& small, const Computation& large) const {
  Side side;
  try {
    const at::Tensor one = small(), many = large();
    const InvariantMode off(false);
    side.difference = difference_of(one, many);
  } catch (const Error& error) {
    side.refused = error.what();
    return side;
  } catch (const c10::Error& error) {
    side.refused = error.what_without_backtrace();
    return side;
  }
  std::vector<double> times;
  for (int i = 0; i < repeats_; ++i) times.push_back(milliseconds_of(large));
  side.milliseconds = median(std::move(times));
  return side;
}

void Bench::compare(Row row, const Computation& small, const Computation& large) {
  compare(std::move(row), small, large, small, large);
}

void Bench::compare(Row row, const Computation& eager_small, const Computation& eager_large,
                    const Computation& ours_small, const Computation& ours_large) {
  row.eager = measure(eager_small, eager_large);
  if (device_.is_cuda()) {
    const DeterministicAlgorithms deterministic;
    row.deterministic = measure(eager_small, eager_large);
  }
  {
    const InvariantMode mode;
    row.ours = measure(ours_small, ours_large);
  }
  table_.rows.push_back(std::move(row));
}

}  // namespace lockstep::tools
