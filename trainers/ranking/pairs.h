#pragma once
// Pairs of records of which one ranks higher than the other: patients by how far their disease went on,
// images by their class number.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/pair.h"

namespace lockstep::trainers {

/// Pairs for training and for testing, over records that the other part does not see. Fields: data1, data2,
/// targets (1 or -1), labels1, labels2.
struct PairData {
  loader::DatasetPtr train, test;
  std::string name;           ///< "diabetes"
  std::int64_t features = 0;  ///< elements of data1
};

/// Every fifth patient is a test patient. `count` training pairs and a fifth of that for the test.
PairData patient_pairs(const std::filesystem::path& file, std::int64_t count, std::uint64_t seed);

/// Training pairs from Fashion-MNIST's training images, test pairs from its test images.
PairData image_pairs(const std::filesystem::path& folder, std::int64_t count, std::uint64_t seed);

/// `count` pairs of records with different labels, each drawn from a counter-based generator of its own.
/// Throws Error(invalid_argument) when all labels are equal.
std::vector<loader::IndexPair> draw_pairs(const std::vector<double>& labels, std::int64_t count,
                                          std::uint64_t seed);

}  // namespace lockstep::trainers
