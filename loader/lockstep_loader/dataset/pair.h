#pragma once
// Pairs for ranking: two records, a target and their two labels. Thread-safety: immutable.
//
//   PairDataset pairs(patients, {{3, 9}, {9, 3}}, {"features", "progression"}, ranking_target());

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {

struct IndexPair {
  std::int64_t first = 0;
  std::int64_t second = 0;
  bool operator==(const IndexPair&) const = default;
};

/// Which fields of the base become data1/data2 and labels1/labels2.
struct PairFields {
  std::string data = "image";
  std::string label = "label";
};

/// A target computed from the two labels, which must then be scalars. `name` stands for the function in the
/// fingerprint: give another function another name.
struct DerivedTarget {
  std::string name;
  std::function<float(double label1, double label2)> compute;
};

/// 1 when label1 > label2, -1 when label1 < label2, else 0: what a margin ranking loss expects.
DerivedTarget ranking_target();

/// One target a pair, or a function of the two labels.
using PairTarget = std::variant<std::vector<float>, DerivedTarget>;

/// Fields in this order: data1, data2 (as the base's data), targets (float32 []), labels1, labels2 (as the
/// base's label). The first record gets the key unchanged, the second one a key whose seed is Generator(key,
/// 0x70616972).next_u64(), so that a random transform below draws independently for the two sides.
class PairDataset final : public Dataset {
 public:
  /// Pairs of records of one dataset. Throws Error(not_found) for a missing field; Error(invalid_argument)
  /// for an index that is no record, a number of targets unlike the number of pairs, or a derived target over
  /// labels that are no scalars; Error(unsupported) for one over labels of a dtype that has no C++ type
  /// (float16, bfloat16).
  PairDataset(const DatasetPtr& base, std::vector<IndexPair> pairs, const PairFields& names,
              PairTarget target);
  /// Record i of `first` with record i of `second`. Also throws Error(invalid_argument) for unequal sizes or
  /// fields.
  PairDataset(const DatasetPtr& first, const DatasetPtr& second, const PairFields& names, PairTarget target);

  std::int64_t size() const override { return static_cast<std::int64_t>(pairs_.size()); }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  struct Sides {
    DatasetPtr first;
    DatasetPtr second;
  };
  PairDataset(Sides sides, std::vector<IndexPair> pairs, PairTarget target);
  float target(std::int64_t index, const std::byte* label1, const std::byte* label2) const;

  DatasetPtr first_;   // fields: data, label
  DatasetPtr second_;  // the same fields
  std::vector<IndexPair> pairs_;
  PairTarget target_;
  std::vector<Field> fields_;
  FingerprintCache fingerprint_;
};

}  // namespace lockstep::loader
