// In-memory tables and the views over them.

#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/concat.h"
#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/dataset/select.h"
#include "lockstep_loader/dataset/subset.h"

namespace lockstep::loader {
namespace {

constexpr std::int64_t kRows = 6;

struct Table {
  std::vector<float> x = std::vector<float>(kRows * 3);
  std::vector<std::uint8_t> y = std::vector<std::uint8_t>(kRows);

  Table() {
    std::iota(x.begin(), x.end(), 0.5f);
    std::iota(y.begin(), y.end(), std::uint8_t{10});
  }
  std::vector<NamedView> views() const {
    return {{"x", {x.data(), DType::float32, {kRows, 3}}}, {"y", {y.data(), DType::uint8, {kRows}}}};
  }
  DatasetPtr dataset() const { return InMemoryDataset::copy_of(views()); }
};

TEST(InMemory, DeliversRows) {
  const Table table;
  const InMemoryDataset dataset(table.views());
  EXPECT_EQ(dataset.size(), kRows);
  EXPECT_EQ(dataset.fields(), (std::vector<Field>{{"x", DType::float32, {3}}, {"y", DType::uint8, {}}}));
  for (std::int64_t row = 0; row < kRows; ++row) {
    const float first = 0.5f + 3 * static_cast<float>(row);
    EXPECT_EQ(fetch_as<float>(dataset, row), (std::vector<float>{first, first + 1, first + 2}));
    EXPECT_EQ(fetch_as<std::uint8_t>(dataset, row, 1),
              (std::vector<std::uint8_t>{static_cast<std::uint8_t>(10 + row)}));
  }
}

TEST(InMemory, KeepsItsOwner) {
  auto memory = std::make_shared<std::vector<std::int64_t>>(std::vector<std::int64_t>{7, 8});
  const std::weak_ptr<void> watch = memory;
  auto dataset = std::make_unique<InMemoryDataset>(
      std::vector<NamedView>{{"id", {memory->data(), DType::int64, {2}}}}, std::move(memory));
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(fetch_as<std::int64_t>(*dataset, 1), (std::vector<std::int64_t>{8}));
  dataset.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(InMemory, CopyNeedsNothingOfTheOriginal) {
  auto table = std::make_unique<Table>();
  const DatasetPtr dataset = table->dataset();
  const auto before = fetch(*dataset, 4);
  table->x.assign(table->x.size(), -1.f);
  table.reset();
  EXPECT_EQ(fetch(*dataset, 4), before);
}

TEST(InMemory, TakesEmptyTablesAndEmptyRecords) {
  const InMemoryDataset none({{"x", {nullptr, DType::float32, {0, 3}}}});
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(none.fingerprint(), none.fingerprint());
  const InMemoryDataset wide({{"x", {nullptr, DType::float32, {4, 0}}}});
  EXPECT_EQ(wide.size(), 4);
  EXPECT_TRUE(fetch_as<float>(wide, 3).empty());
}

TEST(InMemory, RefusesWhatIsNoTable) {
  const Table table;
  expect_error(ErrorCode::invalid_argument, {"column 'y'", "6 records as in column 'x'", "got 5"}, [&] {
    auto views = table.views();
    views[1].view.shape = {5};
    InMemoryDataset dataset(views);
  });
  expect_error(ErrorCode::invalid_argument, {"a scalar"}, [&] {
    InMemoryDataset dataset({{"x", {table.x.data(), DType::float32, {}}}});
  });
  expect_error(ErrorCode::invalid_argument, {"fields", "at least one"}, [] { InMemoryDataset dataset({}); });
  expect_error(ErrorCode::invalid_argument, {"'x'", "each given once"}, [&] {
    InMemoryDataset dataset({table.views()[0], table.views()[0]});
  });
  expect_error(ErrorCode::invalid_argument, {"memory of a device"}, [&] {
    InMemoryDataset dataset({{"x", {table.x.data(), DType::float32, {kRows, 3}, Device::cuda}}});
  });
  expect_error(ErrorCode::invalid_argument, {"a null pointer"}, [] {
    InMemoryDataset dataset({{"x", {nullptr, DType::float32, {2}}}});
  });
}

TEST(InMemory, RefusesRecordsThatItLacks) {
  const DatasetPtr dataset = Table().dataset();
  expect_error(ErrorCode::invalid_argument, {"0 to 5", "got 6"}, [&] { fetch(*dataset, 6); });
  expect_error(ErrorCode::invalid_argument, {"got -1"}, [&] { fetch(*dataset, -1); });
}

TEST(InMemory, SwapsBytesOfTheOtherOrder) {
  const std::vector<std::uint16_t> stored{0x0102, 0xfffe};
  Column column{{"v", DType::int16, {2}}, reinterpret_cast<const std::byte*>(stored.data()), 4, true};
  const ColumnDataset dataset(
      ColumnSet{.kind = "test", .description = "test", .records = 1, .columns = {column}});
  EXPECT_EQ(fetch_as<std::int16_t>(dataset, 0),
            (std::vector<std::int16_t>{0x0201, static_cast<std::int16_t>(0xfeff)}));
}

TEST(InMemory, IsTheSameFromManyThreads) {
  const DatasetPtr dataset = Table().dataset();
  const auto expected = fetch(*dataset, 5);
  std::vector<std::thread> threads;
  std::vector<int> same(4, 0);
  std::vector<fingerprint::Digest> digests(4);
  for (std::size_t at = 0; at < 4; ++at) {
    threads.emplace_back([&, at] {
      digests[at] = dataset->fingerprint();
      for (int round = 0; round < 200; ++round) same[at] += fetch(*dataset, 5) == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, std::vector<int>(4, 200));
  EXPECT_EQ(digests, std::vector<fingerprint::Digest>(4, dataset->fingerprint()));
}

TEST(Fingerprint, SeesEveryByteNameTypeAndShape) {
  Table table;
  const fingerprint::Digest base = table.dataset()->fingerprint();
  EXPECT_EQ(base, Table().dataset()->fingerprint());
  const auto with = [&](const std::function<void(std::vector<NamedView>&)>& change) {
    auto views = table.views();
    change(views);
    return InMemoryDataset(views).fingerprint();
  };
  EXPECT_NE(base, with([](auto& views) { views[0].name = "z"; }));
  EXPECT_NE(base, with([](auto& views) { views[0].view.dtype = DType::int32; }));
  EXPECT_NE(base, with([](auto& views) { views[0].view.shape = {kRows, 3, 1}; }));
  EXPECT_NE(base, with([](auto& views) { std::swap(views[0], views[1]); }));
  table.y[3] ^= 1;
  EXPECT_NE(base, table.dataset()->fingerprint());
}

TEST(Fingerprint, KeepsTextsApart) {
  EXPECT_NE(FingerprintBuilder("a").add("ab").add("c").finish(),
            FingerprintBuilder("a").add("a").add("bc").finish());
}

TEST(Fingerprint, SpreadsOverLargeContent) {
  std::vector<std::byte> content(kWholeDigestBytes + 5000);
  const fingerprint::Digest base = digest_content(content);
  const std::size_t step = (content.size() - (1 << 20)) / 63;
  for (std::size_t at : {std::size_t{0}, 31 * step, 31 * step + (1 << 20) - 1, content.size() - 1}) {
    content[at] = std::byte{1};
    EXPECT_NE(digest_content(content), base) << at;
    content[at] = std::byte{0};
  }
  content[(1 << 20) + 1] = std::byte{1};  // between the first two blocks, as documented
  EXPECT_EQ(digest_content(content), base);
  content.push_back(std::byte{0});
  EXPECT_NE(digest_content(content), base);
}

TEST(Subset, DeliversChosenRecords) {
  const DatasetPtr base = Table().dataset();
  const SubsetDataset subset(base, {5, 0, 0});
  EXPECT_EQ(subset.size(), 3);
  EXPECT_EQ(fetch(subset, 0), fetch(*base, 5));
  EXPECT_EQ(fetch(subset, 2), fetch(*base, 0));
  EXPECT_EQ(subset.describe(), "3 records of in memory (6 records)");
  EXPECT_NE(subset.fingerprint(), SubsetDataset(base, {0, 5, 0}).fingerprint());
  EXPECT_EQ(subset.fingerprint(), SubsetDataset(Table().dataset(), {5, 0, 0}).fingerprint());
}

TEST(Subset, RefusesForeignIndices) {
  expect_error(ErrorCode::invalid_argument, {"index at position 1", "0 to 5", "got 6"}, [] {
    SubsetDataset subset(Table().dataset(), {0, 6});
  });
  expect_error(ErrorCode::invalid_argument, {"a null pointer"}, [] { SubsetDataset subset(nullptr, {}); });
  expect_error(ErrorCode::invalid_argument, {"subset"},
               [] { fetch(SubsetDataset(Table().dataset(), {1}), 1); });
}

TEST(Concat, DeliversPartsInOrder) {
  const DatasetPtr base = Table().dataset();
  const auto empty = std::make_shared<SubsetDataset>(base, std::vector<std::int64_t>{});
  const auto tail = std::make_shared<SubsetDataset>(base, std::vector<std::int64_t>{4, 3});
  const ConcatDataset both({empty, base, empty, tail});
  ASSERT_EQ(both.size(), kRows + 2);
  EXPECT_EQ(fetch(both, 0), fetch(*base, 0));
  EXPECT_EQ(fetch(both, kRows - 1), fetch(*base, kRows - 1));
  EXPECT_EQ(fetch(both, kRows), fetch(*base, 4));
  EXPECT_EQ(fetch(both, kRows + 1), fetch(*base, 3));
  EXPECT_NE(both.fingerprint(), ConcatDataset({tail, base}).fingerprint());
  expect_error(ErrorCode::invalid_argument, {"concat", "0 to 7"}, [&] { fetch(both, 8); });
}

TEST(Concat, RefusesUnequalFields) {
  const DatasetPtr base = Table().dataset();
  const auto other = std::make_shared<SelectDataset>(base, std::vector<FieldChoice>{{"x"}});
  expect_error(ErrorCode::invalid_argument, {"x float32 [3], y uint8 []", "got x float32 [3]"}, [&] {
    ConcatDataset both({base, other});
  });
  expect_error(ErrorCode::invalid_argument, {"parts"}, [] { ConcatDataset both({}); });
}

TEST(Select, ChoosesRenamesAndReorders) {
  const DatasetPtr base = Table().dataset();
  const SelectDataset label(base, {{"y", "label"}});
  EXPECT_EQ(label.fields(), (std::vector<Field>{{"label", DType::uint8, {}}}));
  EXPECT_EQ(fetch_as<std::uint8_t>(label, 2), (std::vector<std::uint8_t>{12}));
  const SelectDataset swapped(base, {{"y"}, {"x"}});
  EXPECT_EQ(fetch(swapped, 3), (std::vector{fetch(*base, 3)[1], fetch(*base, 3)[0]}));
  EXPECT_NE(swapped.fingerprint(), base->fingerprint());
}

TEST(Select, FetchesLargeFieldsThatAreLeftOut) {
  const std::vector<std::byte> large(10000);
  const std::vector<std::uint8_t> small{42};
  const auto base = InMemoryDataset::copy_of(
      {{"large", {large.data(), DType::uint8, {1, 10000}}}, {"small", {small.data(), DType::uint8, {1}}}});
  EXPECT_EQ(fetch_as<std::uint8_t>(SelectDataset(base, {{"small"}}), 0), small);
}

TEST(Select, RefusesUnknownAndDoubledFields) {
  const DatasetPtr base = Table().dataset();
  expect_error(ErrorCode::not_found, {"one of x, y", "got z"}, [&] { SelectDataset select(base, {{"z"}}); });
  expect_error(ErrorCode::invalid_argument, {"'x' twice"}, [&] {
    SelectDataset select(base, {{"x"}, {"x", "w"}});
  });
  expect_error(ErrorCode::invalid_argument, {"'q'"}, [&] {
    SelectDataset select(base, {{"x", "q"}, {"y", "q"}});
  });
  expect_error(ErrorCode::invalid_argument, {"at least one"}, [&] { SelectDataset select(base, {}); });
}

}  // namespace
}  // namespace lockstep::loader
