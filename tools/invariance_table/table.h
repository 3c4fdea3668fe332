#pragma once
// The table: one line a comparison, of LibTorch's own kernels and of lockstep's.

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::tools {

/// What two computations of the same values gave.
struct Difference {
  std::int64_t elements = 0, differing = 0;  ///< by their bits; every NaN counts as one value
  double largest = 0;                        ///< of |a - b|, where both are finite
};

/// One side of a comparison.
struct Side {
  Difference difference;
  double milliseconds = 0;  ///< of the second, larger computation
  std::string refused;      ///< why it did not run; else empty
};

struct Row {
  char experiment = 'a';
  std::string subject;   ///< "mm", "layer 3"
  std::string shape;     ///< "32x256x256"
  std::string compared;  ///< "one row / batch"
  std::string precision = "fp32";
  bool tensor_cores = false;  ///< in LibTorch's kernels
  Side eager, ours;
  std::optional<Side>
      deterministic;     ///< LibTorch's kernels with its deterministic algorithms, on a CUDA device
  bool promised = true;  ///< that ours is equal: false where another order is asked for on purpose
  std::string note;
};

struct Table {
  std::vector<Row> rows;
  std::map<std::string, std::string> environment;

  /// Rows in which ours ran, is promised to be equal and is not.
  std::int64_t broken() const;
};

/// A table is filled by experiments, which run one computation two ways: on LibTorch's kernels, on a CUDA
/// device also on those that its deterministic mode takes, and in the invariant mode.
class Bench {
 public:
  /// `reduced`: small sizes, for a CPU. `repeats`: timings, of which the median is taken.
  Bench(Table& table, at::Device device, bool reduced, int repeats)
      : table_(table), device_(device), reduced_(reduced), repeats_(repeats) {}

  at::Device device() const { return device_; }
  /// What is drawn, is drawn on the CPU: the same values on every device.
  at::Tensor place(const at::Tensor& values) const { return values.to(device_); }
  std::int64_t size(std::int64_t full, std::int64_t small) const { return reduced_ ? small : full; }

  using Computation = std::function<at::Tensor()>;
  /// Runs both on LibTorch's kernels, then both in the invariant mode, and adds `row` with what came out.
  void compare(Row row, const Computation& small, const Computation& large);
  /// The same where the two sides are computed differently.
  void compare(Row row, const Computation& eager_small, const Computation& eager_large,
               const Computation& ours_small, const Computation& ours_large);

 private:
  Side measure(const Computation& small, const Computation& large) const;
  double milliseconds_of(const Computation& computation) const;

  Table& table_;
  at::Device device_;
  bool reduced_;
  int repeats_;
};

Difference difference_of(const at::Tensor& a, const at::Tensor& b);

// The experiments. README.md says what each shows.
void single_operations(Bench& bench);   // a
void seeds(Bench& bench);               // b
void batch_sizes(Bench& bench);         // c
void transformer_layer(Bench& bench);   // d
void layer_by_layer(Bench& bench);      // e
void gradients(Bench& bench);           // f
void orders_of_addition(Bench& bench);  // g

}  // namespace lockstep::tools
