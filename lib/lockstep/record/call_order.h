#pragma once
// Which calls a recorder takes when.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/view.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/record/model.h"

namespace lockstep::record {

/// One field of one micro-batch.
struct FieldPart {
  std::string name;
  ConstView samples;  ///< [n, …], n as in the micro-batch
  /// digest_samples(samples, first_sample) where it is known already, as from a GPU; then the memory is read
  /// only in a step that is recorded in full.
  std::optional<fingerprint::DigestSum> digest = {};
};

/// What all micro-batches of a step must have alike in a field.
struct FieldKind {
  std::string name;
  DType dtype = DType::uint8;
  Shape sample_shape;

  bool fits(const FieldPart& part) const {
    return name == part.name && dtype == part.samples.dtype &&
           sample_shape == part.samples.shape.without_first();
  }
};

/// Follows a recorder's calls. Each of them, made before the recorder's own, throws Error(invalid_argument)
/// for a call that does not fit to those before; then nothing has changed.
class CallOrder {
 public:
  void require_open(const char* call) const;
  void require_step(const char* call) const;

  void begin_step(std::int64_t step);
  void batch_part(std::int64_t first_sample, std::int64_t samples, const std::vector<FieldPart>& fields);
  void tensor(Phase phase);
  void force_tensors();
  void end_step();
  void close();

  bool step_is_open() const { return step_open_; }
  bool is_closed() const { return closed_; }
  std::int64_t last_step() const { return last_step_; }  ///< -1 before the first
  /// Of the open step, by `tensors_every` of RecorderOptions.
  bool wants_tensors(std::int64_t tensors_every) const;

 private:
  void check_part(std::int64_t first_sample, std::int64_t samples,
                  const std::vector<FieldPart>& fields) const;

  bool step_open_ = false, batch_open_ = false, forced_ = false, closed_ = false;
  std::int64_t last_step_ = -1;
  std::int64_t parts_ = 0, samples_ = 0;  ///< of the step
  std::vector<FieldKind> fields_;         ///< of the step's first micro-batch
};

}  // namespace lockstep::record
