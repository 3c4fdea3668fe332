#pragma once
// What a run leaves behind, as plain structures. Each travels as the payload of one frame
// (docs/formats/recording.md). The order of serialize() members is persisted: append with a new format
// version, never reorder.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/dtype.h"
#include "lockstep/base/shape.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/fingerprint/statistics.h"

namespace lockstep::record {

/// Persisted: do not change.
enum class FrameType : std::uint16_t { run = 1, batch = 2, loss = 3, tensor = 4, event = 5, end = 6 };

/// In the order in which a step computes them; the cause rule relies on it. Persisted: do not change.
enum class Phase : std::uint8_t {
  batch = 1,
  named = 2,
  loss = 3,
  gradient = 4,
  optimizer = 5,
  parameter = 6
};
std::string_view phase_name(Phase phase);
Phase parse_phase(std::string_view name);

/// Settings are compared by kind. Semantic ones decide what is computed (seed, data, model, global batch,
/// optimizer); placement ones must not (workers, prefetch, threads, micro-batch, device, world).
struct RunInfo {
  std::string run_id;        ///< 32 hex digits, the same in all segments and ranks of a run
  std::int32_t segment = 0;  ///< 0, then 1 for the first resume, …
  std::int32_t rank = 0;
  std::int32_t world_size = 1;
  std::int64_t started_ns = 0;  ///< UTC, nanoseconds since 1970, of the run's segment 0
  std::int64_t segment_started_ns = 0;
  std::int64_t first_step = 0;  ///< the step this segment begins with
  std::string program;
  std::vector<std::string> command_line;
  std::map<std::string, std::string> semantic;
  std::map<std::string, std::string> placement;
  std::map<std::string, std::string>
      environment;  ///< versions, CPU, GPU, flags: shown side by side, never a verdict
  std::map<std::string, std::string>
      policy;                           ///< the recorder's own options: what can be expected in this file
  std::vector<std::string> guarantees;  ///< "run_to_run", "workers", …: in force in this run

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& run_id& segment& rank& world_size& started_ns& segment_started_ns& first_step& program&
        command_line& semantic& placement& environment& policy& guarantees;
  }
};

/// A tensor as it is remembered.
struct TensorSummary {
  std::string name;
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;  ///< global: of the whole optimizer step
  fingerprint::Digest digest;
  std::optional<fingerprint::Digest>
      unordered;  ///< batch fields: the same for the same samples in another order
  std::optional<fingerprint::Statistics> statistics;
  std::optional<std::string> values;  ///< the elements, little-endian, when recorded in full

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& name& dtype& shape& digest& unordered& statistics& values;
  }
};

/// The data of one optimizer step.
struct BatchRecord {
  std::int64_t step = 0;  ///< optimizer step, from 0, over all epochs
  std::int64_t epoch = 0;
  std::int64_t index = 0;  ///< batch in the epoch
  std::int64_t samples = 0;
  fingerprint::Digest ids_digest;
  fingerprint::Digest ids_unordered;
  std::optional<std::vector<std::int64_t>> ids;
  std::vector<TensorSummary> fields;         ///< a pair dataset: data1, data2, targets, labels1, labels2
  std::map<std::string, std::string> names;  ///< field → dataset name and variant, as "images/steel/50Hz"

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& step& epoch& index& samples& ids_digest& ids_unordered& ids& fields& names;
  }
};

struct LossRecord {
  std::int64_t step = 0;
  std::string name;  ///< "loss", "accuracy", …
  DType dtype = DType::float32;
  std::uint64_t bits = 0;  ///< of the value in `dtype`, zero-extended
  std::string text;        ///< shortest decimal that reads back to the same bits

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& step& name& dtype& bits& text;
  }
};

struct TensorRecord {
  std::int64_t step = 0;
  Phase phase = Phase::named;
  TensorSummary tensor;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& step& phase& tensor;
  }
};

/// Something a person should know: "checkpoint", "resume", "bad_sample", "frames_lost" (disk full, training
/// went on).
struct EventRecord {
  std::int64_t step = 0;
  std::string kind;
  std::string text;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& step& kind& text;
  }
};

struct EndRecord {
  std::int64_t frames = 0;        ///< before this one
  fingerprint::DigestSum digest;  ///< over the frames' CRCs by sequence number
  std::int64_t last_step = -1;
  std::string reason;  ///< "closed"; "interrupted"

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& frames& digest& last_step& reason;
  }
};

}  // namespace lockstep::record
