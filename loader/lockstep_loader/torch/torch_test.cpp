#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/device_test.h"
#include "lockstep_loader/batch/fakes_test.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/torch/batch_tensors.h"
#include "lockstep_loader/torch/device_batches.h"
#include "lockstep_loader/torch/pinned_memory.h"
#include "lockstep_loader/torch/tensor_dataset.h"

namespace lockstep::loader {
namespace {

/// Before any test asks LibTorch for CUDA.
class AskForCuda final : public ::testing::Environment {
  void SetUp() override { no_cuda_tensors(); }
};
[[maybe_unused]] auto* const ask_for_cuda = ::testing::AddGlobalTestEnvironment(new AskForCuda);

Loader loader_over(const std::vector<NamedTensor>& columns, int workers = 0) {
  const DatasetPtr dataset = tensor_dataset(columns);
  return {dataset, native_random({dataset->size(), 3, false, {}}), {.batch_size = 8, .workers = workers}};
}

TEST(LoaderTorch, BatchesAreRowsOfTheTensors) {
  const torch::Tensor x = torch::rand({50, 3, 4}), y = torch::arange(50);
  Loader loader = loader_over({{"x", x}, {"y", y}}, 2);
  loader.begin(0);
  std::int64_t rows = 0;
  while (const auto batch = loader.next()) {
    const TensorBatch tensors = to_tensors(*batch);
    const torch::Tensor ids = torch::tensor(batch->ids);
    EXPECT_TRUE(torch::equal(tensors.field("x"), x.index_select(0, ids)));
    EXPECT_TRUE(torch::equal(tensors.field("y"), ids));
    EXPECT_TRUE(torch::equal(to_tensor(*batch, "y"), ids));
    EXPECT_EQ(tensors.rows(), batch->rows());
    EXPECT_EQ(tensors.index, batch->index);
    rows += tensors.rows();
  }
  EXPECT_EQ(rows, 50);
}

TEST(LoaderTorch, NothingIsCopiedAndTheMemoryOutlivesTheLoader) {
  const torch::Tensor x = torch::arange(40, torch::kFloat);
  torch::Tensor kept;
  std::vector<std::int64_t> ids;
  {
    Loader loader = loader_over({{"x", x}});
    loader.begin(0);
    std::optional<Batch> batch = loader.next();
    kept = to_tensor(*batch, "x");
    EXPECT_EQ(kept.data_ptr(), batch->field("x").data);
    ids = batch->ids;
    batch.reset();
    while (loader.next()) {  // reuses every buffer that is free
    }
  }
  EXPECT_TRUE(torch::equal(kept, x.index_select(0, torch::tensor(ids))));
}

TEST(LoaderTorch, EveryDtypeArrivesAsItself) {
  for (const auto type :
       {torch::kBool, torch::kByte, torch::kChar, torch::kUInt16, torch::kShort, torch::kUInt32, torch::kInt,
        torch::kUInt64, torch::kLong, torch::kHalf, torch::kBFloat16, torch::kFloat, torch::kDouble}) {
    const torch::Tensor column = torch::arange(8).to(type);
    const DatasetPtr dataset = tensor_dataset({{"x", column}});
    Loader loader(dataset, native_sequential(8), {.batch_size = 8});
    loader.begin(0);
    const torch::Tensor delivered = to_tensor(*loader.next(), "x");
    EXPECT_EQ(delivered.scalar_type(), type);
    EXPECT_TRUE(torch::equal(delivered, column)) << type;
  }
}

TEST(LoaderTorch, ATensorThatIsNotContiguousIsCopiedOnce) {
  const torch::Tensor x = torch::rand({4, 8}).t();
  Loader loader = loader_over({{"x", x}});
  loader.begin(0);
  const auto batch = loader.next();
  EXPECT_TRUE(torch::equal(to_tensor(*batch, "x"), x.index_select(0, torch::tensor(batch->ids))));
}

TEST(LoaderTorch, ErrorsSayWhatToDo) {
  Loader loader = loader_over({{"x", torch::rand({8})}});
  loader.begin(0);
  const auto batch = loader.next();
  expect_error(ErrorCode::not_found, "one of x", [&] { to_tensor(*batch, "label"); });
  expect_error(ErrorCode::not_found, "one of x", [&] { to_tensors(*batch).field("label"); });
  expect_error(ErrorCode::invalid_argument, "9", [] {
    tensor_dataset({{"x", torch::rand({8})}, {"y", torch::rand({9})}});
  });
  if (!no_cuda_tensors().empty()) {
    expect_error(ErrorCode::unsupported, "pageable", [&] { to_tensors(*batch, HostMemory::pinned); });
    expect_error(ErrorCode::unsupported, "pageable", [] { pinned_memory(); });
  }
}

// ---- Batches on a device

using testing::FakeDataset;

/// What a batch is to its consumer: ids, and the bytes of each field.
using Seen = std::pair<std::vector<std::int64_t>, std::vector<std::string>>;

Seen seen(const std::vector<std::int64_t>& ids, const TensorBatch& tensors) {
  Seen all{ids, {}};
  for (const NamedTensor& field : tensors.fields) all.second.push_back(digest_of(field.tensor).hex());
  return all;
}

class DeviceBatchesOnEachDevice : public OnEachDevice {
 protected:
  static constexpr std::int64_t kRecords = 200;

  static Loader loader_of(const std::shared_ptr<FakeDataset>& dataset, int workers) {
    LoaderOptions options{.batch_size = 8, .workers = workers};
    if (device().is_cuda()) options.allocate = pinned_memory();
    return {dataset, native_random({kRecords, 3, false, {}}), options};
  }
  static std::shared_ptr<FakeDataset> records() { return std::make_shared<FakeDataset>(kRecords); }

