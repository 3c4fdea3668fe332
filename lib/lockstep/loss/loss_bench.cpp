// LibTorch's kernels: bench/kernels.

#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/loss/loss.h"
#include "lockstep/loss/loss_ref.h"

namespace {

struct Problem {
  // Not inlined: GCC 12 then warns of a free that it makes up.
  [[gnu::noinline]] explicit Problem(const benchmark::State& state)
      : extents{state.range(0), state.range(1)},
        x(static_cast<std::size_t>(extents.rows * extents.features)),
        target(x.size(), 0.25f),
        y(x.size()),
        rows(static_cast<std::size_t>(extents.rows)) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) * 0.01f;
  }
  void report(benchmark::State& state) const {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(x.size()));
  }

  lockstep::LossExtents extents;
  std::vector<float> x, target, y, rows;
};

template <class Operation>
void every_element(benchmark::State& state, Operation operation) {
  Problem p(state);
  for (auto _ : state) {
    operation(p);
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void mse(benchmark::State& state) {
  every_element(state, [](Problem& p) { lockstep::mse(p.x.data(), p.target.data(), p.y.data(), p.extents); });
}
void mse_reference(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    for (std::size_t i = 0; i < p.x.size(); ++i) p.y[i] = lockstep::loss_ref::mse(p.x[i], p.target[i]);
  });
}
void mse_backward(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    lockstep::mse_backward(p.x.data(), p.target.data(), {nullptr, 0.5f}, p.y.data(), p.extents);
  });
}
void bce_with_logits(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    lockstep::bce_with_logits(p.x.data(), p.target.data(), {}, p.y.data(), p.extents);
  });
}
void bce_with_logits_reference(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    for (std::size_t i = 0; i < p.x.size(); ++i)
      p.y[i] = lockstep::loss_ref::bce_with_logits(p.x[i], p.target[i], 1.0f, 1.0f);
  });
}
void bce_with_logits_backward(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    lockstep::bce_with_logits_backward(p.x.data(), p.target.data(), {}, {nullptr, 0.5f}, p.y.data(),
                                       p.extents);
  });
}
void row_losses(benchmark::State& state) {
  every_element(state, [](Problem& p) { lockstep::row_losses(p.x.data(), p.rows.data(), p.extents); });
}
void row_losses_reference(benchmark::State& state) {
  every_element(state, [](Problem& p) {
    const auto features = static_cast<std::size_t>(p.extents.features);
    for (std::size_t r = 0; r < p.rows.size(); ++r)
      p.rows[r] = lockstep::loss_ref::row_loss(p.x.data() + r * features, features);
  });
}

void shapes(benchmark::internal::Benchmark* benchmark) { benchmark->Args({64, 1})->Args({2048, 384}); }
BENCHMARK(mse)->Apply(shapes);
BENCHMARK(mse_reference)->Apply(shapes);
BENCHMARK(mse_backward)->Apply(shapes);
BENCHMARK(bce_with_logits)->Apply(shapes);
BENCHMARK(bce_with_logits_reference)->Apply(shapes);
BENCHMARK(bce_with_logits_backward)->Apply(shapes);
BENCHMARK(row_losses)->Apply(shapes);
BENCHMARK(row_losses_reference)->Apply(shapes);

// ---- CUDA, beside a copy of the device's memory

/// `arrays` of the problem's size are read or written in all.
template <class Operation>
void on_device(benchmark::State& state, std::size_t arrays, Operation operation) {
  if (lockstep::cuda_device_count() == 0) return state.SkipWithError(lockstep::cuda_trouble().c_str());
  const lockstep::LossExtents extents{state.range(0), state.range(1)};
  const std::vector<float> quarters(static_cast<std::size_t>(extents.rows * extents.features), 0.25f);
  const std::size_t bytes = quarters.size() * sizeof(float);
  lockstep::DeviceBuffer x(bytes), target(bytes), y(bytes);
  x.copy_from_host(quarters.data());
  target.copy_from_host(quarters.data());
  lockstep::internal::time_beside_device_copy(state, arrays * bytes, [&] {
    operation(static_cast<const float*>(x.data()), static_cast<const float*>(target.data()),
              static_cast<float*>(y.data()), extents);
  });
}

void cuda_mse(benchmark::State& state) {
  on_device(state, 3,
            [](const float* x, const float* target, float* y, const lockstep::LossExtents& extents) {
              lockstep::mse(x, target, y, extents, lockstep::Device::cuda);
            });
}
void cuda_bce_with_logits(benchmark::State& state) {
  on_device(state, 3,
            [](const float* x, const float* target, float* y, const lockstep::LossExtents& extents) {
              lockstep::bce_with_logits(x, target, {}, y, extents, lockstep::Device::cuda);
            });
}
void cuda_row_losses(benchmark::State& state) {
  on_device(state, 1, [](const float* x, const float*, float* y, const lockstep::LossExtents& extents) {
    lockstep::row_losses(x, y, extents, lockstep::Device::cuda);
  });
}

void device_shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({1 << 17, 1024})->Iterations(1)->UseManualTime();
}
BENCHMARK(cuda_mse)->Apply(device_shapes);
BENCHMARK(cuda_bce_with_logits)->Apply(device_shapes);
BENCHMARK(cuda_row_losses)
    ->Apply(device_shapes)
    ->Args({1 << 20, 100})
    ->Args({4096, 32'768})
    ->Args({512, 262'144});

}  // namespace
