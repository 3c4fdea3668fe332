#include "pairs.h"

#include <algorithm>
#include <functional>
#include <memory>

#include "common/data.h"
#include "lockstep/base/error.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/dataset/select.h"
#include "lockstep_loader/dataset/subset.h"
#include "lockstep_loader/format/fashion_mnist.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kTestShare = 5;
constexpr std::uint32_t kPairStream = 0x70616972;
constexpr std::uint64_t kTestSeed = 0x74657374;  // turns the seed into that of the test pairs

std::int64_t test_pairs(std::int64_t count) { return std::max<std::int64_t>(1, count / kTestShare); }

std::vector<double> image_labels(const loader::DatasetPtr& images) {
  const loader::SelectDataset labels(images, {{"label"}});
  std::vector<double> result(static_cast<std::size_t>(labels.size()));
  for (std::size_t i = 0; i < result.size(); ++i) {
    std::uint8_t label = 0;
    std::byte* const out[] = {reinterpret_cast<std::byte*>(&label)};
    labels.get(static_cast<std::int64_t>(i), {}, out);
    result[i] = label;
  }
  return result;
}

loader::DatasetPtr pairs_of(const loader::DatasetPtr& base, const std::vector<double>& labels,
                            std::int64_t count, std::uint64_t seed, const loader::PairFields& fields) {
  return std::make_shared<loader::PairDataset>(base, draw_pairs(labels, count, seed), fields,
                                               loader::ranking_target());
}

}  // namespace

std::vector<loader::IndexPair> draw_pairs(const std::vector<double>& labels, std::int64_t count,
                                          std::uint64_t seed) {
  if (std::adjacent_find(labels.begin(), labels.end(), std::not_equal_to<>()) == labels.end())
    fail(ErrorCode::invalid_argument,
         {"ranking", "labels", "at least two that differ", "all the same", "Pass data with an order in it"});
  std::vector<loader::IndexPair> pairs;
  for (std::int64_t i = 0; i < count; ++i) {
    random::Generator generator({seed, 0, i, 0}, kPairStream);
    loader::IndexPair pair;
    do {
      pair.first = static_cast<std::int64_t>(generator.below(labels.size()));
      pair.second = static_cast<std::int64_t>(generator.below(labels.size()));
    } while (labels[static_cast<std::size_t>(pair.first)] == labels[static_cast<std::size_t>(pair.second)]);
    pairs.push_back(pair);
  }
  return pairs;
}

PairData patient_pairs(const std::filesystem::path& file, std::int64_t count, std::uint64_t seed) {
  const PatientTable table = read_patients(file);
  const auto columns = static_cast<std::int64_t>(table.names.size());
  const std::vector<float> features = standardised(table.columns, columns);
  const std::vector<float> progression(table.progression.begin(), table.progression.end());
  const loader::DatasetPtr patients = loader::InMemoryDataset::copy_of(
      {{"features", {features.data(), DType::float32, {table.patients(), columns}}},
       {"progression", {progression.data(), DType::float32, {table.patients()}}}},
      table.source);
  std::vector<std::int64_t> records[2];
  std::vector<double> labels[2];
  for (std::int64_t patient = 0; patient < table.patients(); ++patient) {
    const bool test = patient % kTestShare == kTestShare - 1;
    records[test].push_back(patient);
    labels[test].push_back(progression[static_cast<std::size_t>(patient)]);
  }
  const loader::PairFields fields{"features", "progression"};
  const auto part = [&](int test, std::int64_t pairs, std::uint64_t pair_seed) {
    return pairs_of(std::make_shared<loader::SubsetDataset>(patients, records[test]), labels[test], pairs,
                    pair_seed, fields);
  };
  return {part(0, count, seed), part(1, test_pairs(count), seed ^ kTestSeed), "diabetes", columns};
}

PairData image_pairs(const std::filesystem::path& folder, std::int64_t count, std::uint64_t seed) {
  const auto part = [&](loader::Split split, std::int64_t pairs, std::uint64_t pair_seed) {
    const loader::DatasetPtr images = loader::open_fashion_mnist(folder, split);
    return pairs_of(images, image_labels(images), pairs, pair_seed, {"image", "label"});
  };
  const loader::DatasetPtr train = part(loader::Split::train, count, seed);
  return {train, part(loader::Split::test, test_pairs(count), seed ^ kTestSeed), "fashion-mnist",
          train->fields().front().shape.elements()};
}

}  // namespace lockstep::trainers