  /// From the loader alone, from where it stands.
  static std::vector<Seen> rest_of(Loader& loader) {
    std::vector<Seen> all;
    while (const auto batch = loader.next()) all.push_back(seen(batch->ids, to_tensors(*batch)));
    return all;
  }

  /// Keeps every batch until the end, so that whatever is written over is seen.
  static std::vector<Seen> rest_of(DeviceBatches& batches, bool prefetch) {
    std::vector<TensorBatch> kept;
    while (auto batch = batches.next()) {
      EXPECT_EQ(batch->tensors.field("bytes").device().type(), device().type());
      EXPECT_EQ(batch->tensors.ids, batch->host.ids);
      kept.push_back(batch->tensors);
      batch.reset();  // the host's memory serves the loader again, once it was copied
      if (prefetch) batches.prefetch();
    }
    std::vector<Seen> all;
    for (const TensorBatch& batch : kept) all.push_back(seen(batch.ids, batch));
    return all;
  }
};

TEST_P(DeviceBatchesOnEachDevice, AreTheLoaders) {
  Loader reference = loader_of(records(), 0);
  reference.begin(2);
  const auto expected = rest_of(reference);
  ASSERT_EQ(expected.size(), 25u);
  for (const int workers : {0, 3}) {
    for (const bool prefetch : {false, true}) {
      Loader loader = loader_of(records(), workers);
      DeviceBatches batches(loader, device());
      loader.begin(2);
      EXPECT_EQ(rest_of(batches, prefetch), expected) << workers << " workers";
      EXPECT_EQ(loader.delivered(), reference.delivered());
    }
  }
}

/// A device that is steps behind, and batches that are let go at once: copies, and the work that reads them,
/// are under way while their memory on both sides serves the batches after them.
TEST_P(DeviceBatchesOnEachDevice, AreReadBeforeTheirMemoryServesAgain) {
  double expected = 0;
  Loader reference = loader_of(records(), 0);
  reference.begin(0);
  while (const auto batch = reference.next())
    expected += to_tensor(*batch, "bytes").sum().item<double>() * static_cast<double>(batch->index + 1);
  ASSERT_LT(expected, 1 << 24) << "exact in float32";

  const std::int64_t size = device().is_cuda() ? 4096 : 64;
  at::Tensor x = torch::ones({size, size}, device()), sum = torch::zeros({}, device());
  Loader loader = loader_of(records(), 2);
  DeviceBatches batches(loader, device());
  loader.begin(0);
  while (const auto batch = batches.next()) {
    x = torch::mm(x, x).clamp(0, 1);
    sum += batch->tensors.field("bytes").to(torch::kFloat).sum() * x[0][0] * (batch->host.index + 1);
    batches.prefetch();
  }
  EXPECT_EQ(sum.item<double>(), expected);
}

TEST_P(DeviceBatchesOnEachDevice, LeaveAStateThatTakesUpWithTheNextBatch) {
  Loader reference = loader_of(records(), 0);
  reference.begin(0);
  const auto expected = rest_of(reference);
  LoaderState state;
  {
    Loader loader = loader_of(records(), 3);
    DeviceBatches batches(loader, device());
    loader.begin(0);
    for (int k = 0; k < 7; ++k) ASSERT_TRUE(batches.next().has_value()), batches.prefetch();
    state = loader.state();
    EXPECT_EQ(state.batches, 7);
    loader.begin(1);  // what was copied ahead is left
    batches.prefetch();
    EXPECT_EQ(batches.next()->host.epoch, 1);
  }
  Loader loader = loader_of(records(), 1);
  DeviceBatches batches(loader, device());
  loader.restore(state);
  loader.begin(0);
  EXPECT_EQ(rest_of(batches, true), std::vector(expected.begin() + 7, expected.end()));
}

TEST_P(DeviceBatchesOnEachDevice, ThrowWhatTheLoaderThrowsAtItsPlace) {
  for (const int workers : {0, 2}) {
    const auto dataset = records();
    dataset->exploding = {20, 190};
    LoaderOptions options{.batch_size = 8, .workers = workers};
    Loader loader(dataset, native_sequential(kRecords), options);
    DeviceBatches batches(loader, device());
    loader.begin(0);
    std::vector<std::int64_t> thrown, delivered;
    for (std::int64_t k = 0; k < 25; ++k) {
      try {
        delivered.push_back(batches.next()->host.index);
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "exploded");
        thrown.push_back(k);
      }
      batches.prefetch();
    }
    EXPECT_FALSE(batches.next().has_value());
    EXPECT_EQ(thrown, (std::vector<std::int64_t>{2, 23})) << workers;
    EXPECT_EQ(delivered.size(), 23u);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, DeviceBatchesOnEachDevice, ::testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, DeviceBatchesOnEachDevice, ::testing::Values("cuda"));

class PinnedGpu : public GpuTensors {};

TEST_F(PinnedGpu, BatchesLieInPageLockedMemory) {
  const torch::Tensor x = torch::rand({8, 2});
  const DatasetPtr dataset = tensor_dataset({{"x", x}});
  Loader loader(dataset, native_sequential(8), {.batch_size = 8, .allocate = pinned_memory()});
  loader.begin(0);
  const auto batch = loader.next();
  EXPECT_TRUE(to_tensor(*batch, "x").is_pinned());
  EXPECT_TRUE(to_tensor(*batch, "x").equal(x));
  Loader pageable = loader_over({{"x", x}});
  pageable.begin(0);
  const auto other = pageable.next();
  EXPECT_FALSE(to_tensor(*other, "x").is_pinned());
  EXPECT_TRUE(to_tensors(*other, HostMemory::pinned).field("x").is_pinned());
}

}  // namespace
}  // namespace lockstep::loader
