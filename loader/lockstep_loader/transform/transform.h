#pragma once
// A function over records as a view: TransformDataset. Randomness comes from the record's key alone, so that
// what a record becomes is a function of (seed, epoch, record, occurrence) and of nothing else: not of
// threads, batches, ranks or order. Thread-safety: immutable; the function is called from many threads at
// once and must not keep state.
//
//   TransformDataset flipped(train, random_horizontal_flip("image", 0.5, /*stream=*/1));

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep/base/view.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// `in[f]` is field f of the base's record, `out[f]` field f of the result: write all of it. `random` is the
/// record's own. May throw Error: the record is then a bad sample.
using TransformFunction =
    std::function<void(std::span<const ConstView> in, random::Generator& random, std::span<const View> out)>;

struct Transform {
  std::string name;                 ///< with its parameters: stands for the function in the fingerprint
  std::vector<std::string> inputs;  ///< fields of the base that the function reads
  std::vector<Field> outputs;       ///< what it writes; may keep an input's name
  TransformFunction apply;
  std::uint32_t stream =
      0;  ///< tells the draws of chained transforms apart; two with one number draw the same
};

/// Fields: those of the base that are no input, in their order and untouched, with the outputs put in the
/// place of the first input (at the front when there is none).
class TransformDataset final : public Dataset {
 public:
  /// Throws Error(not_found) for an input that `base` lacks; Error(invalid_argument) for an empty name, no
  /// function, no outputs or two fields of one name.
  TransformDataset(DatasetPtr base, Transform transform);

  std::int64_t size() const override { return base_->size(); }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override { base_->prefetch(index); }
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  DatasetPtr base_;
  Transform transform_;
  std::vector<Field> fields_;
  std::vector<std::size_t> inputs_;     // positions in the base's fields
  std::vector<std::size_t> passed_to_;  // for each base field: its position in fields_, or kInput
  std::size_t first_output_ = 0;        // position in fields_
  std::size_t scratch_bytes_ = 0;
};

}  // namespace lockstep::loader
