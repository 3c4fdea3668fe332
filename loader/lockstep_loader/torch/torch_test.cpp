#include <optional>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/torch/batch_tensors.h"
#include "lockstep_loader/torch/tensor_dataset.h"

namespace lockstep::loader {
namespace {

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
  if (!torch::cuda::is_available()) {
    expect_error(ErrorCode::unsupported, "pageable", [&] { to_tensors(*batch, HostMemory::pinned); });
  }
}

TEST(LoaderTorch, PinnedOnAMachineWithGpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const torch::Tensor x = torch::rand({8, 2});
  Loader loader = loader_over({{"x", x}});
  loader.begin(0);
  const auto batch = loader.next();
  const torch::Tensor pinned = to_tensors(*batch, HostMemory::pinned).field("x");
  EXPECT_TRUE(pinned.is_pinned());
  EXPECT_TRUE(torch::equal(pinned, to_tensor(*batch, "x")));
}

}  // namespace
}  // namespace lockstep::loader
