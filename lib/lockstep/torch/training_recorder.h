#pragma once
// record::Recorder for tensors, modules and optimizers. What lies in the CPU's memory is read before a call
// returns. Of what lies on a CUDA device the fingerprints are computed there, on LibTorch's current stream;
// only they are copied, or values where those are recorded, and a later call writes them
// (record/late_recorder.h): neither the stream nor the caller waits, but for close(), sync(), the destructor,
// and a ring of 64 such copies that is full. The file is the same, byte for byte. Not to be called while a
// CUDA graph is captured. Thread-safety: one thread at a time.

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep/record/late_recorder.h"

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace lockstep {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// One step is: begin_step · batch_part (one a micro-batch) · loss, named · record_gradients ·
/// record_optimizer · record_parameters · end_step. record_batch() is the first two for a batch that is not
/// cut.
class TrainingRecorder {
 public:
  /// As record::Recorder; torch_environment() is added to `info.environment` (entries that are there already
  /// stay).
  TrainingRecorder(const std::filesystem::path& directory, record::RunInfo info,
                   record::RecorderOptions options = {});

  void begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index);
  /// Fields are [n, …] with n = ids.size(). Throws Error(invalid_argument) for another first extent.
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<NamedTensor>& fields);
  /// Memory that is no tensor, such as a loader's batch.
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<record::FieldPart>& fields) {
    late_.batch_part(first_sample, ids, fields);
  }
  void record_batch(std::int64_t step, std::int64_t epoch, std::int64_t batch_index,
                    const std::vector<std::int64_t>& ids, const std::vector<NamedTensor>& fields);
  void name_field(const std::string& field, const std::string& dataset_and_variant);

  /// A tensor with one element, float32 or float64; 16-bit floats are widened, which is exact.
  /// Throws Error(invalid_argument) otherwise.
  void loss(const std::string& name, const at::Tensor& value);
  void loss(const std::string& name, double value) { late_.loss(name, value); }
  /// Any tensor under a name, in the phase "named"; in every step in which it is called.
  void named(const std::string& name, const at::Tensor& tensor);

  /// The four below do nothing unless wants_tensors(). Names are the module's own ("fc1.weight").
  /// Gradients: a parameter without one is left out.
  void record_gradients(const torch::nn::Module& module);
  /// Parameters, then buffers.
  void record_parameters(const torch::nn::Module& module);
  /// Per parameter "<name>.<buffer>": momentum_buffer (SGD); step, exp_avg, exp_avg_sq, max_exp_avg_sq (Adam,
  /// AdamW); step, sum (Adagrad); step, square_avg, momentum_buffer, grad_avg (RMSprop). Steps are int64
  /// scalars. Buffers that do not exist yet are left out. Throws Error(unsupported) for another optimizer's
  /// state, naming the parameter.
  void record_optimizer(const torch::optim::Optimizer& optimizer, const torch::nn::Module& module);
  void record_tensor(record::Phase phase, const std::string& name, const at::Tensor& tensor);
  /// The same of many, in few launches for all that lie on a CUDA device.
  void record_tensors(record::Phase phase, const std::vector<NamedTensor>& tensors);

  bool wants_tensors() const { return late_.wants_tensors(); }
  void force_tensors() { late_.force_tensors(); }
  void event(const std::string& kind, const std::string& text) { late_.event(kind, text); }
  void end_step() { late_.end_step(); }
  void sync() { late_.sync(); }
  void close() { late_.close(); }
  const std::string& failure() const { return late_.failure(); }
  const std::filesystem::path& file() const { return late_.file(); }
  const record::RunInfo& info() const { return late_.info(); }

 private:
  void batch_part_digests(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                          const std::vector<NamedTensor>& fields);
  void batch_part_values(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                         const std::vector<NamedTensor>& fields);
  void record_values(record::Phase phase, const NamedTensor& one);
  void record_fingerprints(record::Phase phase, const std::vector<NamedTensor>& tensors);

  record::LateRecorder late_;
};

}  // namespace lockstep
